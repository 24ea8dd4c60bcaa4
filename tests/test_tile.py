import numpy as np
import pytest

from fer.tile import make_tile


def noise(side, channels=3, seed=0):
    shape = (side, side, channels) if channels else (side, side)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("side", [1, 48, 95, 96, 97, 500])
def test_a_tile_is_float_rgb_of_the_networks_size(side):
    tile = make_tile(noise(side), 96)
    assert tile.shape == (96, 96, 3)
    assert tile.dtype == np.float32
    assert tile.min() >= 0
    assert tile.max() <= 255


def test_white_stays_255_for_the_graph_to_normalise():
    assert make_tile(np.full((48, 48), 255, np.uint8), 96).min() == 255


def test_shrinking_is_the_mean_of_the_area():
    image = noise(192)
    means = image.reshape(96, 2, 96, 2, 3).mean(axis=(1, 3))
    assert make_tile(image, 96) == pytest.approx(means, abs=1e-4)


def test_enlarging_is_bilinear_between_pixel_centres_with_the_edge_repeated():
    row = np.array([0, 100], np.uint8)
    assert make_tile(np.stack([row, row]), 4)[0, :, 0] == pytest.approx([0, 25, 75, 100])


def test_grey_and_its_rgb_copy_make_the_same_tile():
    grey = noise(48, channels=0)
    assert np.array_equal(make_tile(grey, 96), make_tile(np.repeat(grey[..., None], 3, 2), 96))


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 5, 3), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((0, 0, 3), np.uint8),
    ],
)
def test_anything_but_a_square_uint8_image_is_refused(wrong):
    with pytest.raises(ValueError, match="square must"):
        make_tile(wrong, 96)
