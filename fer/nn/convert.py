"""Keras -> LiteRT (TFLite): the one place that touches the converter."""

import contextlib
import io
import tempfile

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fer._stderr import silent_stderr


def convert(
    model: keras.Model,
    *,
    float16: bool = False,
    representative: NDArray[np.float32] | None = None,
) -> bytes:
    """Converts a model of one input.

    Args:
        model: A model, such as `fer.nn.model.inference_model` gives.
        float16: Whether to store the weights in half precision.
        representative: Inputs like those to come, shape (N, ...), float32, for full int8 with
            float input and outputs; None for none.

    Returns:
        The ``.tflite`` file: batch 1, input ``image``, outputs named as the model's, built-in
        operators only.
    """
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
            input_signature=[tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="image")],
        )
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if float16:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        if representative is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.representative_dataset = lambda: ([part[None]] for part in representative)
        return bytes(converter.convert())
