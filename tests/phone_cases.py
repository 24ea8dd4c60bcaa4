"""Crops and tiles as Python makes them, for the phones' code to repeat.

``python -m tests.phone_cases`` writes those that the Swift package replays.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer.faces import FaceBox, crop_square, square_crop
from fer.spec import FER2013_CROP, CropSpec
from fer.tile import make_tile

SWIFT_CASES = Path(__file__).parents[1] / "export/phone/ios/Tests/FerEdgeTests/Resources/cases.json"

CENTRED = CropSpec(scale=1.0, offset_y=0.0)
BOXES = (
    (FaceBox(1.0, 2.0, 5.0, 4.0, 1.0), FER2013_CROP),
    (FaceBox(0.5, 0.5, 3.0, 3.0, 1.0), CENTRED),  # halves, which are rounded up
    (FaceBox(-2.5, -3.5, 6.0, 6.0, 1.0), CENTRED),  # and so are negative ones
    (FaceBox(5.25, 4.75, 7.5, 9.5, 1.0), FER2013_CROP),
    (FaceBox(3.0, 3.0, 0.25, 0.25, 1.0), FER2013_CROP),  # a pixel at least
)
"""Faces within a picture of 9 x 7 pixels, over its edges, and almost none."""

SIZES = (1, 4, 5, 12)


def cases() -> dict[str, Any]:
    """Returns the squares and tiles of small faces in a small picture of noise."""
    picture = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return {
        "crops": [
            {
                "box": [box.x, box.y, box.width, box.height],
                "crop": {"scale": crop.scale, "offset_y": crop.offset_y},
                "square": crop_square(box, crop),
            }
            for box, crop in BOXES
        ],
        "tiles": [
            {
                "picture": picture.tolist(),
                "square": crop_square(box, crop),
                "size": size,
                "tile": flat(make_tile(square_crop(picture, box, crop), size)),
            }
            for box, crop in BOXES
            for size in SIZES
        ],
    }


def flat(tile: NDArray[np.float32]) -> list[float]:
    """Returns a tile's values row by row, rounded as far as anyone will look."""
    return [round(float(value), 3) for value in tile.ravel()]


def to_json() -> str:
    """Returns the cases as the Swift package keeps them."""
    return json.dumps(cases()) + "\n"


if __name__ == "__main__":
    SWIFT_CASES.write_text(to_json(), encoding="utf-8")
