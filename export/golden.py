"""Golden vectors: tiles with the answers they must get, for whoever ports the model."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from fer.faces import BlazeFaceDetector, square_crop
from fer.image import load_image
from fer.labels import LABELS
from fer.runtime import TileClassifier
from fer.spec import FER2013_CROP
from fer.tile import make_tile

GOLDEN_FILE = "golden.json"

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]

PHOTO = Path(__file__).parents[1] / "examples" / "astronaut.png"
"""A public-domain portrait (NASA): no FER2013 image is ever shipped."""


def golden_tiles(size: int) -> dict[str, NDArray[np.uint8]]:
    """Makes 20 tiles: one face under ten conditions, and ten drawn patterns.

    Args:
        size: T, the side of the tile.

    Returns:
        Name to tile, (T, T, 3), uint8.
    """
    photo = load_image(PHOTO)
    face = BlazeFaceDetector().detect(photo)[0]
    tile = np.rint(make_tile(square_crop(photo, face, FER2013_CROP), size)).astype(np.uint8)
    portrait = Image.fromarray(tile)
    faces = {
        "face": portrait,
        "face-mirrored": ImageOps.mirror(portrait),
        "face-grey": ImageOps.grayscale(portrait).convert("RGB"),
        "face-dark": ImageEnhance.Brightness(portrait).enhance(0.4),
        "face-bright": ImageEnhance.Brightness(portrait).enhance(1.6),
        "face-flat": ImageEnhance.Contrast(portrait).enhance(0.4),
        "face-blurred": portrait.filter(ImageFilter.GaussianBlur(size / 48)),
        "face-rotated": portrait.rotate(20, Image.Resampling.BILINEAR),
        "face-inverted": ImageOps.invert(portrait),
        "face-upside-down": ImageOps.flip(portrait),
    }
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, size)
    across, down = np.meshgrid(ramp, ramp)
    rings = 127.5 + 127.5 * np.cos(np.hypot(across - 128, down - 128) / 12)
    checks = 255.0 * ((np.indices((size, size)) // 8).sum(axis=0) % 2)
    grey = {
        "black": np.zeros((size, size)),
        "grey": np.full((size, size), 128.0),
        "white": np.full((size, size), 255.0),
        "ramp-across": across,
        "ramp-down": down,
        "rings": rings,
        "checks": checks,
    }
    patterns = {name: np.repeat(values[..., None], 3, axis=2) for name, values in grey.items()}
    patterns["colours"] = np.stack([across, down, 255 - across], axis=2)
    patterns["noise-grey"] = np.repeat(rng.uniform(0, 255, (size, size, 1)), 3, axis=2)
    patterns["noise-colour"] = rng.uniform(0, 255, (size, size, 3))
    return {
        **{name: np.asarray(image) for name, image in faces.items()},
        **{name: np.rint(values).astype(np.uint8) for name, values in patterns.items()},
    }


def write(folder: Path, file: Path, size: int, predict: Predict, tolerance: float) -> None:
    """Writes ``golden/*.png`` and ``golden/golden.json``.

    Args:
        folder: Folder to make.
        file: The exported ``.tflite``, whose answers another runtime must repeat.
        size: T, the side of its tile.
        predict: From tiles (N, T, T, 3), float32, to the probabilities (N, 7) of the model it was
            made from, which stand beside its own.
        tolerance: Largest difference of a probability that a runtime is allowed.
    """
    tiles = golden_tiles(size)
    folder.mkdir(parents=True)
    for name, tile in tiles.items():
        Image.fromarray(tile).save(folder / f"{name}.png")
    stacked = np.stack(list(tiles.values())).astype(np.float32)
    answers = {
        "probabilities": TileClassifier(file).predict(stacked).probabilities,
        "keras": predict(stacked),
    }
    vectors = {
        "labels": LABELS,
        "tolerance": tolerance,
        **{
            whose: {
                name: [round(float(value), 6) for value in row]
                for name, row in zip(tiles, rows, strict=True)
            }
            for whose, rows in answers.items()
        },
    }
    (folder / GOLDEN_FILE).write_text(json.dumps(vectors, indent=2) + "\n", encoding="utf-8")
