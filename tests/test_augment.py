import dataclasses

import cv2
import numpy as np
import pytest
import tensorflow as tf

from fer.nn.augment import Augmentation, augment, training_batches, validation_batches
from fer.tile import make_tile
from tests.synthetic import drawn
from train.predict import tiles_of
from train.recipes import CPU, PAPER

DATA = drawn({"Training": 4})


def grey_batch(images):
    return tf.constant(images[..., None], tf.float32)


@pytest.mark.parametrize("size", [48, 96, 200])
def test_without_changes_a_training_tile_is_the_inference_tile(size):
    tiles = augment(grey_batch(DATA.images), size, Augmentation()).numpy()
    for image, tile in zip(DATA.images, tiles, strict=True):
        assert np.abs(tile - make_tile(image, size)).max() < 1e-2


def test_validation_tiles_equal_inference_tiles_bit_for_bit():
    batches = list(validation_batches(DATA, 96, 5))
    tiles = np.concatenate([tiles.numpy() for tiles, _, _ in batches])
    # What a phone or the app would crop: the same image as an RGB photo.
    photos = [np.repeat(image[..., None], 3, axis=2) for image in DATA.images]
    assert np.array_equal(tiles, np.stack([make_tile(photo, 96) for photo in photos]))
    labels = np.concatenate([targets["fer2013"].numpy() for _, targets, _ in batches])
    assert labels.argmax(axis=1).tolist() == DATA.labels.tolist()


def with_only(**ranges):
    return dataclasses.replace(Augmentation(), **ranges)


def test_flip_mirrors_about_half_of_the_images():
    images = np.repeat(DATA.images[:1], 200, axis=0)
    tf.random.set_seed(0)
    tiles = augment(grey_batch(images), 48, with_only(flip=True)).numpy()[..., 0]
    plain, mirrored = images[0], images[0][:, ::-1]
    kinds = [
        np.allclose(tile, plain, atol=1e-2) + 2 * np.allclose(tile, mirrored, atol=1e-2)
        for tile in tiles
    ]
    assert set(kinds) == {1, 2}
    assert 70 < kinds.count(2) < 130


def test_rotation_and_zoom_keep_the_middle_and_shift_moves_it():
    dot = np.zeros((1, 48, 48), np.uint8)
    dot[0, 23:25, 23:25] = 255
    images = grey_batch(np.repeat(dot, 50, axis=0))
    tf.random.set_seed(0)

    def centres(ranges):
        tiles = augment(images, 96, ranges).numpy()[..., 0]
        axis = np.arange(96)
        return np.array(
            [(tile.sum(0) @ axis / tile.sum(), tile.sum(1) @ axis / tile.sum()) for tile in tiles]
        )

    assert centres(with_only(rotation=30.0, zoom=0.3)) == pytest.approx(
        np.full((50, 2), 47.5), abs=0.1
    )
    moved = np.abs(centres(with_only(shift=0.1)) - 47.5)
    assert 3 < moved.max() <= 0.1 * 96 + 0.1


def test_rotation_agrees_with_opencv():
    image = cv2.GaussianBlur(DATA.images[0], (9, 9), 0)
    tf.random.set_seed(3)
    tile = augment(grey_batch(image[None]), 48, with_only(rotation=30.0)).numpy()[0, ..., 0]
    inner = (slice(12, 36), slice(12, 36))

    def difference(degrees):
        matrix = cv2.getRotationMatrix2D((23.5, 23.5), degrees, 1)
        turned = cv2.warpAffine(image, matrix, (48, 48), borderMode=cv2.BORDER_REFLECT)
        return np.abs(turned[inner].astype(float) - tile[inner]).mean()

    assert min(difference(degrees) for degrees in np.arange(-30, 30, 0.5)) < 1.5


@pytest.mark.parametrize("recipe", [PAPER, CPU])
def test_every_recipe_keeps_the_range_and_changes_the_images(recipe):
    tf.random.set_seed(0)
    tiles = augment(grey_batch(DATA.images), 96, recipe.augmentation).numpy()
    plain = augment(grey_batch(DATA.images), 96, Augmentation()).numpy()
    assert np.isfinite(tiles).all()
    assert tiles.min() >= 0
    assert tiles.max() <= 255
    assert np.abs(tiles - plain).mean(axis=(1, 2, 3)).min() > 1


def sharpness(tiles):
    return np.mean([cv2.Laplacian(tile[..., 0], cv2.CV_32F).std() for tile in tiles])


def test_resampling_blurs_noise_roughens_and_erasing_covers():
    tf.random.set_seed(0)
    images = grey_batch(DATA.images)
    plain = augment(images, 96, Augmentation()).numpy()
    blurred = augment(images, 96, with_only(resample=1.0)).numpy()
    assert sharpness(blurred) < 0.9 * sharpness(plain)
    noisy = augment(images, 96, with_only(noise=40.0)).numpy()
    assert sharpness(noisy) > 1.3 * sharpness(plain)
    assert noisy.mean() == pytest.approx(plain.mean(), abs=4)
    erased = augment(images, 96, with_only(erase=1.0)).numpy()
    covered = (np.abs(erased - plain) > 1e-3).mean(axis=(1, 2, 3))
    assert covered.min() > 0.01
    assert covered.max() < 0.25


def test_mixup_mixes_images_labels_and_weights_alike():
    votes = DATA.votes.copy()
    votes[::2] = 0
    data = dataclasses.replace(DATA, votes=votes)
    mix = with_only(mixup=1.0, mixup_share=1.0)
    tiles, targets, weights = next(iter(training_batches(data, 48, 28, mix, seed=0)))
    assert tiles.shape == (28, 48, 48, 3)
    shares = targets["fer2013"].numpy()
    assert shares.sum(axis=1) == pytest.approx(np.ones(28), abs=1e-5)
    assert ((shares > 0.01) & (shares < 0.99)).any(axis=1).sum() > 10
    assert weights["fer2013"].numpy() == pytest.approx(np.ones(28))
    assert weights["ferplus"].numpy() == pytest.approx(targets["ferplus"].numpy().sum(axis=1))


def test_one_pass_uses_every_full_batch_and_each_image_at_most_once():
    batches = list(training_batches(DATA, 48, 5, Augmentation(), seed=0))
    assert len(batches) == len(DATA) // 5
    seen = {tile[..., 0].numpy().round().tobytes() for tiles, _, _ in batches for tile in tiles}
    assert len(seen) == 5 * len(batches)


def test_the_seed_decides_the_order():
    def first(seed):
        return next(iter(training_batches(DATA, 48, 8, Augmentation(), seed)))[0].numpy()

    assert np.array_equal(first(1), first(1))
    assert not np.array_equal(first(1), first(2))


def test_too_little_data_and_too_small_tiles_are_refused():
    with pytest.raises(ValueError, match="at least one batch of 64 images, has 28"):
        training_batches(DATA, 48, 64, Augmentation(), seed=0)
    with pytest.raises(ValueError, match="size must be at least 48, received 32"):
        training_batches(DATA, 32, 8, Augmentation(), seed=0)


def test_tiles_come_in_the_order_of_the_images_some_at_a_time():
    images = np.random.default_rng(0).integers(0, 256, (600, 4, 4), dtype=np.uint8)
    parts = list(tiles_of(images, 6))
    assert max(map(len, parts)) < len(images)
    assert np.array_equal(np.concatenate(parts), [make_tile(image, 6) for image in images])
