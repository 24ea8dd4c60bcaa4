"""Post-training quantization of the float32 file with ai-edge-quantizer."""

import re
from collections.abc import Collection
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import algorithm_manager, qtyping, quantizer, recipe
from numpy.typing import NDArray

from export.recipes import ANYTHING, PostTraining, Promise

SIGNATURE = "serving_default"

_OPERATION = qtyping.TFLOperationName
_COMPUTING = (
    _OPERATION.CONV_2D,
    _OPERATION.DEPTHWISE_CONV_2D,
    _OPERATION.MUL,
    _OPERATION.ADD,
    _OPERATION.MEAN,
    _OPERATION.LOGISTIC,
    _OPERATION.SOFTMAX,
)
_ENDS = "StatefulPartitionedCall|logits"  # the converter names the outputs so
_SAMPLES = 3000
_SHRINKS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
_SAMPLED_TILES = 105


def quantize(
    content: bytes, method: PostTraining, promise: Promise, tiles: NDArray[np.float32]
) -> bytes:
    """Quantizes a float32 file.

    Args:
        content: The float32 ``.tflite`` file.
        method: How.
        promise: Which layers stay float, and the types of inputs and outputs.
        tiles: Representative tiles, shape (N, T, T, 3), float32 in [0, 255]; for static
            quantization.

    Returns:
        The quantized file; where the promise asks for integers outside, they are int8 still.
    """
    engine = quantizer.Quantizer(content, getattr(recipe, method.recipe)())
    untouched = [(".*", (_OPERATION.INPUT, _OPERATION.OUTPUT))]
    if promise.input_type != "float32":
        untouched = []
    if engine.need_calibration and promise.float_layers != ANYTHING:
        untouched.append((f".*({promise.float_layers}).*", _COMPUTING))
    for layers, operations in untouched:
        for operation in operations:
            engine.update_quantization_recipe(
                layers, operation, algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE
            )
    ranges = None
    if engine.need_calibration:
        samples = {SIGNATURE: [{"image": tile[None]} for tile in tiles]}
        ranges = engine.calibrate(samples, num_threads=2)
        if method.ranges == "least error":
            seen = _observed(content, ranges, tiles[:_SAMPLED_TILES], samples=_SAMPLES)
            ranges |= {name: _with_range(ranges[name], *_least_error(seen[name])) for name in seen}
        # The moving average would clip the logits of the clearest faces, and their confidence.
        exact = [n for n in ranges if method.ranges == "extremes" or re.search(_ENDS, n)]
        for name, values in _observed(content, exact, tiles).items():
            ranges[name] = _with_range(ranges[name], float(values.min()), float(values.max()))
        for name in ranges.keys() & _inputs(content):
            # Scale exactly 1: the calibration's moving average would clip bright pixels.
            ranges[name] = _with_range(ranges[name], 0.0, 255.0)
    return bytes(engine.quantize(ranges, enable_progress_report=False).quantized_model)


def _observed(
    content: bytes, names: Collection[str], tiles: NDArray[np.float32], samples: int = 0
) -> dict[str, NDArray[np.float32]]:
    """Returns the extremes of tensors in each tile, and some samples of their values, by name."""
    interpreter = Interpreter(
        model_content=content, num_threads=2, experimental_preserve_all_tensors=True
    )
    interpreter.allocate_tensors()
    image = interpreter.get_input_details()[0]["index"]
    places = {
        tensor["index"]: tensor["name"]
        for tensor in interpreter.get_tensor_details()
        if tensor["name"] in names
    }
    seen: dict[int, list[NDArray[np.float32]]] = {index: [] for index in places}
    rng = np.random.default_rng(0)
    for tile in tiles:
        interpreter.set_tensor(image, tile[None])
        interpreter.invoke()
        for index, values in seen.items():
            flat = interpreter.get_tensor(index).ravel()
            extremes = np.array([flat.min(), flat.max()])
            some = rng.choice(flat, min(samples, flat.size), replace=False)
            values.append(np.concatenate([extremes, some]))
    return {places[index]: np.concatenate(parts) for index, parts in seen.items()}


def _least_error(values: NDArray[np.float32]) -> tuple[float, float]:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    candidates = [
        (low * below, high * above)
        for above in _SHRINKS
        for below in ((1.0, 0.7) if low < 0 else (1.0,))
        if high * above > low * below
    ]
    return min(candidates, key=lambda ends: _error(values, *ends), default=(low, high))


def _error(values: NDArray[np.float32], low: float, high: float) -> float:
    """Returns the mean squared error of int8 with a range (asymmetric, per tensor)."""
    scale = (high - low) / 255
    zero = np.round(-128 - low / scale)
    restored = (np.clip(np.round(values / scale + zero), -128, 127) - zero) * scale
    return float(np.mean((restored - values) ** 2))


def _with_range(entry: dict[str, Any], low: float, high: float) -> dict[str, Any]:
    shape = np.shape(entry["min"])
    return {
        **entry,
        "min": np.full(shape, low, np.float32),
        "max": np.full(shape, high, np.float32),
    }


def _inputs(content: bytes) -> set[str]:
    interpreter = Interpreter(model_content=content)
    return {detail["name"] for detail in interpreter.get_input_details()}
