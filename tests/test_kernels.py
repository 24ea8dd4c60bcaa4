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
    kernel_of = "block2a_expand_conv"
    gradients, statistics = [], []
    for network in (plain, fast):
        backbone = network.get_layer("backbone")
        with tf.GradientTape() as tape:
            logits = network(tiles, training=True)["fer2013"]
            loss = tf.reduce_mean(logits**2)
        gradients.append(tape.gradient(loss, backbone.get_layer(kernel_of).kernel.value).numpy())
        statistics.append(backbone.get_layer("top_bn").moving_variance.numpy())
    assert np.abs(gradients[0]).max() > 0
    np.testing.assert_allclose(
        gradients[1], gradients[0], rtol=0.02, atol=1e-3 * np.abs(gradients[0]).max()
    )
    np.testing.assert_allclose(statistics[1], statistics[0], rtol=1e-3)

    model.save(fast, tmp_path / "fast.keras")
    again = keras.saving.load_model(tmp_path / "fast.keras", safe_mode=True, compile=False)
    np.testing.assert_allclose(
        again(tiles)["fer2013"], fast(tiles, training=False)["fer2013"], atol=1e-4
    )
