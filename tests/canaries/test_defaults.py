"""Framework defaults that differ from those of the papers' frameworks. Rule: always bind them in gin.

TensorFlow 1: Adam epsilon 1e-8, RMSProp decay 0.9 and epsilon 1e-10. PyTorch: layer normalisation epsilon 1e-5,
recurrent cells with the reset gate after the matrix product, RMSprop alpha 0.99 and epsilon 1e-8.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf


def test_adam_epsilon():
    adam = keras.optimizers.Adam()
    assert (adam.epsilon, adam.beta_1, adam.beta_2) == (1e-7, 0.9, 0.999)


def test_rmsprop():
    rmsprop = keras.optimizers.RMSprop()
    assert (rmsprop.rho, rmsprop.momentum, rmsprop.epsilon, rmsprop.centered) == (0.9, 0.0, 1e-7, False)


def test_layer_normalization_epsilon():
    assert keras.layers.LayerNormalization().epsilon == 1e-3


def test_gru_resets_after_the_product_and_its_update_gate_keeps_the_old_state():
    cell = keras.layers.GRUCell(1)
    assert cell.reset_after
    cell.build((None, 1))
    for variable in cell.variables:
        variable.assign(tf.zeros_like(variable))
    kernel = np.zeros((1, 3))
    kernel[0, 0] = 100.0  # update gate wide open for input 1
    cell.kernel.assign(kernel)
    kept, _ = cell(tf.ones([1, 1]), [tf.constant([[0.5]])])
    assert float(kept[0, 0]) == pytest.approx(0.5)  # with h' = (1 - z) h + z n it would be 0


def test_dense_and_convolution_start_glorot_uniform_with_zero_biases():
    for layer in (keras.layers.Dense(1), keras.layers.Conv2D(1, 1)):
        assert isinstance(layer.kernel_initializer, keras.initializers.GlorotUniform)
        assert isinstance(layer.bias_initializer, keras.initializers.Zeros)


def test_resizing_images_aligns_pixel_centres_not_corners():
    image = tf.reshape(tf.range(2.0), [1, 1, 2, 1])
    np.testing.assert_allclose(tf.image.resize(image, [1, 4])[0, 0, :, 0], [0, 0.25, 0.75, 1])


def test_gradient_of_relu_at_zero_is_zero():
    """So a network of zero biases whose input is always zero never learns more than its last bias."""
    zero = tf.constant(0.0)
    with tf.GradientTape() as tape:
        tape.watch(zero)
        value = tf.nn.relu(zero)
    assert float(tape.gradient(value, zero)) == 0.0
