"""The leak audit: images of FER2013 that stand in more than one place.

FER2013 was built from web searches, and many pictures came back more than once. A test image
that is also a training image measures memory, so training drops such images and every report
says what accuracy is without them.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer.labels import LABELS
from fer.nn.dataset import SPLITS, DatasetError, Fer2013

NEAR = 0.985
"""Normalised correlation of 16 x 16 thumbnails above which two images are the same picture."""


@dataclass(frozen=True)
class Duplicate:
    """An image that duplicates an earlier one.

    Attributes:
        name: Name of the image to drop.
        of: Name of the image it repeats.
        exact: Whether every pixel is equal; else only the thumbnails correlate above `NEAR`.
        same_label: Whether both carry the same label.
    """

    name: str
    of: str
    exact: bool
    same_label: bool


@dataclass(frozen=True)
class Audit:
    """What the audit found.

    Attributes:
        leaks: For each pair of splits, such as ``"Training in PublicTest"``, the images of the
            first that duplicate one of the second.
        repeats: Training images that repeat an earlier Training image exactly.
    """

    leaks: dict[str, tuple[Duplicate, ...]]
    repeats: tuple[Duplicate, ...]

    def training_drops(self) -> set[str]:
        """Returns names of Training images that leak into a test split or repeat one another."""
        leaking = (
            duplicate.name
            for pair, duplicates in self.leaks.items()
            if pair.startswith("Training in ")
            for duplicate in duplicates
        )
        return {*leaking, *(duplicate.name for duplicate in self.repeats)}

    def counts(self) -> dict[str, dict[str, int]]:
        """Returns, per pair of splits, how many images are exact, near and differently labelled."""
        pairs = {**self.leaks, "Training in Training": self.repeats}
        return {
            pair: {
                "exact": sum(duplicate.exact for duplicate in found),
                "near": sum(not duplicate.exact for duplicate in found),
                "other_label": sum(not duplicate.same_label for duplicate in found),
            }
            for pair, found in pairs.items()
        }

    def to_dict(self) -> dict[str, object]:
        """Returns the audit as plain values for JSON."""
        return {
            "counts": self.counts(),
            "training_drops": sorted(self.training_drops()),
            "leaks": {pair: [asdict(d) for d in found] for pair, found in self.leaks.items()},
            "repeats": [asdict(duplicate) for duplicate in self.repeats],
        }


def audit(dataset: Fer2013) -> Audit:
    """Finds duplicates between the splits (exact and near) and inside Training (exact)."""
    present = [split for split in SPLITS if np.any(dataset.splits == split)]
    parts = {split: dataset.split(split) for split in present}
    leaks = {
        f"{first} in {second}": _duplicates(parts[first], parts[second])
        for index, first in enumerate(present)
        for second in present[index + 1 :]
    }
    repeats = _repeats(parts["Training"]) if "Training" in parts else ()
    return Audit(leaks, repeats)


def duplicated(dataset: Fer2013, split: str) -> NDArray[np.bool_]:
    """Marks the images of a split that also stand in a split used before it.

    Args:
        dataset: The whole data.
        split: The split that is scored. Training precedes PublicTest, which precedes PrivateTest.

    Returns:
        Shape (n,), true where the split's image duplicates an earlier split's, exact or near.
    """
    scored = dataset.split(split)
    marked = np.zeros(len(scored), bool)
    for earlier in SPLITS:
        if earlier == split:
            break
        if np.any(dataset.splits == earlier):
            found = _duplicates(scored, dataset.split(earlier))
            marked |= np.isin(scored.names, [duplicate.name for duplicate in found])
    return marked


def exclude(dataset: Fer2013, names: set[str]) -> Fer2013:
    """Returns the images whose name is not in ``names``."""
    return dataset.take(~np.isin(dataset.names, sorted(names)))


def read_names(path: Path) -> set[str]:
    """Reads image names, one a line.

    Raises:
        DatasetError: If the file cannot be read.
    """
    try:
        return {line.strip() for line in path.read_text(encoding="utf-8").splitlines()} - {""}
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"exclude: cannot read {path}: {error}") from error


def require_all_classes(dataset: Fer2013) -> None:
    """Checks that a training set has every class.

    Raises:
        DatasetError: If a class has no image.
    """
    missing = [label for label, count in dataset.class_counts().items() if not count]
    if missing:
        raise DatasetError(
            f"training needs images of all of {list(LABELS)}; none of {missing} was found"
        )


def _thumbnails(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns shape (N, 256): 16 x 16 area means, zero mean, unit length."""
    means = images.reshape(-1, 16, 3, 16, 3).mean(axis=(2, 4), dtype=np.float32).reshape(-1, 256)
    means -= means.mean(axis=1, keepdims=True)
    # A flat image has no direction: it correlates with nothing but its exact copies.
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)


def _duplicates(first: Fer2013, second: Fer2013) -> tuple[Duplicate, ...]:
    exact = {image.tobytes(): index for index, image in enumerate(second.images)}
    ours, theirs = _thumbnails(first.images), _thumbnails(second.images)
    found = []
    for start in range(0, len(first), 1024):
        correlations = ours[start : start + 1024] @ theirs.T
        nearest = correlations.argmax(axis=1)
        near = correlations[np.arange(len(nearest)), nearest] > NEAR
        for offset, index in enumerate(nearest.tolist()):
            name = start + offset
            twin = exact.get(first.images[name].tobytes())
            if twin is not None or near[offset]:
                of = index if twin is None else twin
                found.append(
                    Duplicate(
                        str(first.names[name]),
                        str(second.names[of]),
                        twin is not None,
                        bool(first.labels[name] == second.labels[of]),
                    )
                )
    return tuple(found)


def _repeats(training: Fer2013) -> tuple[Duplicate, ...]:
    seen: dict[bytes, int] = {}
    found = []
    for index, image in enumerate(training.images):
        of = seen.setdefault(image.tobytes(), index)
        if of != index:
            found.append(
                Duplicate(
                    str(training.names[index]),
                    str(training.names[of]),
                    True,
                    bool(training.labels[index] == training.labels[of]),
                )
            )
    return tuple(found)
