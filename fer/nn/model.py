"""The network: one square RGB tile in [0, 255] -> EfficientNetB0 -> two heads.

    tile (T, T, 3) -> luminance -> EfficientNetB0 -> average pooling -> dropout -> dense 7

Two heads read the same features: ``fer2013`` (the paper's labels) and ``ferplus`` (FER+ votes).
Export folds the chosen view of them into one dense layer. Only ordinary Keras layers are used,
so a checkpoint opens with Keras alone.
"""

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from fer._files import replacing
from fer.labels import LABELS
from fer.spec import VIEWS

HEADS: tuple[str, ...] = ("fer2013", "ferplus")
"""Outputs of a checkpoint: logits of shape (N, 7) each."""

VIEW_WEIGHTS: dict[str, tuple[float, float]] = {
    "fer2013": (1.0, 0.0),
    "ferplus": (0.0, 1.0),
    # Of the weights tried, one of those that served real photos best (docs/training.md).
    "blend": (0.2, 0.8),
}
"""Share of each head's logits, in the order of `HEADS`, in the logits of a label view."""

STARTS: tuple[str, ...] = ("imagenet", "none")
"""Starts of a network that are no file."""

_LUMINANCE = (0.299, 0.587, 0.114)


class ModelError(ValueError):
    """A model file that is missing or is not one of ours."""


def build(size: int, *, init: str, dropout: float) -> keras.Model:
    """Builds the two-headed network.

    Args:
        size: T, the side of the tile in pixels.
        init: ``imagenet`` (Keras downloads the weights), ``none``, or the path of a ``.keras``
            file: an EfficientNetB0 feature extractor, or a checkpoint of ours of any tile size.
        dropout: Rate of the dropout before the heads, in [0, 1).

    Returns:
        A model from float32 (N, T, T, 3) in [0, 255] to a dict of logits, (N, 7) per head.

    Raises:
        ModelError: If ``init`` is a file that cannot serve.
    """
    heads = {}
    if init in STARTS:
        backbone = _fresh_backbone("imagenet" if init == "imagenet" else None)
    else:
        start = load(Path(init))
        if is_checkpoint(start):
            backbone = start.get_layer("backbone")
            heads = {head: start.get_layer(head).get_weights() for head in HEADS}
        else:
            backbone = start
    require_efficientnet(backbone, f"init {init}")
    if backbone.output.shape[1:3] != (None, None):
        raise ModelError(f"init {init} must take any input size, received {backbone.input_shape}")
    return assemble(size, backbone, dropout=dropout, heads=heads)


def require_efficientnet(backbone: keras.Model, name: str) -> None:
    """Checks that a feature extractor is an EfficientNetB0.

    Raises:
        ModelError: If not; ``name`` says whose it is.
    """
    names = {layer.name for layer in backbone.layers}
    if not {"stem_conv", "block7a_project_conv"} <= names or backbone.output.shape[-1] != 1280:
        raise ModelError(
            f"{name} must be an EfficientNetB0 without its top (features of 1280 channels) or a "
            "checkpoint of ours with it"
        )


def resized(model: keras.Model, size: int) -> keras.Model:
    """Returns a checkpoint's network for tiles of another size, sharing its weights.

    Raises:
        ModelError: If it has hidden layers before its heads.
    """
    _require_plain_head(model)
    heads = {head: model.get_layer(head).get_weights() for head in HEADS}
    dropout = model.get_layer("dropout").rate
    return assemble(size, model.get_layer("backbone"), dropout=dropout, heads=heads)


def assemble(
    size: int,
    backbone: keras.Model,
    *,
    dropout: float,
    hidden: tuple[int, ...] = (),
    heads: dict[str, list[NDArray[np.float32]]] | None = None,
) -> keras.Model:
    """Puts the grey conversion before a feature extractor and the two heads behind it.

    Args:
        size: T, the side of the tile in pixels.
        backbone: From RGB (N, T, T, 3) in [0, 255] to features (N, h, w, C).
        dropout: Rate of the dropout before the heads, in [0, 1).
        hidden: Sizes of dense layers between pooling and heads, each followed by dropout.
        heads: Kernel and bias per head; fresh ones where there are none.

    Returns:
        A model from float32 (N, T, T, 3) in [0, 255] to a dict of logits, (N, 7) per head.
    """
    backbone.name = "backbone"
    image = keras.Input((size, size, 3), name="image")
    luminance = keras.layers.Conv2D(3, 1, use_bias=False, trainable=False, name="luminance")
    features = backbone(luminance(image))
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    for index, units in enumerate(hidden, 1):
        pooled = keras.layers.Dropout(dropout, name=f"dropout_{index}")(pooled)
        pooled = keras.layers.Dense(units, activation="relu", name=f"hidden_{index}")(pooled)
    pooled = keras.layers.Dropout(dropout, name="dropout")(pooled)
    # From zero, so that a head nothing was learned for stays zero: `fold_head` knows it by that.
    logits = {
        head: keras.layers.Dense(len(LABELS), kernel_initializer="zeros", name=head)(pooled)
        for head in HEADS
    }
    luminance.set_weights([np.repeat(np.array(_LUMINANCE)[:, None], 3, axis=1)[None, None]])
    model = keras.Model(image, logits, name="fer_network")
    for head, values in (heads or {}).items():
        model.get_layer(head).set_weights(values)
    return model


