"""The faster training step computes what Keras's own layers compute."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fer.nn import kernels, model


@pytest.mark.parametrize(
    ("side", "stride", "padding", "size"),
    [
        (3, 1, "SAME", 6),
        (5, 1, "SAME", 6),
        (5, 1, "SAME", 3),
        (3, 2, "VALID", 9),
        (3, 2, "SAME", 9),
        (5, 2, "SAME", 9),
        (5, 2, "VALID", 11),
    ],
)
def test_depthwise_gradients_equal_tensorflow(side, stride, padding, size):
    rng = np.random.default_rng(0)
    inputs = tf.constant(rng.normal(size=(2, size, size, 8)), tf.float32)
    kernel = tf.constant(rng.normal(size=(side, side, 8, 1)), tf.float32)
    answers = []
    for convolve in (
        lambda x, k: kernels.depthwise(x, k, stride, padding),
        lambda x, k: tf.nn.depthwise_conv2d(x, k, [1, stride, stride, 1], padding),
    ):
        with tf.GradientTape() as tape:
            tape.watch([inputs, kernel])
            outputs = convolve(inputs, kernel)
            loss = tf.reduce_sum(outputs**2)
        answers.append((outputs, *tape.gradient(loss, [inputs, kernel])))
    for ours, native in zip(*answers, strict=True):
        np.testing.assert_allclose(ours, native, rtol=1e-4, atol=1e-3)


def test_silu_gradient_equals_tensorflow():
    inputs = tf.constant(np.linspace(-8, 8, 101), tf.float32)
    gradients = []
    for activation in (kernels.silu, tf.nn.silu):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = activation(inputs)
        gradients.append(tape.gradient(outputs, inputs))
    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-6)


def test_a_sped_up_network_trains_and_saves_as_the_plain_one(tmp_path):
    plain = model.build(64, init="none", dropout=0.0)
    model.save(plain, tmp_path / "start.keras")
    fast = model.build(64, init=str(tmp_path / "start.keras"), dropout=0.0)
    kernels.speed_up(fast)
    tiles = tf.constant(np.random.default_rng(0).uniform(0, 255, (4, 64, 64, 3)), tf.float32)
    for network in (plain, fast):
        for head in model.HEADS:  # from zero, no gradient would reach the backbone
            layer = network.get_layer(head)
            layer.kernel.assign(np.random.default_rng(1).normal(0, 0.1, layer.kernel.shape))
        for layer in network.get_layer("backbone").layers:
            if "drop" in layer.name:
                layer.rate = 0.0
    gradients, statistics = [], []
    for network in (plain, fast):
        backbone = network.get_layer("backbone")
        norms = [
            layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)
        ]
        for norm in norms:
            norm.momentum = 0.0  # the batch's own statistics
        weights = [variable.value for variable in backbone.trainable_variables]
        with tf.GradientTape() as tape:
            logits = network(tiles, training=True)["fer2013"]
            loss = tf.reduce_mean(logits**2)
        gradients.append([gradient.numpy() for gradient in tape.gradient(loss, weights)])
        statistics.append([v.numpy() for norm in norms for v in norm.non_trainable_variables])
    assert all(np.abs(gradient).max() > 0 for gradient in gradients[0][-10:])
    largest = max(np.abs(gradient).max() for gradient in gradients[0])
    for theirs, ours in zip(*gradients, strict=True):
        # Rounding grows on the way down through 80 layers; some gradients are zero but for it.
        assert np.abs(ours - theirs).max() <= 0.02 * np.abs(theirs).max() + 1e-4 * largest
    for theirs, ours in zip(*statistics, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=5e-3, atol=1e-4)

    model.save(fast, tmp_path / "fast.keras")
    again = keras.saving.load_model(tmp_path / "fast.keras", safe_mode=True, compile=False)
    np.testing.assert_allclose(
        again(tiles)["fer2013"], fast(tiles, training=False)["fer2013"], atol=1e-4
    )
