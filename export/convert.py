"""Keras -> LiteRT (TFLite): the one place that touches the converter."""

import contextlib
import io
import tempfile

import keras
import tensorflow as tf

from export.recipes import Variant
from fer._stderr import silent_stderr


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
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
        silent_stderr(),
    ):
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint(
            "serve",
            model.call,
            # A fixed batch: a dynamic one adds shape arithmetic that GPUs refuse.
            input_signature=[tf.TensorSpec((1, size, size, 3), tf.float32, name="image")],
        )
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if variant.weights == "float16":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        return bytes(converter.convert())
