"""Square image -> network tile. The only preprocessing there is.

Grey conversion and normalisation are inside the graph, so there is nothing else to get wrong.
"""

import cv2
import numpy as np
from numpy.typing import NDArray


def make_tile(square: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Resizes a square crop to the network's input.

    Shrinks by area averaging; enlarges bilinearly with half-pixel centres and the edge repeated.

    Args:
        square: RGB of shape (S, S, 3), or grey of shape (S, S), uint8.
        size: T, the side of the tile in pixels.

    Returns:
        Array of shape (T, T, 3), float32 in [0, 255]; grey is copied to three channels.

    Raises:
        ValueError: If ``square`` is not a square uint8 image.
    """
    if square.dtype != np.uint8 or square.ndim not in (2, 3) or square.shape[2:] not in ((), (3,)):
        raise ValueError(
            "square must be uint8 of shape (S, S) or (S, S, 3), "
            f"received {square.dtype} of shape {square.shape}"
        )
    if square.shape[0] != square.shape[1] or square.shape[0] == 0:
        raise ValueError(f"square must have equal sides, received shape {square.shape}")
    interpolation = cv2.INTER_AREA if square.shape[0] > size else cv2.INTER_LINEAR
    tile = cv2.resize(square.astype(np.float32), (size, size), interpolation=interpolation)
    if tile.ndim == 2:
        tile = np.repeat(tile[:, :, None], 3, axis=2)
    return np.asarray(tile, dtype=np.float32)