def _fresh_backbone(weights: str | None) -> keras.Model:
    try:
        return keras.applications.EfficientNetB0(include_top=False, weights=weights)
    except Exception as error:  # Keras raises it bare where a download fails
        raise ModelError(
            f"init: the ImageNet weights could not be downloaded ({_reason(error)}); "
            "use --init PATH.keras or --init none"
        ) from error


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def load(path: Path) -> keras.Model:
    """Loads a whole ``.keras`` file in safe mode, without its optimizer.

    Raises:
        ModelError: If the file is missing, corrupted or not a Keras model.
    """
    if path.suffix != ".keras" or not path.is_file():
        raise ModelError(f"model must be an existing .keras file, received {path}")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    # Keras raises whatever zipfile, h5py or a layer's constructor raises.
    except Exception as error:
        raise ModelError(f"{path} cannot be loaded ({_reason(error)})") from error


def load_checkpoint(path: Path) -> keras.Model:
    """Loads a checkpoint of this project.

    Raises:
        ModelError: If the file is not one.
    """
    model = load(path)
    if not is_checkpoint(model):
        raise ModelError(f"{path} is not a checkpoint of this project: it must have {HEADS}")
    return model


def is_checkpoint(model: keras.Model) -> bool:
    """Returns whether a model is one that `assemble` put together."""
    names = {layer.name for layer in model.layers}
    return {"luminance", "backbone", *HEADS} <= names


def save(model: keras.Model, path: Path, *, with_optimizer: bool = False) -> None:
    """Writes a ``.keras`` file under a temporary name and renames it, so none is ever half.

    Args:
        model: The model.
        path: The file.
        with_optimizer: Whether to keep the optimizer's state, four times as many numbers.
    """
    if not with_optimizer:
        # The same layers in a model that was never compiled.
        model = keras.Model(model.input, model.output, name=model.name)
    with replacing(path) as temporary:
        model.save(temporary)


def _require_plain_head(model: keras.Model) -> None:
    if any(layer.name == "hidden_1" for layer in model.layers):
        raise ModelError(
            "model has dense layers before its heads, as some networks of train.compare do; only "
            "a head that reads the pooled features can be resized or exported"
        )


def learned_views(model: keras.Model) -> tuple[str, ...]:
    """Returns the label views that a checkpoint learned: without FER+ votes, ``fer2013`` alone."""
    return VIEWS if model.get_layer("ferplus").get_weights()[0].any() else ("fer2013",)


def fold_head(
    model: keras.Model, view: str, temperature: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Folds a label view and a temperature into one dense layer.

    The weighted mean of two heads' logits is the logits of the weighted mean of the heads, and
    dividing logits by a temperature divides the layer: both are exact.

    Args:
        model: A checkpoint of ours.
        view: ``fer2013``, ``ferplus`` or ``blend``.
        temperature: Divisor of the logits, positive.

    Returns:
        Kernel (1280, 7) and bias (7,), float32.

    Raises:
        ValueError: If the view is unknown, or nothing was learned for it, or the network has
            hidden layers before its heads or other classes.
    """
    if view not in VIEWS:
        raise ValueError(f"view must be one of {list(VIEWS)}, received {view!r}")
    _require_plain_head(model)
    layers = [model.get_layer(head).get_weights() for head in HEADS]
    if view not in learned_views(model):
        raise ModelError(
            f"view: the model was trained without FER+ votes, so it has no {view!r}; "
            "use --view fer2013"
        )
    shares = VIEW_WEIGHTS[view]
    if (classes := len(layers[0][1])) != len(LABELS):
        raise ModelError(f"model must have the classes {list(LABELS)}, received {classes} others")
    kernel, bias = (
        np.average(np.stack(part), axis=0, weights=shares) / temperature
        for part in zip(*layers, strict=True)
    )
    return kernel.astype(np.float32), bias.astype(np.float32)


def inference_model(model: keras.Model, view: str, temperature: float = 1.0) -> keras.Model:
    """Builds the graph that is exported: probabilities and the evidence behind them.

    The head is applied at every position before the average, which is the same sum in another
    order: the evidence map averages to the logits exactly (class activation mapping, Zhou et
    al. 2016), with no gradients.

    Args:
        model: A checkpoint of ours.
        view: Label view.
        temperature: Calibration temperature.

    Returns:
        A model from ``image`` (N, T, T, 3), float32 in [0, 255], to a dict of ``probabilities``
        (N, 7) and ``evidence`` (N, T/32, T/32, 7).
    """
    kernel, bias = fold_head(model, view, temperature)
    image = keras.Input(model.input_shape[1:], name="image")
    features = model.get_layer("backbone")(model.get_layer("luminance")(image))
    head = keras.layers.Conv2D(len(LABELS), 1, name="evidence")
    evidence = head(features)
    head.set_weights([kernel[None, None], bias])
    logits = keras.layers.GlobalAveragePooling2D(name="logits")(evidence)
    probabilities = keras.layers.Softmax(name="probabilities")(logits)
    outputs = {"probabilities": probabilities, "evidence": evidence}
    return keras.Model(image, outputs, name=f"fer_{view}")
