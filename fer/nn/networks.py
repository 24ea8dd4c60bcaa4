"""The networks that EfficientNetB0 is compared with, and how each is built.

Each gets the same grey conversion before it and the same two heads behind it. Only ordinary Keras
layers are used, and none with weights that must not learn: `fer.nn.fit` decides about a backbone
as a whole. All layers of a backbone lie flat in one model, where `fer.nn.fit` finds them.
"""

import contextlib
import socket
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import keras
import numpy as np
from numpy.typing import NDArray

from fer.labels import LABELS
from fer.nn import model as models
from fer.nn.dataset import SIDE

_NEIGHBOURS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
"""Row and column of each bit's neighbour: from the right, against the clock."""

# The mean of ImageNet's blue, green and red. The networks that subtract it were trained on that
# order; ours have three equal channels, so there is nothing to swap.
_IMAGENET_MEAN = (103.939, 116.779, 123.68)

FROM_SCRATCH = "from scratch"

AGAIN = 1.0
"""Seconds to wait for a server that did not answer before."""

_CELL = 8
_CELLS = SIDE // _CELL
_BLOCK = 2
_ORIENTATIONS = 8
_PATTERNS = 10  # the uniform patterns of eight neighbours, up to rotation

VECTOR: int = (_CELLS - _BLOCK + 1) ** 2 * _BLOCK**2 * _ORIENTATIONS + _CELLS**2 * _PATTERNS
"""Length of `describe`'s vectors."""


@dataclass
class Weights:
    """Where a network's weights come from, and what was found there.

    Attributes:
        init: ``imagenet`` for the weights that Keras downloads; anything else for random ones.
        timeout: Seconds after which a silent server counts as out of reach.
        missing: Why weights could not be had, one line a network.
        found: How many networks got theirs.
        fresh: Whether a part starts at random because nobody publishes its weights.
    """

    init: str
    timeout: float = 10.0
    missing: list[str] = field(default_factory=list)
    found: int = 0
    fresh: bool = False

    def features(
        self, application: Callable[..., keras.Model], image: keras.KerasTensor, **options: object
    ) -> keras.KerasTensor:
        """Applies one of `keras.applications`, with ImageNet weights where they can be had."""

        def build(weights: str | None) -> keras.KerasTensor:
            return application(
                include_top=False,
                weights=weights,
                input_tensor=image,
                input_shape=tuple(image.shape[1:]),
                **options,
            ).output

        if self.init == "imagenet":
            try:
                with _socket_timeout(self.timeout), warnings.catch_warnings():
                    # That weights for tiles of 224 pixels serve other sizes is meant.
                    warnings.simplefilter("ignore", UserWarning)
                    features = build("imagenet")
            except Exception as error:  # Keras raises it bare where a download fails
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                self.missing.append(
                    f"no ImageNet weights of {application.__name__} "
                    f"({reason.rpartition(' -- ')[2][:100]})"
                )
                # A server that was silent once is not waited for as long again.
                self.timeout = min(self.timeout, AGAIN)
            else:
                self.found += 1
                return features
        return build(None)

    @property
    def start(self) -> str:
        """What the table calls this start."""
        if not self.found:
            return FROM_SCRATCH
        return "partly ImageNet" if self.missing or self.fresh else "ImageNet"


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


Features = Callable[[keras.KerasTensor, Weights], keras.KerasTensor]
"""From RGB (N, T, T, 3) in [0, 255] to features (N, h, w, C)."""


def _minus_one_to_one(image: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image)


