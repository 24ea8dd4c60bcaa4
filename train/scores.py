"""Scores of predictions: computed, printed and drawn the same way for tiles and photos."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer.displays import ConfusionMatrixDisplay, ReliabilityDisplay
from fer.labels import LABELS
from fer.metrics import Accuracy, Classification, classify, softmax
from fer.nn import dataset, leaks
from train.predict import open_model


def score_tiles(
    model: Path, data: Path, split: str, view: str | None, plots: Path | None
) -> tuple[dict[str, object], NDArray[np.float32]]:
    """Scores a model on one split of FER2013 and prints the report.

    Args:
        model: A ``.keras`` or ``.tflite`` file.
        data: FER2013 in any form.
        split: Split to score.
        view: Label view, or None for the model's own.
        plots: Folder for PNGs, or None.

    Returns:
        The report as plain values, and the probabilities (N, 7) without averaging.
    """
    predict, view = open_model(model, view)
    whole = dataset.load(data)
    scored = whole.split(split)
    fresh = ~leaks.duplicated(whole, split)
    plain = predict(scored.images)
    mirrored = predict(np.ascontiguousarray(scored.images[:, :, ::-1]))
    # The geometric mean: which class wins does not depend on the temperature.
    flipped = softmax(np.log(np.maximum(plain, 1e-12)) + np.log(np.maximum(mirrored, 1e-12)))
    result = classify(plain, scored.labels)

    def accuracy(probabilities: NDArray[np.float32], keep: NDArray[np.bool_]) -> Accuracy | None:
        right = probabilities.argmax(axis=1) == scored.labels
        return Accuracy.of(right[keep]) if keep.any() else None

    everything = np.ones(len(scored), bool)
    accuracies = {
        "accuracy": accuracy(plain, everything),
        "accuracy_without_duplicates": accuracy(plain, fresh),
        "accuracy_flip_averaged": accuracy(flipped, everything),
        "accuracy_flip_averaged_without_duplicates": accuracy(flipped, fresh),
    }
    print(f"{model.name} on {split}, view {view or 'unknown (no spec.json beside the model)'}")
    for name, value in accuracies.items():
        print(f"  {name.replace('_', ' '):<42} {value or 'no image is left'}")
    show(result)
    if plots:
        save_plots(result, plots, f"{split}, view {view}", split)
    report = {
        "model": model.name,
        "split": split,
        "view": view,
        "labels": LABELS,
        **{name: value and asdict(value) for name, value in accuracies.items()},
        **{key: value for key, value in result.to_dict().items() if key != "accuracy"},
    }
    return report, plain


def show(result: Classification) -> None:
    """Prints the classification report, the calibration error and the confusion matrix."""
    print(f"  {'expected calibration error':<42} {result.ece:.4f}\n")
    print(result.table())
    print("\nconfusion matrix (rows: true, columns: predicted)")
    print(" " * 9 + "".join(f"{label:>9}" for label in LABELS))
    for label, row in zip(LABELS, result.confusion, strict=True):
        print(f"{label:<9}" + "".join(f"{count:>9}" for count in row))


def save_plots(result: Classification, folder: Path, title: str, name: str) -> None:
    """Writes the confusion matrix and the reliability diagram as PNGs."""
    folder.mkdir(parents=True, exist_ok=True)
    confusion = ConfusionMatrixDisplay(np.array(result.confusion), title)
    confusion.save(folder / f"confusion-{name}.png")
    bins = result.reliability
    reliability = ReliabilityDisplay(
        bins["confidence"],
        bins["accuracy"],
        [int(count) for count in bins["count"]],
        result.ece,
        title,
    )
    reliability.save(folder / f"reliability-{name}.png")
