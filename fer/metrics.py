"""What is measured of a classifier, in plain numpy."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from fer.labels import LABELS

ECE_BINS = 15
"""Equal-width confidence bins of the expected calibration error (Guo et al. 2017)."""

Truth = NDArray[np.int64] | NDArray[np.floating]
"""What answers are measured against: labels, shape (N,), or the shares of the people who chose
each class, shape (N, 7), of which a top label earns its share."""

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Accuracy:
    """Share of right answers with its 95% Wilson score interval.

    Attributes:
        value: Accuracy in [0, 1].
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Number of images.
    """

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, right: NDArray[np.bool_]) -> "Accuracy":
        """Measures accuracy from one boolean per image, shape (N,) with N at least 1.

        Raises:
            ValueError: If there is no image.
        """
        n = len(right)
        if not n:
            raise ValueError("accuracy needs at least one image, received none")
        share = float(np.mean(right))
        # Wilson 1927: https://doi.org/10.1080/01621459.1927.10502953
        centre = (share + _Z95**2 / (2 * n)) / (1 + _Z95**2 / n)
        half = _Z95 / (1 + _Z95**2 / n) * np.sqrt(share * (1 - share) / n + _Z95**2 / (4 * n**2))
        # At 0 and 1 rounding would put the end a hair beyond the value.
        return cls(share, max(0.0, float(centre - half)), min(1.0, float(centre + half)), n)

    def __str__(self) -> str:
        """Returns such as ``70.00% (95% interval 68.48 to 71.48, n = 3589)``."""
        return (
            f"{self.value:.2%} (95% interval {100 * self.low:.2f} to {100 * self.high:.2f}, "
            f"n = {self.n})"
        )


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of one class or an average, in [0, 1], and the support."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Classification:
    """Everything measured from one set of predictions.

    Attributes:
        accuracy: Accuracy with interval.
        per_class: Scores per class, in the order of `LABELS`.
        macro: Mean of the classes' scores, over the classes that occur.
        weighted: Mean of the classes' scores, weighted by support.
        confusion: 7 rows (true) of 7 counts (predicted).
        ece: Expected calibration error in [0, 1].
        reliability: ``confidence``, ``accuracy`` and ``count`` of the non-empty bins.
    """

    accuracy: Accuracy
    per_class: dict[str, ClassScores]
    macro: ClassScores
    weighted: ClassScores
    confusion: list[list[int]]
    ece: float
    reliability: dict[str, list[float]]

    def to_dict(self) -> dict[str, object]:
        """Returns plain values for JSON."""
        return asdict(self)

    def table(self) -> str:
        """Returns the classification report in the form of the paper's Tables 6 and 8."""
        rows = [f"{'':<13} precision  recall  f1-score  support", ""]
        averages = {"macro avg": self.macro, "weighted avg": self.weighted}
        for name, scores in {**self.per_class, **averages}.items():
            if name == "macro avg":
                value, n = self.accuracy.value, self.accuracy.n
                rows += ["", f"{'accuracy':<13} {'':>9}  {'':>6}  {value:>8.2f}  {n:>7}"]
            rows.append(
                f"{name:<13} {scores.precision:>9.2f}  {scores.recall:>6.2f}  "
                f"{scores.f1:>8.2f}  {scores.support:>7}"
            )
        return "\n".join(rows)