def _less_the_mean(image: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.Normalization(mean=_IMAGENET_MEAN, variance=(1.0, 1.0, 1.0))(image)


def _efficientnet_b0(image: keras.KerasTensor, weights: Weights) -> keras.KerasTensor:
    return weights.features(keras.applications.EfficientNetB0, image)


def _efficientnet_v2_b0(image: keras.KerasTensor, weights: Weights) -> keras.KerasTensor:
    return weights.features(keras.applications.EfficientNetV2B0, image)


def _mobilenet_v2(image: keras.KerasTensor, weights: Weights) -> keras.KerasTensor:
    return weights.features(keras.applications.MobileNetV2, _minus_one_to_one(image))


def _mobilenet_v3_small(image: keras.KerasTensor, weights: Weights) -> keras.KerasTensor:
    return weights.features(keras.applications.MobileNetV3Small, image)


def _vgg16(image: keras.KerasTensor, weights: Weights) -> keras.KerasTensor:
    return weights.features(keras.applications.VGG16, _less_the_mean(image))


def _resnet50(image: keras.KerasTensor, weights: Weights) -> keras.KerasTensor:
    return weights.features(keras.applications.ResNet50, _less_the_mean(image))


def _inception_v3(image: keras.KerasTensor, weights: Weights) -> keras.KerasTensor:
    return weights.features(keras.applications.InceptionV3, _minus_one_to_one(image))


def _alexnet(image: keras.KerasTensor, weights: Weights) -> keras.KerasTensor:
    """The convolutions of Krizhevsky et al. 2012, in one tower and without their normalisation."""
    weights.fresh = True  # nobody publishes them for Keras
    features = _minus_one_to_one(image)
    pool_after = (0, 1, 4)
    convolutions = ((96, 11, 4), (256, 5, 1), (384, 3, 1), (384, 3, 1), (256, 3, 1))
    for index, (filters, side, stride) in enumerate(convolutions):
        features = keras.layers.Conv2D(
            filters,
            side,
            strides=stride,
            padding="valid" if stride > 1 else "same",
            activation="relu",
            kernel_initializer="he_normal",
        )(features)
        if index in pool_after:
            features = keras.layers.MaxPooling2D(3, strides=2)(features)
    return features


def _together(*parts: Features) -> Features:
    """Puts the pooled features of several networks side by side."""

    def features(image: keras.KerasTensor, weights: Weights) -> keras.KerasTensor:
        pool = keras.layers.GlobalAveragePooling2D
        pooled = [pool(keepdims=True)(part(image, weights)) for part in parts]
        return keras.layers.Concatenate()(pooled)

    return features


def _convolutions(*, attention: bool = False, lbp: bool = False) -> Features:
    """A plain CNN of five blocks, with attention after each or texture maps beside the image."""

    def features(image: keras.KerasTensor, weights: Weights) -> keras.KerasTensor:
        del weights
        grey = _over_channels(keras.layers.GlobalAveragePooling1D, image)
        values = _minus_one_to_one(grey)
        if lbp:
            # A neighbour is one pixel of the image that the tile was enlarged from.
            radius = max(1, image.shape[1] // SIDE)
            inner = keras.layers.Cropping2D(radius)(values)
            values = keras.layers.Concatenate()([inner, lbp_maps(grey, radius)])
        for filters in (32, 64, 128, 256, 512):
            values = keras.layers.Conv2D(
                filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal"
            )(values)
            values = keras.layers.BatchNormalization()(values)
            values = keras.layers.Activation("relu")(values)
            if attention:
                values = _spatial_attention(_channel_attention(values))
            values = keras.layers.MaxPooling2D()(values)
        return values

    return features


def _channel_attention(values: keras.KerasTensor) -> keras.KerasTensor:
    """Weighs channels by what is in them (CBAM, Woo et al. 2018)."""
    channels = values.shape[-1]
    squeeze = keras.layers.Conv2D(max(4, channels // 8), 1, activation="relu")
    excite = keras.layers.Conv2D(channels, 1)
    pools = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)
    score = keras.layers.Add()([excite(squeeze(pool(keepdims=True)(values))) for pool in pools])
    return keras.layers.Multiply()([values, keras.layers.Activation("sigmoid")(score)])


def _spatial_attention(values: keras.KerasTensor) -> keras.KerasTensor:
    """Weighs places by what is in them (CBAM, Woo et al. 2018)."""
    pools = (keras.layers.GlobalAveragePooling1D, keras.layers.GlobalMaxPooling1D)
    maps = keras.layers.Concatenate()([_over_channels(pool, values) for pool in pools])
    weight = keras.layers.Conv2D(1, 7, padding="same", activation="sigmoid")(maps)
    return keras.layers.Multiply()([values, weight])


def _over_channels(pool: type[keras.layers.Layer], values: keras.KerasTensor) -> keras.KerasTensor:
    """Pools over the channels: (N, h, w, C) to (N, h, w, 1)."""
    height, width, channels = values.shape[1:]
    places = keras.layers.Reshape((height * width, channels))(values)
    # To this layer the places are channels and the channels are steps.
    pooled = pool(data_format="channels_first")(places)
    return keras.layers.Reshape((height, width, 1))(pooled)


def lbp_maps(image: keras.KerasTensor, radius: int = 1) -> keras.KerasTensor:
    """Computes local binary patterns (Ojala et al. 2002) of the eight neighbours on the grid.

    Args:
        image: Shape (N, H, W, C), grey levels in [0, 255].
        radius: Distance of the neighbours in pixels, along each axis.

    Returns:
        Shape (N, H - 2 radius, W - 2 radius, C): the codes from 0 to 255, divided by 255.
    """

    def moved(down: int, right: int) -> keras.KerasTensor:
        return keras.layers.Cropping2D(
            (
                (radius + down * radius, radius - down * radius),
                (radius + right * radius, radius - right * radius),
            )
        )(image)

    centre = moved(0, 0)
    bits = []
    for bit, neighbour in enumerate(_NEIGHBOURS):
        difference = keras.layers.Subtract()([moved(*neighbour), centre])
        # 0 below -0.0011 grey levels and 1 above -0.0005: an equal neighbour sets the bit.
        steep = keras.layers.Rescaling(1e4, offset=8.0)(difference)
        step = keras.layers.Activation("hard_sigmoid")(steep)
        bits.append(keras.layers.Rescaling(2.0**bit / 255)(step))
    return keras.layers.Add()(bits)


@dataclass(frozen=True)
class System:
    """One row of the comparison.

    Attributes:
        slug: Its name on the command line and of its folder.
        name: Its name in the table.
        features: Builds the backbone; None for the network on `describe`'s vectors.
        hidden: Sizes of the dense layers before the heads, each with dropout.
        train_backbone: Whether the backbone learns.
        least_tile: Smallest side of the tiles that it can be built for.
    """

    slug: str
    name: str
    features: Features | None
    hidden: tuple[int, ...] = ()
    train_backbone: bool = True
    least_tile: int = SIDE


SYSTEMS: tuple[System, ...] = (
    System(
        "efficientnetb0-frozen", "EfficientNetB0, frozen", _efficientnet_b0, train_backbone=False
    ),
    System("efficientnetb0", "EfficientNetB0, fine-tuned", _efficientnet_b0),
    System(
        "hybrid",
        "EfficientNetB0 + MobileNetV2",
        _together(_efficientnet_b0, _mobilenet_v2),
        hidden=(512, 256),
    ),
    System("vgg16", "VGG16, global average pooling", _vgg16),
    System("alexnet", "AlexNet", _alexnet, hidden=(4096, 4096), least_tile=67),
    System("resnet50", "ResNet50", _resnet50),
    System("inceptionv3", "InceptionV3", _inception_v3, least_tile=75),
    System(
        "fusion",
        "AlexNet + ResNet50 + InceptionV3",
        _together(_alexnet, _resnet50, _inception_v3),
        least_tile=75,
    ),
    System("efficientnetv2b0", "EfficientNetV2B0", _efficientnet_v2_b0),
    System("mobilenetv3small", "MobileNetV3Small", _mobilenet_v3_small),
    System("attention", "attention CNN", _convolutions(attention=True)),
    System("attention-lbp", "attention CNN with LBP", _convolutions(attention=True, lbp=True)),
    System("lbp-hog", "LBP and HOG, dense network", None),
    System("cnn", "plain CNN", _convolutions(), hidden=(256,)),
)
"""Every system, in the order of the table."""


@dataclass(frozen=True)
class Built:
    """A network that was built.

    Attributes:
        model: The network: from tiles, or from vectors, to a dict of logits (N, 7) per head.
        start: ``ImageNet``, ``partly ImageNet``, ``warm start`` or ``from scratch``.
        missing: Why weights could not be had; empty where nothing is missing.
    """

    model: keras.Model
    start: str
    missing: str = ""


def build(system: System, size: int, *, init: str, dropout: float, timeout: float = 10.0) -> Built:
    """Builds a system's two-headed network.

    Args:
        system: The system.
        size: T, the side of the tile in pixels.
        init: ``imagenet``, ``none``, or the path of a ``.keras`` file, which serves the systems
            that are EfficientNetB0 alone; the others then start at random.
        dropout: Rate of the dropout before each dense layer behind the backbone, in [0, 1).
        timeout: Seconds to wait for a silent server of weights.

    Raises:
        fer.nn.model.ModelError: If the file of ``init`` cannot serve.
    """
    if system.features is None:
        return Built(_dense(dropout), FROM_SCRATCH)
    if system.features is _efficientnet_b0 and init not in models.STARTS:
        return Built(models.build(size, init=init, dropout=dropout), "warm start")
    weights = Weights(init, timeout)
    image = keras.Input((size, size, 3))
    backbone = keras.Model(image, system.features(image, weights))
    model = models.assemble(size, backbone, dropout=dropout, hidden=system.hidden)
    return Built(model, weights.start, "; ".join(weights.missing))


def classifier(model: keras.Model) -> keras.Model:
    """Returns the network that is exported: ``probabilities`` (N, 7) of the ``fer2013`` head."""
    probabilities = keras.layers.Softmax(name="probabilities")(model.output["fer2013"])
    return keras.Model(model.input, {"probabilities": probabilities})


def _dense(dropout: float) -> keras.Model:
    """A small network on `describe`'s vectors, in the parts that `fer.nn.fit` knows."""
    vector = keras.Input((VECTOR,), name="image")
    layers = (
        keras.layers.LayerNormalization(),
        keras.layers.Dense(256, activation="relu", kernel_initializer="he_normal"),
        keras.layers.Dropout(dropout),
        keras.layers.Dense(128, activation="relu", kernel_initializer="he_normal"),
    )
    features = vector
    for layer in layers:
        features = layer(features)
    hidden = keras.layers.Dropout(dropout)(keras.Model(vector, features, name="backbone")(vector))
    logits = {
        head: keras.layers.Dense(len(LABELS), kernel_initializer="zeros", name=head)(hidden)
        for head in models.HEADS
    }
    return keras.Model(vector, logits)


def describe(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Computes hand-made features: oriented gradients and local binary patterns of each cell.

    Args:
        images: Shape (N, 48, 48), uint8.

    Returns:
        Shape (N, VECTOR), float32 in [0, 1].
    """
    return np.stack([_describe(image) for image in images])


def _describe(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    # Only this row of the comparison needs scikit-image.
    from skimage.feature import hog, local_binary_pattern

    gradients = hog(
        image,
        orientations=_ORIENTATIONS,
        pixels_per_cell=(_CELL, _CELL),
        cells_per_block=(_BLOCK, _BLOCK),
    )
    codes = local_binary_pattern(image, P=8, R=1, method="uniform").astype(int)
    cells = np.eye(_PATTERNS, dtype=np.float32)[codes].reshape(_CELLS, _CELL, _CELLS, _CELL, -1)
    histograms = cells.mean(axis=(1, 3))  # (6, 6, 10)
    return np.concatenate([gradients, histograms.ravel()]).astype(np.float32)
