"""Fits the temperature and the ``uncertain`` threshold on images held out from training."""

import numpy as np
from numpy.typing import NDArray

from fer.metrics import calibration_error, fit_temperature, softmax, uncertain_below
from fer.spec import Calibration


def calibrate(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Calibration:
    """Fits on a random half of the images and reports on the other half.

    Args:
        logits: Shape (N, 7), of images that were not trained on.
        labels: Shape (N,), indices.
    """
    order = np.random.default_rng(0).permutation(len(labels))
    fitted, held = order[: len(order) // 2], order[len(order) // 2 :]
    temperature = fit_temperature(logits[fitted], labels[fitted])
    before, _ = calibration_error(softmax(logits[held]), labels[held])
    after, _ = calibration_error(softmax(logits[held] / temperature), labels[held])
    threshold = uncertain_below(softmax(logits[fitted] / temperature), labels[fitted])
    return Calibration(
        temperature=round(temperature, 6),
        ece_before=round(before, 6),
        ece_after=round(after, 6),
        uncertain_below=threshold,
    )
