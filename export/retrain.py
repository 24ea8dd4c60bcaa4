"""Variants that are trained: quantization-aware, pruned and clustered, by tfmot on a tf_keras twin.

tensorflow-model-optimization works on Keras 2 (``tf_keras``) only, and importing it switches
TensorFlow to that: nothing but a process of its own (`export.build`) imports this module.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from numpy.typing import NDArray
from tensorflow_model_optimization.python.core.quantization.keras import quant_ops
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_configs,
)

from export.recipes import Retrained
from fer.labels import LABELS

TWIN_ERROR = 1e-5
"""Largest difference of the twin's probabilities from the model's, before any training."""

_BATCH = 32
_RATE = 1e-4
_RANGE_DECAY = 0.95
_RANGE_TILES = 512
_OUTPUTS = "Default8BitOutputQuantizeConfig"
_OUTPUT_CONFIG = default_8bit_quantize_configs.Default8BitOutputQuantizeConfig
# What tfmot has no rule for, and whose output is quantized all the same.
_WITHOUT_RULE = (
    tf_keras.layers.Multiply,
    tf_keras.layers.Rescaling,
    tf_keras.layers.Normalization,
)
# Zeros cost most in the small, early and last kernels, and save nothing there.
_SPARED = ("luminance", "stem", "se_", "block1", "block2", "evidence")

Wrap = Callable[[tf_keras.layers.Layer], tf_keras.layers.Layer]


class TwinError(RuntimeError):
    """A twin that does not answer like the model it was copied from."""


def twin_of(model: keras.Model) -> tf_keras.Model:
    """Builds the tf_keras twin of an inference model and copies its weights.

    Args:
        model: What `fer.nn.model.inference_model` gives, for an EfficientNetB0.

    Returns:
        A flat functional model with the outputs ``probabilities`` and ``evidence``.

    Raises:
        TwinError: If the extractor is no EfficientNetB0.
    """
    # Without a size, as the Keras 3 extractor was built: the padding depends on it.
    image = tf_keras.Input((None, None, 3), name="image")
    luminance = tf_keras.layers.Conv2D(3, 1, use_bias=False, name="luminance")(image)
    # With a tensor for its input, the extractor's layers are the twin's own.
    extractor = tf_keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_tensor=luminance
    )
    evidence = tf_keras.layers.Conv2D(len(LABELS), 1, name="evidence")(extractor.output)
    logits = tf_keras.layers.GlobalAveragePooling2D(name="logits")(evidence)
    probabilities = tf_keras.layers.Softmax(name="probabilities")(logits)
    anywhere = tf_keras.Model(image, [probabilities, evidence])
    sized = tf_keras.Input(model.input_shape[1:], name="image")
    twin = tf_keras.models.clone_model(anywhere, input_tensors=sized)
    backbone = model.get_layer("backbone")
    sources = [layer for layer in backbone.layers if layer.weights]
    targets = {layer.name: layer for layer in twin.layers if layer.weights}
    for head in ("luminance", "evidence"):
        targets.pop(head).set_weights(model.get_layer(head).get_weights())
    ordered = list(targets.values())
    shapes = [[w.shape for w in layer.get_weights()] for layer in sources]
    if shapes != [[w.shape for w in layer.get_weights()] for layer in ordered]:
        raise TwinError("the feature extractor must be an EfficientNetB0; tfmot variants need one")
    for source, target in zip(sources, ordered, strict=True):
        target.set_weights(source.get_weights())
    # Keras 3 scales once more behind the normalisation when it starts from ImageNet weights.
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Rescaling) and np.ndim(layer.scale):
            (norm,) = [n for n in ordered if isinstance(n, tf_keras.layers.Normalization)]
            mean, variance, *rest = norm.get_weights()
            norm.set_weights([mean, variance / np.square(layer.scale), *rest])
            norm.finalize_state()
    return twin


def require_equal(
    twin: tf_keras.Model, tiles: NDArray[np.float32], expected: NDArray[np.float32]
) -> None:
    """Checks that the twin answers like the model, on real tiles, before any training.

    Raises:
        TwinError: If a probability differs by more than `TWIN_ERROR`.
    """
    found = twin.predict(tiles, batch_size=_BATCH, verbose=0)[0]
    error = float(np.abs(found - expected).max())
    if not error <= TWIN_ERROR:
        raise TwinError(
            f"the tf_keras twin's probabilities differ by {error:.2g} (at most {TWIN_ERROR:g})"
        )


def retrain(
    model: keras.Model,
    method: Retrained,
    tiles: NDArray[np.uint8],
    targets: NDArray[np.float32],
) -> bytes:
    """Fine-tunes the twin towards the model's own answers and converts it.

    Args:
        model: What `fer.nn.model.inference_model` gives.
        method: What to simulate or to force meanwhile.
        tiles: Training tiles, shape (N, T, T, 3), uint8.
        targets: The model's probabilities of them, shape (N, 7).

    Returns:
        The ``.tflite`` file: full int8 with uint8 inside and outside where `method` quantizes,
        float32 otherwise.
    """
    twin = twin_of(model)
    require_equal(twin, tiles[:_BATCH].astype(np.float32), targets[:_BATCH])
    for layer in twin.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.trainable = False  # a few hundred steps would only blur its statistics
    if method.sparsity:
        twin = _pruned(twin, method, tiles, targets)
    if method.clusters:
        twin = _clustered(twin, method, tiles, targets)
    if method.quantize:
        return _quantized(twin, method, tiles, targets)
    return _converted(lambda image: twin(image, training=False), twin, integers=False)


def _pruned(
    twin: tf_keras.Model, method: Retrained, tiles: NDArray[np.uint8], targets: NDArray[np.float32]
) -> tf_keras.Model:
    sparsity = tfmot.sparsity.keras
    schedule = sparsity.PolynomialDecay(
        0.0, method.sparsity, begin_step=0, end_step=max(1, method.steps * 2 // 3), frequency=5
    )
    wrapped = _wrapped(twin, lambda layer: sparsity.prune_low_magnitude(layer, schedule))
    _fit(wrapped, method.steps, tiles, targets, [sparsity.UpdatePruningStep()])
    return sparsity.strip_pruning(wrapped)


def _clustered(
    twin: tf_keras.Model, method: Retrained, tiles: NDArray[np.uint8], targets: NDArray[np.float32]
) -> tf_keras.Model:
    clustering = tfmot.clustering.keras
    kmeans = clustering.CentroidInitialization.KMEANS_PLUS_PLUS
    wrapped = _wrapped(
        twin,
        lambda layer: clustering.cluster_weights(
            layer, number_of_clusters=method.clusters, cluster_centroids_init=kmeans
        ),
    )
    _fit(wrapped, method.steps, tiles, targets)
    return clustering.strip_clustering(wrapped)


def _wrapped(twin: tf_keras.Model, wrap: Wrap) -> tf_keras.Model:
    def chosen(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        large = type(layer) is tf_keras.layers.Conv2D
        return wrap(layer) if large and not any(s in layer.name for s in _SPARED) else layer

    return tf_keras.models.clone_model(twin, clone_function=chosen)


def _quantized(
    twin: tf_keras.Model, method: Retrained, tiles: NDArray[np.uint8], targets: NDArray[np.float32]
) -> bytes:
    quantization = tfmot.quantization.keras

    def annotated(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        if isinstance(layer, _WITHOUT_RULE):
            return quantization.quantize_annotate_layer(layer, _OUTPUT_CONFIG())
        return quantization.quantize_annotate_layer(layer)

    # Probabilities alone: with a second output, MediaPipe refuses the file.
    single = _with_split_swish(tf_keras.Model(twin.input, twin.output[0]))
    scheme: Any = tfmot.quantization.keras.default_8bit.Default8BitQuantizeScheme()
    if method.sparsity:
        scheme = tfmot.experimental.combine.Default8BitPrunePreserveQuantizeScheme()
    with quantization.quantize_scope({_OUTPUTS: _OUTPUT_CONFIG}):
        simulated = quantization.quantize_apply(
            tf_keras.models.clone_model(single, clone_function=annotated), scheme
        )
    with _quick_ranges():
        _fit(simulated, method.steps, tiles, targets)
    # The pixels' range is known: scale exactly 1, whatever was seen in training.
    _set_range(simulated.layers[1], 0.0, 255.0)
    # The moving average would clip the logits of the clearest faces, and their confidence.
    maps = twin.predict(tiles[:_RANGE_TILES].astype(np.float32), batch_size=_BATCH, verbose=0)[1]
    for name, values in (("evidence", maps), ("logits", maps.mean(axis=(1, 2)))):
        (layer,) = [layer for layer in simulated.layers if layer.name.endswith(name)]
        _set_range(layer, float(values.min()), float(values.max()))
    return _converted(lambda image: simulated(image, training=False), simulated, integers=True)


def _set_range(layer: tf_keras.layers.Layer, low: float, high: float) -> None:
    """Sets the range of what a layer under simulated quantization puts out."""
    ends = [v for v in layer.variables if not v.name.split("/")[-1].startswith("kernel")]
    (lowest,) = [end for end in ends if end.name.endswith("_min:0")]
    (highest,) = [end for end in ends if end.name.endswith("_max:0")]
    lowest.assign(low)
    highest.assign(high)


@contextlib.contextmanager
def _quick_ranges() -> Iterator[None]:
    """Lets the ranges of activations follow within some steps.

    tfmot starts them at -6 to 6 and moves them by a thousandth a step, which takes thousands.
    """
    slow = quant_ops.MovingAvgQuantize

    def quick(*arguments: Any, **options: Any) -> tf.Tensor:
        return slow(*arguments, **{**options, "ema_decay": _RANGE_DECAY})

    quant_ops.MovingAvgQuantize = quick
    try:
        yield
    finally:
        quant_ops.MovingAvgQuantize = slow


def _with_split_swish(model: tf_keras.Model) -> tf_keras.Model:
    """Splits convolutions with a SiLU inside in two layers: tfmot would leave them in float."""
    config = model.get_config()
    layers, split = [], {}
    for layer in config["layers"]:
        name = layer["config"]["name"]
        layers.append(layer)
        if layer["class_name"] == "Conv2D" and layer["config"]["activation"] in ("swish", "silu"):
            layer["config"]["activation"] = "linear"
            split[name] = f"{name}_swish"
            layers.append(
                {
                    "class_name": "Activation",
                    "name": split[name],
                    "config": {"name": split[name], "activation": "swish"},
                    "inbound_nodes": [[[name, 0, 0, {}]]],
                }
            )
    for layer in layers:
        for node in layer["inbound_nodes"]:
            for edge in node:
                if edge[0] in split and layer["name"] != split[edge[0]]:
                    edge[0] = split[edge[0]]
    config["layers"] = layers
    new = tf_keras.Model.from_config(config)
    for layer in new.layers:
        if layer.weights:
            source = model.get_layer(layer.name)
            layer.set_weights(source.get_weights())
            layer.trainable = source.trainable
    return new


def _fit(
    model: tf_keras.Model,
    steps: int,
    tiles: NDArray[np.uint8],
    targets: NDArray[np.float32],
    callbacks: list[tf_keras.callbacks.Callback] | None = None,
) -> None:
    """Trains towards the answers of the model that the twin was copied from (distillation)."""
    first = model.output_names[0]
    model.compile(
        tf_keras.optimizers.legacy.Adam(tf_keras.optimizers.schedules.CosineDecay(_RATE, steps)),
        loss={first: tf_keras.losses.KLDivergence()},
    )
    order = np.random.default_rng(0).permutation(len(tiles))
    data = tf.data.Dataset.from_tensor_slices((tiles[order], targets[order])).repeat()
    data = data.map(lambda tile, target: (tf.cast(tile, tf.float32), {first: target}))
    model.fit(
        data.batch(_BATCH).prefetch(2),
        steps_per_epoch=steps,
        epochs=1,
        callbacks=callbacks,
        verbose=2,
    )


def _converted(call: Callable[[tf.Tensor], Any], model: tf_keras.Model, *, integers: bool) -> bytes:
    def named(image: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = call(image)
        if integers:
            return {"probabilities": outputs}
        return {"probabilities": outputs[0], "evidence": outputs[1]}

    signature = [tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="image")]
    function = tf.function(named, input_signature=signature).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    if integers:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    return bytes(converter.convert())
