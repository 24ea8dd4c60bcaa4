"""What goes wrong with pictures of faces, in five severities each, for robustness reports.

The conditions are those the paper's introduction names: illumination, rotation and pose,
occlusion, low resolution, noise and compression. Severities follow ImageNet-C (Hendrycks and
Dietterich 2019): 1 is barely visible, 5 is as bad as an answer can still be asked for.
"""

import zlib
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

SEVERITIES: tuple[int, ...] = (1, 2, 3, 4, 5)

Corruption = Callable[[Image, int, np.random.Generator], Image]
"""From a square grey image (S, S), a severity and randomness to a changed image (S, S)."""


def _dark(image: Image, severity: int, rng: np.random.Generator) -> Image:
    return _scaled(image, (0.7, 0.5, 0.35, 0.22, 0.12)[severity - 1])


def _bright(image: Image, severity: int, rng: np.random.Generator) -> Image:
    return _scaled(image, (1.25, 1.5, 1.9, 2.4, 3.0)[severity - 1])


def _scaled(image: Image, exposure: float) -> Image:
    return np.clip(image * np.float32(exposure), 0, 255).round().astype(np.uint8)


def _side_light(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Light from one side: the other side falls off towards black."""
    floor = (0.7, 0.5, 0.3, 0.15, 0.05)[severity - 1]
    ramp = np.linspace(1.0, floor, image.shape[1], dtype=np.float32)
    lit = image * (ramp if rng.random() < 0.5 else ramp[::-1])
    return lit.round().astype(np.uint8)


def _rotation(image: Image, severity: int, rng: np.random.Generator) -> Image:
    degrees = (8, 16, 25, 35, 45)[severity - 1] * rng.choice((-1, 1))
    middle = (image.shape[1] - 1) / 2
    turn = cv2.getRotationMatrix2D((middle, middle), float(degrees), 1.0)
    return _kept(cv2.warpAffine(image, turn, image.shape[::-1], borderMode=cv2.BORDER_REPLICATE))


def _pose(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """A picture of the face seen from the side: one edge is further away and shorter."""
    share = (0.06, 0.12, 0.18, 0.24, 0.30)[severity - 1]
    side = image.shape[0] - 1
    far = share * side
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    moved = np.array([[0, 0], [side - far, far], [side - far, side - far], [0, side]], np.float32)
    warp = cv2.getPerspectiveTransform(corners, moved)
    left = rng.random() < 0.5
    source = np.ascontiguousarray(image[:, ::-1]) if left else image
    turned = cv2.warpPerspective(source, warp, image.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    return _kept(turned[:, ::-1] if left else turned)


def _occlusion(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """A grey square somewhere over the face, as a hand or a mask would be."""
    side = image.shape[0]
    length = round((0.2, 0.28, 0.36, 0.44, 0.52)[severity - 1] * side)
    top, left = rng.integers(0, side - length + 1, 2)
    hidden = image.copy()
    hidden[top : top + length, left : left + length] = round(float(image.mean()))
    return hidden


def _low_resolution(image: Image, severity: int, rng: np.random.Generator) -> Image:
    small = round((0.67, 0.5, 0.4, 0.3, 0.23)[severity - 1] * image.shape[0])
    shrunk = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    return _kept(cv2.resize(shrunk, image.shape[::-1], interpolation=cv2.INTER_LINEAR))


def _blur(image: Image, severity: int, rng: np.random.Generator) -> Image:
    return _kept(cv2.GaussianBlur(image, (0, 0), (0.6, 0.9, 1.3, 1.8, 2.4)[severity - 1]))


def _noise(image: Image, severity: int, rng: np.random.Generator) -> Image:
    grains = rng.normal(0, (6, 12, 20, 30, 45)[severity - 1], image.shape)
    return np.clip(image + grains, 0, 255).round().astype(np.uint8)


def _jpeg(image: Image, severity: int, rng: np.random.Generator) -> Image:
    quality = (50, 30, 18, 10, 6)[severity - 1]
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return _kept(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE))


def _kept(image: object) -> Image:
    return np.ascontiguousarray(image, dtype=np.uint8)


CORRUPTIONS: dict[str, Corruption] = {
    "dark": _dark,
    "bright": _bright,
    "side light": _side_light,
    "rotation": _rotation,
    "pose": _pose,
    "occlusion": _occlusion,
    "low resolution": _low_resolution,
    "blur": _blur,
    "noise": _noise,
    "JPEG": _jpeg,
}


def corrupted(images: Image, name: str, severity: int) -> Image:
    """Changes every image in the same way on every call.

    Args:
        images: Shape (N, S, S), uint8.
        name: One of `CORRUPTIONS`.
        severity: 1 to 5.

    Returns:
        Shape (N, S, S), uint8.

    Raises:
        ValueError: If the name or the severity is unknown.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"corruption must be one of {list(CORRUPTIONS)}, received {name!r}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity must be one of {list(SEVERITIES)}, received {severity}")
    rng = np.random.default_rng([zlib.crc32(name.encode()), severity])
    return np.stack([CORRUPTIONS[name](image, severity, rng) for image in images])
