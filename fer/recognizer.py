"""Photo -> faces with seven calibrated probabilities each."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer import hub
from fer.faces import (
    BlazeFaceDetector,
    FaceBox,
    FaceDetector,
    YuNetDetector,
    crop_square,
    square_crop,
)
from fer.image import load_image
from fer.labels import LABELS
from fer.occlusion import importance
from fer.runtime import Predictions, TileClassifier
from fer.spec import ModelSpec
from fer.tile import make_tile

DEFAULT_BUNDLE = Path(__file__).parent / "assets" / "model"
"""The bundle shipped with the library."""


@dataclass(frozen=True, eq=False)
class FaceEmotion:
    """One face and what the network says of it.

    Attributes:
        box: Where the detector found the face.
        label: The most probable class, one of `fer.labels.LABELS`.
        confidence: Its probability in [0, 1].
        uncertain: Whether the confidence is below what the model's spec asks for.
        probabilities: Probability of every class, in the order of `fer.labels.LABELS`.
        importance: Shape (T, T), float32: how much less probable the label is with that part of
            the tile covered, see `fer.occlusion`; None where it was not asked for.
        tile: What the network saw, shape (T, T, 3), uint8.
        square: Left edge, top edge and side of the tile in pixels of the photo.
    """

    box: FaceBox
    label: str
    confidence: float
    uncertain: bool
    probabilities: dict[str, float]
    importance: NDArray[np.float32] | None
    tile: NDArray[np.uint8]
    square: tuple[int, int, int]

    def to_dict(self) -> dict[str, Any]:
        """Returns what JSON can hold: everything but the two arrays and the square."""
        return {
            "box": asdict(self.box),
            "label": self.label,
            "confidence": self.confidence,
            "uncertain": self.uncertain,
            "probabilities": dict(self.probabilities),
        }


class Classifier(Protocol):
    """What the recogniser needs of `fer.runtime.TileClassifier`."""

    tile_size: int

    def predict(self, tiles: NDArray[np.float32]) -> Predictions:
        """Classifies tiles of shape (N, T, T, 3), float32 in [0, 255]."""
        ...


class EmotionRecognizer:
    """Face detector, crop and classifier in one. Safe to share between threads."""

    def __init__(self, classifier: Classifier, spec: ModelSpec, detector: FaceDetector) -> None:
        """Puts the parts together; `from_bundle` does it for a directory.

        Args:
            classifier: Made for ``spec``.
            spec: Framing and calibration.
            detector: Finds the faces.
        """
        self._classifier = classifier
        self.spec = spec
        self._detector = detector

    @classmethod
    def from_bundle(
        cls,
        bundle: Path | None = None,
        *,
        detector_model: Path | None = None,
        threads: int = 1,
    ) -> "EmotionRecognizer":
        """Loads a model bundle.

        Args:
            bundle: Directory of ``model.tflite`` and ``spec.json``; None for the shipped one.
            detector_model: A YuNet ``.onnx``; None for the shipped BlazeFace.
            threads: CPU threads of one inference, at least 1.

        Returns:
            A recogniser ready for photos.

        Raises:
            ValueError: If the bundle, the detector's file or the number of threads is wrong.
        """
        if threads < 1:
            raise ValueError(f"threads must be at least 1, received {threads}")
        bundle = bundle or DEFAULT_BUNDLE
        spec = ModelSpec.load(bundle)
        classifier = TileClassifier.from_bundle(bundle, spec, threads=threads)
        return cls(classifier, spec, make_detector(detector_model, threads=threads))

    @classmethod
    def from_hub(
        cls,
        repo: str,
        *,
        revision: str | None = None,
        variant: str | None = None,
        detector_model: Path | None = None,
        threads: int = 1,
    ) -> "EmotionRecognizer":
        """Loads a model bundle from the Hugging Face Hub, or from its cache.

        Args:
            repo: ``USER/NAME``.
            revision: Branch, tag or commit; None for ``main``.
            variant: One of the bundles that were published there; None for the default.
            detector_model: See `from_bundle`.
            threads: See `from_bundle`.

        Returns:
            A recogniser ready for photos.

        Raises:
            ValueError: As `from_bundle`, and if the bundle cannot be fetched (`fer.hub.HubError`).
        """
        bundle = hub.download(repo, revision=revision, variant=variant)
        return cls.from_bundle(bundle, detector_model=detector_model, threads=threads)

    def recognize(
        self, image: str | Path | bytes | Image.Image | NDArray[np.uint8], *, explained: int = 0
    ) -> list[FaceEmotion]:
        """Finds the faces of a photo and reads them.

        Args:
            image: Anything `fer.image.load_image` takes.
            explained: How many of the largest faces get `FaceEmotion.importance`, each at the cost
                of some forty more inferences.

        Returns:
            One result per face, largest face first; empty where there is no face.

        Raises:
            fer.image.ImageDecodeError: If the photo cannot be read.
        """
        photo = load_image(image)
        boxes = sorted(self._detector.detect(photo), key=lambda box: -box.area)
        return [
            self._read_face(photo, box, explain=index < explained)
            for index, box in enumerate(boxes)
        ]

    def _read_face(self, photo: NDArray[np.uint8], box: FaceBox, *, explain: bool) -> FaceEmotion:
        tile = make_tile(square_crop(photo, box, self.spec.crop), self._classifier.tile_size)
        predictions = self._classifier.predict(tile[None])
        probabilities = dict(zip(LABELS, predictions.probabilities[0].tolist(), strict=True))
        label, confidence = max(probabilities.items(), key=lambda item: item[1])
        return FaceEmotion(
            box=box,
            label=label,
            confidence=confidence,
            uncertain=confidence < self.spec.calibration.uncertain_below,
            probabilities=probabilities,
            importance=self._importance(tile, label) if explain else None,
            tile=np.rint(tile).astype(np.uint8),
            square=crop_square(box, self.spec.crop),
        )

    def _importance(self, tile: NDArray[np.float32], label: str) -> NDArray[np.float32]:
        index = LABELS.index(label)
        return importance(
            lambda tiles: self._classifier.predict(tiles).probabilities[:, index], tile
        )


def make_detector(model: Path | None = None, *, threads: int = 1) -> FaceDetector:
    """Makes the face detector a file asks for.

    Args:
        model: A YuNet ``.onnx``; None for the shipped BlazeFace.
        threads: CPU threads of one inference, at least 1; BlazeFace only.

    Returns:
        The detector.

    Raises:
        ValueError: If the file is missing or is no detector.
    """
    if model is None:
        return BlazeFaceDetector(threads)
    if model.suffix.lower() == ".onnx":
        return YuNetDetector(model)
    raise ValueError(f"detector model must be a YuNet .onnx file, received {model}")
