"""Distillation: what earlier checkpoints answer, as targets of the next one."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer._files import replacing
from fer.labels import LABELS
from fer.nn.dataset import Fer2013
from train.command import fingerprint
from train.predict import open_model

TEACHER_SHARE = 0.5
"""Share of the teachers' answers in the targets; the rest is the label."""


def targets(training: Fer2013, teachers: list[Path], run: Path) -> NDArray[np.float32]:
    """Mixes the labels with what teachers answer (Hinton et al. 2015).

    The teachers' mean over each image and its mirror image is what one student learns, so that
    averaging at test time and ensembles come for free (born-again networks, Furlanello et al.
    2018).

    Args:
        training: Training images.
        teachers: ``.keras`` checkpoints.
        run: Run folder; the targets are kept there, for a run that is resumed.

    Returns:
        Shape (N, 7), float32; rows sum to 1.

    Raises:
        ValueError: If a teacher is missing or cannot be loaded.
    """
    # Named after all that decides them, so that no other run's or data's are ever taken.
    made_of = hashlib.sha256(training.images.tobytes() + training.labels.tobytes())
    for teacher in teachers:
        made_of.update(fingerprint(teacher).encode())
    kept = run / f"targets-{made_of.hexdigest()[:16]}.npy"
    if kept.exists():
        values: NDArray[np.float32] = np.load(kept, allow_pickle=False)
        return values
    answers = np.zeros((len(training), len(LABELS)), np.float32)
    for teacher in teachers:
        print(f"asking the teacher {teacher} about {len(training)} images and their mirror images")
        predict, _ = open_model(teacher, "fer2013")
        for images in (training.images, np.ascontiguousarray(training.images[:, :, ::-1])):
            answers += predict(images) / (2 * len(teachers))
    labels = np.eye(len(LABELS), dtype=np.float32)[training.labels]
    mixed = TEACHER_SHARE * answers + (1.0 - TEACHER_SHARE) * labels
    with replacing(kept) as temporary, temporary.open("wb") as file:
        np.save(file, mixed)
    return mixed
