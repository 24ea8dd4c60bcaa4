"""Training batches: one warp from 48 pixels straight to the tile, then photometric changes.

Everything works on grey batches of shape (B, T, T, 1); the last step copies them to RGB.
"""

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fer.nn.dataset import SIDE, Fer2013
from fer.tile import make_tile


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes. At the defaults a batch is exactly `make_tile`'s.

    Attributes:
        flip: Whether to mirror half of the images left to right.
        rotation: Largest rotation in degrees, either way.
        zoom: Largest relative change of the scale, either way, in [0, 1).
        shift: Largest shift along each axis, as a fraction of the side.
        contrast: Largest relative change of the contrast, either way, in [0, 1).
        brightness: Largest change of the brightness in grey levels, either way.
        gamma: Largest change of the logarithm of gamma, either way.
        sharpness: Largest weight of the detail (image minus blurred image) that is added or
            taken away; FER2013 images are sharper than real photos' crops.
        resample: Share of the images that are shrunk to between 0.35 and 0.9 of the side and
            enlarged again, as a face far from the camera is.
        noise: Largest standard deviation, in grey levels, of the noise that is added.
        erase: Share of the images in which a random rectangle is made grey (Zhong et al. 2017).
        mixup: Parameter of the Beta distribution that two images are mixed by (Zhang et al.
            2018); 0 for none.
        mixup_share: Share of the images that are mixed.
    """

    flip: bool = False
    rotation: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    gamma: float = 0.0
    sharpness: float = 0.0
    resample: float = 0.0
    noise: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0
    mixup_share: float = 0.5


Targets = dict[str, tf.Tensor]


def training_batches(
    data: Fer2013,
    size: int,
    batch: int,
    augmentation: Augmentation,
    seed: int,
    *,
    targets: NDArray[np.float32] | None = None,
) -> tf.data.Dataset:
    """Returns endless-free shuffled, augmented batches: one pass over the data per iteration.

    Args:
        data: Training images.
        size: T, the side of the tile, at least 48.
        batch: Images per batch; the rest that does not fill a batch is left out of the epoch.
        augmentation: Ranges of the changes.
        seed: Seed of order and changes.
        targets: Class probabilities, shape (N, 7), that the head ``fer2013`` learns; None for
            the labels.

    Returns:
        Batches of (tiles, targets, weights): float32 (B, T, T, 3) in [0, 255]; class
        probabilities (B, 7) for the heads ``fer2013`` and ``ferplus``; and weights (B,) per head,
        0 for ``ferplus`` where an image has no votes.

    Raises:
        ValueError: If there are fewer images than one batch.
    """
    if len(data) < batch:
        raise ValueError(f"training needs at least one batch of {batch} images, has {len(data)}")
    if size < SIDE:
        raise ValueError(f"size must be at least {SIDE}, received {size}")
    images = tf.constant(data.images[..., None])
    labels = tf.one_hot(data.labels, data.votes.shape[1]) if targets is None else targets
    labels = tf.constant(labels, tf.float32)
    votes = tf.constant(data.votes)
    tf.random.set_seed(seed)

    def load(index: tf.Tensor) -> tuple[tf.Tensor, Targets, Targets]:
        targets = {"fer2013": tf.gather(labels, index), "ferplus": tf.gather(votes, index)}
        tiles = augment(tf.cast(tf.gather(images, index), tf.float32), size, augmentation)
        has_votes = tf.cast(tf.reduce_sum(targets["ferplus"], axis=1) > 0, tf.float32)
        weights = {"fer2013": tf.ones_like(has_votes), "ferplus": has_votes}
        if augmentation.mixup:
            tiles, targets, weights = _mixup(tiles, targets, weights, augmentation)
        return tf.repeat(tiles, 3, axis=-1), targets, weights

    order = tf.data.Dataset.range(len(data)).shuffle(len(data), seed=seed)
    order = order.batch(batch, drop_remainder=True)
    return order.map(load, num_parallel_calls=2).prefetch(2)


def validation_batches(data: Fer2013, size: int, batch: int) -> tf.data.Dataset:
    """Returns unchanged tiles in order, with targets and weights as in `training_batches`."""

    def load(start: int) -> tuple[NDArray[np.float32], ...]:
        part = slice(start, start + batch)
        tiles = np.stack([make_tile(image, size) for image in data.images[part]])
        votes = data.votes[part]
        labels = np.eye(votes.shape[1], dtype=np.float32)[data.labels[part]]
        has_votes = (votes.sum(axis=1) > 0).astype(np.float32)
        return tiles, labels, votes, np.ones_like(has_votes), has_votes

    def batches() -> object:
        for start in range(0, len(data), batch):
            tiles, labels, votes, ones, has_votes = load(start)
            yield (
                tiles,
                {"fer2013": labels, "ferplus": votes},
                {"fer2013": ones, "ferplus": has_votes},
            )

    classes = tf.TensorSpec((None, data.votes.shape[1]), tf.float32)
    weight = tf.TensorSpec((None,), tf.float32)
    signature = (
        tf.TensorSpec((None, size, size, 3), tf.float32),
        {"fer2013": classes, "ferplus": classes},
        {"fer2013": weight, "ferplus": weight},
    )
    steps = tf.data.experimental.assert_cardinality(math.ceil(len(data) / batch))
    return tf.data.Dataset.from_generator(batches, output_signature=signature).apply(steps)


def augment(images: tf.Tensor, size: int, ranges: Augmentation) -> tf.Tensor:
    """Turns grey images into randomly changed tiles.

    Args:
        images: Shape (B, 48, 48, 1), float32 in [0, 255].
        size: T, the side of the tile.
        ranges: Ranges of the changes.

    Returns:
        Shape (B, T, T, 1), float32 in [0, 255].
    """
    tiles = _warp(images, size, ranges)
    if ranges.resample:
        tiles = _resample(tiles, ranges.resample)
    if ranges.sharpness:
        weight = _uniform(tiles, -ranges.sharpness, ranges.sharpness)
        tiles += weight * (tiles - _blur(tiles))
    if ranges.gamma:
        exponent = tf.exp(_uniform(tiles, -ranges.gamma, ranges.gamma))
        tiles = 255.0 * tf.clip_by_value(tiles / 255.0, 1e-4, 1.0) ** exponent
    if ranges.contrast or ranges.brightness:
        mean = tf.reduce_mean(tiles, axis=(1, 2, 3), keepdims=True)
        contrast = _uniform(tiles, 1.0 - ranges.contrast, 1.0 + ranges.contrast)
        brightness = _uniform(tiles, -ranges.brightness, ranges.brightness)
        tiles = (tiles - mean) * contrast + mean + brightness
    if ranges.noise:
        tiles += _uniform(tiles, 0.0, ranges.noise) * tf.random.normal(tf.shape(tiles))
    if ranges.erase:
        tiles = _erase(tiles, ranges.erase)
    return tf.clip_by_value(tiles, 0.0, 255.0)


def _uniform(tiles: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Returns one random number an image, shape (B, 1, 1, 1)."""
    return tf.random.uniform((tf.shape(tiles)[0], 1, 1, 1), low, high)


