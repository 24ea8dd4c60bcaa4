"""Distillation: what earlier checkpoints answer, as targets of the next one."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer._files import replacing
from fer.labels import LABELS
from fer.nn.dataset import Fer2013
from fer.nn.model import ModelError
from train.predict import open_model

TEACHER_SHARE = 0.5
"""Share of the teachers' answers in the targets; the rest is the label."""

_FILE = "targets.npy"


def fingerprint(teacher: Path) -> str:
    """Returns the SHA-256 of a teacher's file.

    Raises:
        fer.nn.model.ModelError: If it is no ``.keras`` file.
    """
    if teacher.suffix != ".keras" or not teacher.is_file():
        raise ModelError(f"teacher must be an existing .keras file, received {teacher}")
    return hashlib.sha256(teacher.read_bytes()).hexdigest()


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
        fer.nn.model.ModelError: If a teacher cannot be loaded.
    """
    kept = run / _FILE
    if kept.exists():
        values: NDArray[np.float32] = np.load(kept, allow_pickle=False)
        if values.shape == (len(training), len(LABELS)):
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
