"""Faces as CSV: the same columns on the command line, in downloads and for videos."""

import csv
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

from fer.labels import LABELS
from fer.recognizer import FaceEmotion

if TYPE_CHECKING:
    from fer.video import Moment

_BOX = ("x", "y", "width", "height", "score")


def write_photos(file: TextIO, photos: Iterable[tuple[str, list[FaceEmotion]]]) -> None:
    """Writes one row for each face of each photo, after a header.

    Args:
        file: Where to.
        photos: Name of each photo, and its faces.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["image", "face", *_BOX, "label", "confidence", "uncertain", *LABELS])
    for photo, faces in photos:
        for number, face in enumerate(faces, 1):
            writer.writerow(
                [photo, number]
                + [f"{getattr(face.box, edge):.6g}" for edge in _BOX]
                + [face.label, f"{face.confidence:.6f}", str(face.uncertain).lower()]
                + [f"{face.probabilities[label]:.6f}" for label in LABELS]
            )


def write_moments(file: TextIO, moments: "Sequence[Moment]", uncertain_below: float) -> None:
    """Writes one row for each face in each moment of a video, after a header.

    Args:
        file: Where to.
        moments: What `fer.video.read_video` yielded.
        uncertain_below: Confidence below which a row is uncertain, from the model's spec.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["time", "face", *_BOX, "label", "confidence", "uncertain", *LABELS])
    for moment in moments:
        for face in moment.faces:
            uncertain = face.confidence < uncertain_below
            writer.writerow(
                [f"{moment.time:.3f}", face.number]
                + [f"{getattr(face.box, edge):.6g}" for edge in _BOX]
                + [face.label, f"{face.confidence:.6f}", str(uncertain).lower()]
                + [f"{value:.6f}" for value in face.probabilities]
            )
