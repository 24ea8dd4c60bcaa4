"""Drawn stand-ins for FER2013: no image of it is in this repository."""

import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer.labels import LABELS
from fer.nn.dataset import Fer2013

if TYPE_CHECKING:
    import keras


def drawn(per_class: dict[str, int], seed: int = 0) -> Fer2013:
    """Draws images: stripes whose direction tells the class, under noise.

    Args:
        per_class: Images per class, for each split.
        seed: Seed of the noise.
    """
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:48, :48]
    images, labels, splits = [], [], []
    for split, count in per_class.items():
        for label in range(len(LABELS)):
            angle = np.pi * label / len(LABELS)
            for _ in range(count):
                wave = np.sin(
                    (across * np.cos(angle) + down * np.sin(angle)) / 3 + rng.uniform(0, 6)
                )
                noisy = 128 + 60 * wave + rng.normal(0, 25, (48, 48))
                images.append(noisy.clip(0, 255).astype(np.uint8))
                labels.append(label)
                splits.append(split)
    names = [f"{split}_{index}.png" for index, split in enumerate(splits)]
    votes = np.eye(len(LABELS), dtype=np.float32)[labels]
    return Fer2013(
        np.stack(images), np.array(labels, np.int64), np.array(splits), np.array(names), votes
    )


def rows(data: Fer2013) -> list[str]:
    """Returns the lines of ``fer2013.csv``, header first."""
    lines = [
        f"{label},{' '.join(map(str, image.ravel()))},{split}"
        for image, label, split in zip(data.images, data.labels, data.splits, strict=True)
    ]
    return ["emotion,pixels,Usage", *lines]


def write_csv(path: Path, lines: Sequence[str]) -> Path:
    """Writes lines."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def png(image: NDArray[np.uint8]) -> bytes:
    """Encodes an image without loss."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def tree(data: Fer2013) -> dict[str, bytes]:
    """Returns the files of the Kaggle folder."""
    return {
        f"{'train' if split == 'Training' else 'test'}/{LABELS[label]}/{name}": png(image)
        for image, label, split, name in zip(
            data.images, data.labels, data.splits, data.names, strict=True
        )
    }


def write_tree(folder: Path, files: dict[str, bytes]) -> Path:
    """Writes files below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    """Writes files into a .zip, below one folder more, as releases do."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"archive/{name}", content)
    return path


def small_network(size: int = 48, *, init: str = "none", dropout: float = 0.3) -> "keras.Model":
    """Builds a network that traces in a second, with the parts that training works on.

    It stands in for `fer.nn.model.build`, whose arguments it takes, where a test is of what happens
    around the network.
    """
    import keras

    from fer.nn import model as models

    image = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(16, 5, strides=4)(keras.layers.Rescaling(1 / 255)(image))
    features = keras.layers.ReLU()(keras.layers.BatchNormalization()(features))
    network = models.assemble(size, keras.Model(image, features), dropout=dropout)
    if Path(init).is_file():
        network.set_weights(models.load_checkpoint(Path(init)).get_weights())
    return network