def _warp(images: tf.Tensor, size: int, ranges: Augmentation) -> tf.Tensor:
    """One affine warp with half-pixel centres; beyond the border the image is mirrored."""
    count = tf.shape(images)[0]

    def draw(low: float, high: float) -> tf.Tensor:
        return tf.random.uniform((count,), low, high)

    radians = math.radians(ranges.rotation)
    angle = draw(-radians, radians)
    step = SIDE / size / draw(1.0 - ranges.zoom, 1.0 + ranges.zoom)
    mirror = tf.where(draw(0.0, 1.0) < (0.5 if ranges.flip else 0.0), -1.0, 1.0)
    cosine, sine = step * tf.cos(angle), step * tf.sin(angle)
    # Source = R (output - middle) + middle of the source + shift, all measured at pixel centres.
    middle = (size - 1) / 2
    source = (SIDE - 1) / 2
    to_x = source + SIDE * draw(-ranges.shift, ranges.shift)
    to_y = source + SIDE * draw(-ranges.shift, ranges.shift)
    zero = tf.zeros_like(angle)
    transforms = tf.stack(
        [
            mirror * cosine,
            -mirror * sine,
            to_x - mirror * (cosine - sine) * middle,
            sine,
            cosine,
            to_y - (sine + cosine) * middle,
            zero,
            zero,
        ],
        axis=1,
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def _blur(tiles: tf.Tensor) -> tf.Tensor:
    """Binomial 5 x 5 blur (standard deviation one pixel), edges mirrored."""
    row = tf.constant([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
    padded = tf.pad(tiles, [[0, 0], [2, 2], [2, 2], [0, 0]], mode="REFLECT")
    across = tf.nn.conv2d(padded, row[None, :, None, None], 1, "VALID")
    return tf.nn.conv2d(across, row[:, None, None, None], 1, "VALID")


def _resample(tiles: tf.Tensor, share: float) -> tf.Tensor:
    size = tiles.shape[1]
    small = tf.cast(size * tf.random.uniform((), 0.35, 0.9), tf.int32)
    shrunk = tf.image.resize(tiles, (small, small), method="area")
    enlarged = tf.image.resize(shrunk, (size, size))
    return tf.where(_uniform(tiles, 0.0, 1.0) < share, enlarged, tiles)


def _erase(tiles: tf.Tensor, share: float) -> tf.Tensor:
    position = tf.range(tiles.shape[1], dtype=tf.float32) / tiles.shape[1]

    def inside(axis: int) -> tf.Tensor:
        length = _uniform(tiles, 0.15, 0.45)
        start = _uniform(tiles, 0.0, 1.0) * (1.0 - length)
        shape = (1, -1, 1, 1) if axis == 1 else (1, 1, -1, 1)
        along = tf.reshape(position, shape)
        return (along >= start) & (along < start + length)

    hit = inside(1) & inside(2) & (_uniform(tiles, 0.0, 1.0) < share)
    return tf.where(hit, _uniform(tiles, 0.0, 255.0), tiles)


def _mixup(
    tiles: tf.Tensor, targets: Targets, weights: Targets, ranges: Augmentation
) -> tuple[tf.Tensor, Targets, Targets]:
    """Mixes a share of the images with their neighbours in the (shuffled) batch."""
    count = tf.shape(tiles)[0]
    gamma = tf.random.gamma((2, count), ranges.mixup)
    part = gamma[0] / tf.maximum(gamma[0] + gamma[1], 1e-6)
    part = tf.where(tf.random.uniform((count,)) < ranges.mixup_share, part, 1.0)

    def mix(values: tf.Tensor) -> tf.Tensor:
        own = tf.reshape(part, [-1] + [1] * (values.shape.rank - 1))
        return own * values + (1.0 - own) * tf.roll(values, 1, axis=0)

    mixed = {head: mix(values) for head, values in targets.items()}
    return mix(tiles), mixed, {head: mix(values) for head, values in weights.items()}
