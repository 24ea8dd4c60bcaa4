"""Keras -> LiteRT (TFLite): the one place that touches the converter."""

import contextlib
import io
import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from export.recipes import Variant


def convert(model: keras.Model, variant: Variant) -> bytes:
    """Converts an inference model.

    Args:
        model: From `fer.nn.model.inference_model`.
        variant: How to write it down.

    Returns:
        The ``.tflite`` file: batch 1, input ``image``, outputs ``probabilities`` and
        ``evidence``, built-in operators only.
    """
    size = model.input_shape[1]
    # The signature fixes the batch: a dynamic one adds shape arithmetic that GPUs refuse.
    signature = [keras.InputSpec(shape=(1, size, size, 3), dtype="float32", name="image")]
    options: dict[str, object] = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    optimizations = []
    if variant.weights == "float16":
        optimizations = [tf.lite.Optimize.DEFAULT]
        options["supported_types"] = [tf.float16]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        with contextlib.redirect_stdout(io.StringIO()):
            model.export(
                path,
                format="litert",
                input_signature=signature,
                verbose=False,
                target_spec=options,
                optimizations=optimizations,
            )
        return path.read_bytes()
