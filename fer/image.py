"""Any picture -> RGB array, or one clear line on why not; and that array in another size."""

import io
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

MAX_PIXELS = 100_000_000
"""Largest picture that is decoded; larger ones are refused from their header."""

_STRIP = 64  # rows

# Opened directly and not by Image.open, which warns about pictures far smaller than MAX_PIXELS
# and can only be told otherwise for the whole process.
_FORMATS: tuple[type[ImageFile.ImageFile], ...] = (
    JpegImageFile,
    PngImageFile,
    WebPImageFile,
    GifImageFile,
    BmpImageFile,
    TiffImageFile,
    AvifImageFile,
)


class ImageDecodeError(ValueError):
    """A picture that cannot be read; the message is one line for the person who chose it."""


def load_image(source: str | Path | bytes | Image.Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reads a picture as an upright RGB array.

    Turns it as its EXIF orientation says, puts transparent pictures on white, scales 16-bit
    pictures to 8 bits, and takes the first frame of an animation.

    Args:
        source: A file, a file's content, a PIL image, or an array of dtype uint8 and shape
            (H, W), (H, W, 3) or (H, W, 4), whose last axis is RGB or RGBA.

    Returns:
        Array of shape (H, W, 3), uint8, RGB. It may share memory with an array given.

    Raises:
        ImageDecodeError: If the source is missing, not a picture, damaged, too large, or an array
            of another dtype or shape.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _decode(source, "the picture")
    if isinstance(source, bytes):
        return _read(io.BytesIO(source), "the picture")
    if not isinstance(source, (str, Path)):
        raise ImageDecodeError(
            "a picture must be a path, bytes, a PIL image or a numpy array, "
            f"received {type(source).__name__}"
        )
    try:
        with Path(source).open("rb") as file:
            return _read(file, str(source))
    except ImageDecodeError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageDecodeError(f"{source}: cannot be opened: {reason}") from error


def resize(image: NDArray[np.uint8], width: float, height: float) -> NDArray[np.uint8]:
    """Resizes a picture for a detector or for people; the classifier's tile is `fer.tile`'s.

    Args:
        image: RGB of shape (H, W, 3), uint8.
        width: Width of the result, rounded to a whole number of pixels, at least 1.
        height: Height of the result, likewise.

    Returns:
        Array of shape (height, width, 3), uint8.
    """
    size = max(1, round(width)), max(1, round(height))
    if image.shape[1] > 2 * size[0] and image.shape[0] > 2 * size[1]:
        # Averaging all of a phone's photo takes longer than finding its faces.
        twice = cv2.resize(image, (2 * size[0], 2 * size[1]), interpolation=cv2.INTER_LINEAR)
        image = np.asarray(twice, np.uint8)
    shrinks = size[0] < image.shape[1]
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def _read(file: IO[bytes], name: str) -> NDArray[np.uint8]:
    if file.seek(0, io.SEEK_END) == 0:
        raise ImageDecodeError(f"{name}: is empty (0 bytes); choose another file")
    for format_ in _FORMATS:
        file.seek(0)
        try:
            image = format_(file)
        except Exception:  # what a plugin raises on foreign bytes is anything
            continue
        return _decode(image, name)
    raise ImageDecodeError(
        f"{name}: is not a picture that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF); "
        "save it as JPEG or PNG"
    )


def _decode(image: Image.Image, name: str) -> NDArray[np.uint8]:
    width, height = image.size
    if width * height == 0:
        raise ImageDecodeError(f"{name}: has no pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise ImageDecodeError(
            f"{name}: {width} x {height} pixels are too many, at most "
            f"{MAX_PIXELS // 1_000_000} million are read; make it smaller"
        )
    if image.mode in ("I", "F"):
        raise ImageDecodeError(
            f"{name}: has 32 bits per channel; save it with 8 or 16 bits per channel"
        )
    try:
        image.load()
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # else it would be copied
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            grey = np.asarray(image).astype(np.uint32)
            return _from_array(((grey * 255 + 32767) // 65535).astype(np.uint8))
        if image.has_transparency_data:
            return _on_white(image.convert("RGBA"))
        return _pixels(image if image.mode == "RGB" else image.convert("RGB"))
    except Exception as error:  # what a plugin raises on damaged bytes is anything
        raise ImageDecodeError(
            f"{name}: is damaged or incomplete ({error}); save or download it again"
        ) from error


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Returns what `np.asarray` returns, in a third of the time for a phone's photo.

    Pillow exports a picture in small pieces that it then joins; strip by strip, they stay in the
    processor's cache and are written only once.
    """
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _STRIP):
        bottom = min(image.height, top + _STRIP)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return pixels


def _on_white(image: Image.Image) -> NDArray[np.uint8]:
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return _pixels(white.convert("RGB"))


def _from_array(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if (
        array.dtype != np.uint8
        or array.ndim not in (2, 3)
        or array.shape[2:] not in ((), (3,), (4,))
    ):
        raise ImageDecodeError(
            "an array must be uint8 in [0, 255] of shape (H, W), (H, W, 3) or (H, W, 4), "
            f"received {array.dtype} of shape {array.shape}"
        )
    if array.size == 0:
        raise ImageDecodeError(f"an array must have pixels, received shape {array.shape}")
    if array.ndim == 2:
        return np.repeat(array[:, :, None], 3, axis=2)
    if array.shape[2] == 4:
        return _on_white(Image.fromarray(array))
    return np.ascontiguousarray(array)
