"""Pictures for people: a photo small enough to show, a tile in grey, what an answer rests on."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.faces import FaceBox
from fer.image import resize

COLOURS: dict[str, str] = {
    "angry": "#d55e00",
    "disgust": "#009e73",
    "fear": "#cc79a7",
    "happy": "#e69f00",
    "sad": "#0072b2",
    "surprise": "#56b4e9",
    "neutral": "#8c8c8c",
}
"""Okabe and Ito's palette, told apart with every kind of colour vision: one for each class."""

FOR, AGAINST = (230, 159, 0), (0, 114, 178)
"""RGB of what speaks for an answer and against it: the palette's orange and blue."""
_OPACITY = 0.7
_WEAK = 0.5  # log odds: a map that never reaches this is not blown up to look decisive


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
    return resize(photo, photo.shape[1] * scale, photo.shape[0] * scale)


def draw_faces(
    photo: NDArray[np.uint8],
    faces: Sequence[tuple[FaceBox, str, str]],
    scale: float = 1.0,
) -> NDArray[np.uint8]:
    """Draws boxes in their classes' colours, with a text above or in each.

    Args:
        photo: RGB of shape (H, W, 3), uint8.
        faces: Box of each face, its class, which decides the colour, and the text.
        scale: From the boxes' pixels to the photo's.

    Returns:
        Array of shape (H, W, 3), uint8.
    """
    drawn = photo.copy()
    size = max(photo.shape[:2]) / 1280
    # A thinner line would lose its colour in a video, which holds a quarter of the colours.
    letter, line = max(0.45, 0.7 * size), max(2, round(3 * size))
    for box, label, text in faces:
        colour = tuple(bytes.fromhex(COLOURS[label][1:]))
        left, top = round(box.x * scale), round(box.y * scale)
        corner = round((box.x + box.width) * scale), round((box.y + box.height) * scale)
        cv2.rectangle(drawn, (left, top), corner, (0, 0, 0), line + 2)
        cv2.rectangle(drawn, (left, top), corner, colour, line)
        (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, letter, 1)
        tall = height + below + 4
        base = top - line if top - tall - line >= 0 else max(top, 0) + tall
        left = min(max(left, 0), max(0, photo.shape[1] - width - 8))
        cv2.rectangle(drawn, (left, base - tall), (left + width + 8, base), (17, 17, 17), -1)
        cv2.line(drawn, (left, base), (left + width + 8, base), colour, line)
        cv2.putText(
            drawn,
            text,
            (left + 4, base - below - 1),
            cv2.FONT_HERSHEY_SIMPLEX,
            letter,
            (255, 255, 255),
            max(1, round(1.5 * size)),
            cv2.LINE_AA,
        )
    return drawn


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


def importance_tile(
    tile: NDArray[np.uint8], importance: NDArray[np.float32], size: int
) -> NDArray[np.uint8]:
    """Lays over the tile what the answer rests on: orange speaks for it, blue against it.

    Args:
        tile: RGB of shape (T, T, 3), uint8.
        importance: Shape (T, T), float32, log odds, as in `fer.recognizer.FaceEmotion`.
        size: Side of the result in pixels.

    Returns:
        Array of shape (size, size, 3), uint8.
    """
    strength = importance / max(float(np.abs(importance).max()), _WEAK)
    # The patches' edges are no edges of the face.
    soft = cv2.GaussianBlur(strength, (0, 0), sigmaX=len(strength) / 20)
    shown = cv2.resize(soft, (size, size), interpolation=cv2.INTER_LINEAR)[:, :, None]
    colour = np.where(shown > 0, np.array(FOR), np.array(AGAINST))
    opacity = _OPACITY * np.abs(shown)
    blend = grey_tile(tile, size) * (1 - opacity) + colour * opacity
    return np.asarray(np.rint(blend), np.uint8)


def encode_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """Encodes an RGB picture of shape (H, W, 3), uint8, as JPEG."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    encoded, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not encoded:
        raise ValueError(f"a picture of shape {picture.shape} cannot be a JPEG")
    return bytes(data)
