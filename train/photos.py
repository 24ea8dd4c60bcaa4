"""Scores the whole pipeline on labelled photos: detector, crop, tile and model."""

import contextlib
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fer.faces import BlazeFaceDetector, square_crop
from fer.image import ImageDecodeError, load_image
from fer.labels import LABELS
from fer.metrics import Accuracy, classify
from fer.nn.dataset import DatasetError
from fer.nn.model import ModelError
from fer.spec import FER2013_CROP, VIEWS, CropSpec, ModelSpec
from train.predict import open_model
from train.scores import save_plots, show

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def score_photos(
    model: Path, photos: Path, view: str | None, plots: Path | None
) -> dict[str, object]:
    """Scores a model on the largest face of every photo and prints the report.

    A photo in which no face is found counts as wrong in accuracy and recall.

    Args:
        model: A ``.keras`` or ``.tflite`` file.
        photos: Folder or .zip of ``<class>/*.jpg``.
        view: Label view of a checkpoint; None for ``blend``, which the app uses.
        plots: Folder for PNGs, or None.

    Returns:
        The report as plain values, in the form of that for tiles.

    Raises:
        DatasetError: If there is no photo, or a folder is not a class.
    """
    predict, view = open_model(model, view, "blend")
    others = [name for name in VIEWS if name != view] if model.suffix == ".keras" else []
    has_spec = (model.parent / "spec.json").exists()
    crop = ModelSpec.load(model.parent).crop if has_spec else FER2013_CROP
    squares, labels, found = crops(photos, crop)
    if not found.any():
        raise DatasetError(f"photos: no face was found in any of {len(labels)} photos of {photos}")
    probabilities = predict(squares)
    result = classify(probabilities, labels[found])
    right = np.zeros(len(labels), bool)
    right[found] = probabilities.argmax(axis=1) == labels[found]
    scores = recalls(right, labels)
    print(f"{model.name} on {photos.name}, view {view or 'unknown (no spec.json)'}")
    print(f"  faces found {found.sum()} of {len(labels)} photos")
    print(f"  accuracy    {Accuracy(**scores['accuracy'])}")
    listed = "  ".join(f"{label} {value:.2f}" for label, value in scores["recall"].items())
    print(f"  mean recall {scores['mean_recall']:.4f}   {listed}")
    print(f"\nof the {found.sum()} faces found:")
    show(result)
    views = {}
    for other in others:
        with contextlib.suppress(ModelError):  # a view that nothing was learned for
            answers = open_model(model, other)[0](squares)
            hits = np.zeros(len(labels), bool)
            hits[found] = answers.argmax(axis=1) == labels[found]
            views[other] = recalls(hits, labels)
            print(f"view {other}: mean recall {views[other]['mean_recall']:.4f}")
    if plots:
        save_plots(result, plots, f"photos, view {view}", "photos")
    return {
        "model": model.name,
        "photos": len(labels),
        "faces_found": int(found.sum()),
        "view": view,
        "labels": LABELS,
        **scores,
        "other_views": views,
        "of_faces_found": {
            key: value for key, value in result.to_dict().items() if key != "confusion"
        },
        "confusion": result.confusion,
    }


def recalls(right: NDArray[np.bool_], labels: NDArray[np.int64]) -> dict[str, Any]:
    """Returns accuracy, recall per class and their mean over all photos, faces found or not."""
    recall = {
        label: float(right[labels == index].mean())
        for index, label in enumerate(LABELS)
        if np.any(labels == index)
    }
    return {
        "accuracy": asdict(Accuracy.of(right)),
        "recall": recall,
        "mean_recall": float(np.mean(list(recall.values()))),
    }


def crops(
    photos: Path, crop: CropSpec
) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64], NDArray[np.bool_]]:
    """Returns a crop (S, S, 3) per face, all photos' labels (N,) and which (N,) have a face."""
    detector = BlazeFaceDetector()
    squares, labels, found = [], [], []
    for name, label, content in tqdm(list(_read(photos)), unit="photo", leave=False, disable=None):
        try:
            image = load_image(content)
        except ImageDecodeError as error:
            raise DatasetError(f"{photos}:{name}: {error}") from error
        boxes = detector.detect(image)
        labels.append(LABELS.index(label))
        found.append(bool(boxes))
        if boxes:
            largest = max(boxes, key=lambda box: box.width * box.height)
            squares.append(square_crop(image, largest, crop))
    return squares, np.array(labels), np.array(found)


def _read(photos: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yields name, class and content of every photo."""
    if photos.is_dir():
        files = sorted(path for path in photos.rglob("*") if path.is_file())
        contents = ((path.relative_to(photos).as_posix(), path.read_bytes()) for path in files)
    elif zipfile.is_zipfile(photos):
        archive = zipfile.ZipFile(photos)
        names = sorted(name for name in archive.namelist() if not name.endswith("/"))
        if broken := archive.testzip():
            raise DatasetError(f"{photos}:{broken}: is damaged; copy the file again")
        contents = ((name, archive.read(name)) for name in names)
    else:
        raise DatasetError(f"photos must be a folder or a .zip, received {photos}")
    any_photo = False
    for name, content in contents:
        parts = PurePosixPath(name).parts
        if len(parts) < 2 or any(part.startswith((".", "__MACOSX")) for part in parts):
            continue
        if not name.lower().endswith(_SUFFIXES):
            continue
        if parts[-2] not in LABELS:
            raise DatasetError(
                f"{photos}:{name}: class folder must be one of {list(LABELS)}, "
                f"received {parts[-2]!r}"
            )
        any_photo = True
        yield name, parts[-2], content
    if not any_photo:
        raise DatasetError(f"photos: {photos} holds no <class>/*.jpg")
