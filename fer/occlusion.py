"""What a reading rests on: parts of the face are covered in turn, and the answer compared.

Occlusion sensitivity (Zeiler and Fergus 2014, section 4.2) asks nothing of the network but its
answers, so it serves every exported file, and what it shows is what covering really does. The class
activation map in the file (``evidence``) shows no place: see docs/training.md.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_PATCHES = 6  # along each side; each covers a quarter of it
_LEAST = 1 / 256  # what 8 bits can tell from nothing


def patches(size: int) -> tuple[list[tuple[int, int]], int]:
    """Says what is covered of a tile in turn.

    Args:
        size: Side of the tile in pixels.

    Returns:
        The top and left edge of each patch, and the side of all, in pixels.
    """
    side = size // 4
    edges = np.linspace(0, size - side, _PATCHES).round().astype(int).tolist()
    return [(top, left) for top in edges for left in edges], side


def importance(
    probability: Callable[[NDArray[np.float32]], NDArray[np.float32]], tile: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Measures by how much covering each part of a tile makes an answer less probable.

    Args:
        probability: From tiles (N, T, T, 3), float32, to the probability (N,) of the answer.
        tile: Shape (T, T, 3), float32 in [0, 255].

    Returns:
        Shape (T, T), float32: the fall of the answer's log odds, averaged over the patches that
        cover each pixel. Below 0, covering makes the answer more probable.
    """
    size = tile.shape[0]
    corners, side = patches(size)
    tiles = np.repeat(tile[None], len(corners) + 1, axis=0)
    for covered, (top, left) in zip(tiles[1:], corners, strict=True):
        covered[top : top + side, left : left + side] = tile.mean(axis=(0, 1))
    chances = np.clip(probability(tiles), _LEAST, 1 - _LEAST)
    odds = np.log(chances / (1 - chances))
    total, count = np.zeros((size, size)), np.zeros((size, size))
    for fall, (top, left) in zip(odds[0] - odds[1:], corners, strict=True):
        total[top : top + side, left : left + side] += fall
        count[top : top + side, left : left + side] += 1
    return np.asarray(total / count, np.float32)