def confusion_matrix(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts predictions, shape (7, 7): row the true class, column the predicted one.

    Args:
        predicted: Shape (N,), indices into `LABELS`.
        labels: Shape (N,), indices into `LABELS`.
    """
    confusion = np.zeros((len(LABELS), len(LABELS)), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    return confusion


def classify(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> Classification:
    """Measures predictions against labels.

    Args:
        probabilities: Shape (N, 7), rows sum to 1.
        labels: Shape (N,), indices into `LABELS`.

    Raises:
        ValueError: If there is no image or the shapes disagree.
    """
    if probabilities.shape != (len(labels), len(LABELS)):
        raise ValueError(
            f"probabilities must have shape ({len(labels)}, {len(LABELS)}), "
            f"received {probabilities.shape}"
        )
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(predicted, labels)
    hits, support, given = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision = hits / np.maximum(given, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(support + given, 1)
    ece, reliability = calibration_error(probabilities, labels)

    def average(weights: NDArray[np.int64]) -> ClassScores:
        means = np.average([precision, recall, f1], axis=1, weights=weights)
        return ClassScores(float(means[0]), float(means[1]), float(means[2]), int(support.sum()))

    return Classification(
        accuracy=Accuracy.of(predicted == labels),
        per_class={
            label: ClassScores(float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
            for i, label in enumerate(LABELS)
        },
        macro=average((support > 0).astype(np.int64)),
        weighted=average(support),
        confusion=confusion.tolist(),
        ece=ece,
        reliability=reliability,
    )


def rightness(probabilities: NDArray[np.floating], truth: Truth) -> NDArray[np.float64]:
    """Returns how right each top label is, shape (N,), in [0, 1].

    Args:
        probabilities: Shape (N, 7).
        truth: See `Truth`.
    """
    top = probabilities.argmax(axis=1)
    right = top == truth if truth.ndim == 1 else truth[np.arange(len(truth)), top]
    return np.asarray(right, np.float64)


def calibration_error(
    probabilities: NDArray[np.floating], truth: Truth
) -> tuple[float, dict[str, list[float]]]:
    """Measures how far confidence is from accuracy.

    Args:
        probabilities: Shape (N, 7).
        truth: See `Truth`.

    Returns:
        The expected calibration error (Guo et al. 2017, equation 3) in [0, 1], and the bins that
        hold images: mean ``confidence``, ``accuracy`` and ``count`` of each.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = rightness(probabilities, truth)
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    count = np.bincount(bins, minlength=ECE_BINS)
    filled = count > 0
    means = np.bincount(bins, confidence, ECE_BINS)[filled] / count[filled]
    shares = np.bincount(bins, right, ECE_BINS)[filled] / count[filled]
    ece = float(np.sum(count[filled] * np.abs(means - shares)) / len(truth))
    reliability = {
        "confidence": means.tolist(),
        "accuracy": shares.tolist(),
        "count": count[filled].tolist(),
    }
    return ece, reliability


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    """Returns probabilities, float32, from logits along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def fit_temperature(logits: NDArray[np.floating], truth: Truth) -> float:
    """Fits the temperature that calibrates the probabilities (Guo et al. 2017, section 4.2).

    Args:
        logits: Shape (N, 7), of images the network did not learn from.
        truth: See `Truth`.

    Returns:
        The temperature in [0.2, 5] with the smallest negative log likelihood.
    """
    targets = np.eye(logits.shape[1])[truth] if truth.ndim == 1 else truth

    def loss(log_temperature: float) -> float:
        probabilities = softmax(logits / np.exp(log_temperature))
        return float(-(targets * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1).mean())

    return float(np.exp(_minimise(loss, np.log(0.2), np.log(5.0))))


def uncertain_below(probabilities: NDArray[np.floating], truth: Truth) -> float:
    """Finds the confidence under which the top label is wrong more often than right.

    Args:
        probabilities: Shape (N, 7), calibrated.
        truth: See `Truth`.

    Returns:
        The largest hundredth c in [0.2, 0.9] such that of the images with a confidence in
        [c - 0.1, c) at least half are wrong; 0.2 where there is none.
    """
    confidence = probabilities.max(axis=1)
    right = rightness(probabilities, truth)
    for hundredths in range(90, 20, -1):
        limit = hundredths / 100
        band = (confidence >= limit - 0.1) & (confidence < limit)
        if band.sum() >= 20 and right[band].mean() <= 0.5:
            return limit
    return 0.2


@dataclass(frozen=True)
class Coverage:
    """What is left, and how right it is, when answers under a confidence are withheld.

    Attributes:
        confidence: Answers with less are withheld, in [0, 1].
        coverage: Share of the images that are answered, in [0, 1].
        accuracy: Accuracy on these, in [0, 1].
    """

    confidence: float
    coverage: float
    accuracy: float


def coverage(probabilities: NDArray[np.floating], truth: Truth) -> list[Coverage]:
    """Measures accuracy against coverage (El-Yaniv and Wiener 2010) at every twentieth.

    Args:
        probabilities: Shape (N, 7).
        truth: See `Truth`.

    Returns:
        One entry per confidence 0, 0.05, ... under which some image is answered, ascending.
    """
    confidence = probabilities.max(axis=1)
    right = rightness(probabilities, truth)
    entries = []
    for limit in np.arange(20) / 20:
        answered = confidence >= limit
        if answered.any():
            entries.append(
                Coverage(float(limit), float(answered.mean()), float(right[answered].mean()))
            )
    return entries


def _minimise(function: Callable[[float], float], low: float, high: float) -> float:
    """Golden-section search of a function with one minimum."""
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if function(left) < function(right) else (left, high)
    return (low + high) / 2
