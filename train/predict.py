"""One way to get probabilities out of a checkpoint or an exported file."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fer.metrics import softmax
from fer.nn import model as models
from fer.runtime import TileClassifier
from fer.spec import ModelSpec
from fer.tile import make_tile

Squares = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
"""N square images, (S, S) or (S, S, 3), uint8; their sides may differ."""

Predict = Callable[[Squares], NDArray[np.float32]]
"""From square images to probabilities (N, 7), float32."""

_CHUNK = 256


def open_model(
    path: Path, view: str | None, default_view: str = "fer2013"
) -> tuple[Predict, str | None]:
    """Opens a model for scoring.

    Args:
        path: A ``.keras`` checkpoint or a ``.tflite`` exported from one.
        view: Label view of a checkpoint, or None for the default; an exported file has one
            folded in, named by the ``spec.json`` beside it.
        default_view: Label view of a checkpoint where none is asked for.

    Returns:
        The function, and the view; None for a ``.tflite`` without its spec.

    Raises:
        ValueError: If the file cannot serve, or has another view, or an unknown one, folded in.
    """
    if path.suffix == ".keras":
        view = view or default_view
        return _checkpoint(path, view), view
    if path.suffix != ".tflite" or not path.is_file():
        raise ValueError(f"model must be an existing .keras or .tflite file, received {path}")
    folded = ModelSpec.load(path.parent).view if (path.parent / "spec.json").exists() else None
    if view and view != folded:
        raise ValueError(
            f"view: {path} has the view {folded or 'unknown'!r} folded in, received {view!r}; "
            "export it again with --view, or score the .keras"
        )
    return _exported(path), folded


def tiles_of(images: Squares, size: int) -> Iterator[NDArray[np.float32]]:
    """Yields the tiles of square images in turn, some hundred at a time: all would fill memory."""
    for start in tqdm(range(0, len(images), _CHUNK), unit="chunk", leave=False, disable=None):
        yield np.stack([make_tile(image, size) for image in images[start : start + _CHUNK]])


def logits_of(
    model: keras.Model, images: Squares, *, batch: int = 64
) -> dict[str, NDArray[np.float32]]:
    """Returns the logits of each head, (N, 7), for square images."""
    chunks = tiles_of(images, model.input_shape[1])
    parts = [model.predict(tiles, batch_size=batch, verbose=0) for tiles in chunks]
    return {head: np.concatenate([part[head] for part in parts]) for head in models.HEADS}


def view_logits(logits: dict[str, NDArray[np.float32]], view: str) -> NDArray[np.float32]:
    """Returns the logits of a label view, (N, 7), from those of the heads."""
    shares = zip(models.HEADS, models.VIEW_WEIGHTS[view], strict=True)
    return np.sum([share * logits[head] for head, share in shares], axis=0, dtype=np.float32)


def _checkpoint(path: Path, view: str) -> Predict:
    model = models.load_checkpoint(path)
    models.fold_head(model, view)  # refuses a view that nothing was learned for
    # In a bundle, the checkpoint is as calibrated as the file exported from it.
    spec = ModelSpec.load(path.parent) if (path.parent / "spec.json").exists() else None
    temperature = spec.calibration.temperature if spec and spec.view == view else 1.0
    return lambda images: softmax(view_logits(logits_of(model, images), view) / temperature)


def _exported(path: Path) -> Predict:
    classifier = TileClassifier(path, threads=2)

    def predict(images: Squares) -> NDArray[np.float32]:
        rows = [
            classifier.predict(make_tile(image, classifier.tile_size)[None]).probabilities
            for image in tqdm(images, unit="image", leave=False, disable=None)
        ]
        return np.concatenate(rows)

    return predict
