"""Pictures for people: a photo small enough to show, a tile in grey, the evidence over a tile."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.labels import LABELS

# Okabe and Ito's orange and blue: told apart with every kind of colour vision.
_FOR = (230, 159, 0)
_AGAINST = (0, 114, 178)
_OPACITY = 0.7
_WEAK = 1.0  # logits: a map that never reaches this is not blown up to look decisive


def fit_photo(photo: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Shrinks a photo until its longer side fits; a smaller photo stays as it is.

    Args:
        photo: RGB of shape (H, W, 3), uint8.
        longest: Longest side allowed, in pixels.

    Returns:
        Array of shape (h, w, 3), uint8.
    """
    scale = longest / max(photo.shape[:2])
    if scale >= 1:
        return photo
    size = max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def grey_tile(tile: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Enlarges a tile in grey, which is all that the network sees of it.

    Args:
        tile: RGB of shape (T, T, 3), uint8.
        size: Side of the result in pixels.

    Returns:
        Array of shape (size, size, 3), uint8, with three equal channels.
    """
    grey = cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.repeat(np.asarray(grey, np.uint8)[:, :, None], 3, axis=2)


def evidence_tile(
    tile: NDArray[np.uint8], evidence: NDArray[np.float32], label: str, size: int
) -> NDArray[np.uint8]:
    """Lays the evidence for one class over the tile: orange speaks for it, blue against it.

    A constant added to all classes changes no probability, so what is shown is the class's logit
    at each position less the mean over the classes.

    Args:
        tile: RGB of shape (T, T, 3), uint8.
        evidence: Shape (h, w, 7), float32 logits, as in `fer.recognizer.FaceEmotion`.
        label: One of `fer.labels.LABELS`.
        size: Side of the result in pixels.

    Returns:
        Array of shape (size, size, 3), uint8.
    """
    logits = evidence[:, :, LABELS.index(label)] - evidence.mean(axis=2)
    strength = logits / max(float(np.abs(logits).max()), _WEAK)
    strength = cv2.resize(strength, (size, size), interpolation=cv2.INTER_CUBIC).clip(-1, 1)
    colour = np.where(strength[:, :, None] > 0, np.array(_FOR), np.array(_AGAINST))
    opacity = _OPACITY * np.abs(strength)[:, :, None]
    blend = grey_tile(tile, size) * (1 - opacity) + colour * opacity
    return np.asarray(np.rint(blend), np.uint8)


def encode_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """Encodes an RGB picture of shape (H, W, 3), uint8, as JPEG."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    encoded, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not encoded:
        raise ValueError(f"a picture of shape {picture.shape} cannot be a JPEG")
    return bytes(data)
