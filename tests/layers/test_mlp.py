import numpy as np
import pytest
import tensorflow as tf

from silot_tf.layers.mlp import MLP


def mlp_by_hand(inputs, weights):
    """Alternating kernels and biases, ReLU between layers."""
    kernels, biases = weights[::2], weights[1::2]
    for i, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        inputs = inputs @ kernel + bias
        if i < len(kernels) - 1:
            inputs = np.maximum(inputs, 0)
    return inputs


@pytest.mark.parametrize("hidden", [(), (5,), (5, 7)])
def test_layers_follow_the_formula(hidden):
    rng = np.random.default_rng(0)
    layer, inputs = MLP(hidden, 3), rng.normal(size=(4, 6)).astype(np.float32)
    layer(inputs)
    for variable in layer.variables:
        variable.assign(rng.normal(size=variable.shape))
    expected = mlp_by_hand(inputs, [v.numpy() for v in layer.variables])
    assert expected.shape == (4, 3) and expected.min() < 0  # no ReLU on the output
    np.testing.assert_allclose(layer(inputs), expected, rtol=1e-5, atol=1e-5)


def test_trailing_axes_are_flattened_row_by_row():
    layer, inputs = MLP((4,), 2), tf.random.stateless_normal([3, 2, 5, 1], [0, 1])
    np.testing.assert_array_equal(layer(inputs), layer(tf.reshape(inputs, [3, 10])))


def test_flattening_works_for_unknown_batch_size():
    layer = MLP((4,), 2)
    layer(tf.zeros([1, 2, 3]))
    compute = tf.function(layer, input_signature=[tf.TensorSpec([None, 2, 3])])
    assert compute(tf.zeros([5, 2, 3])).shape == (5, 2)


def test_kernels_begin_glorot_uniform_and_biases_at_zero():
    layer = MLP((300,), 200)
    layer(tf.zeros([1, 100]))
    for kernel, bias in zip(layer.variables[::2], layer.variables[1::2], strict=True):
        limit = np.sqrt(6 / sum(kernel.shape))
        assert 0.98 * limit < np.max(np.abs(kernel)) <= limit
        assert abs(np.std(kernel) - limit / np.sqrt(3)) < 0.02 * limit
        np.testing.assert_array_equal(bias, 0)


def test_number_of_parameters_of_the_encoder_of_the_paper():
    layer = MLP((256, 128), 64)
    layer(tf.zeros([1, 14, 3, 14]))
    assert sum(int(np.prod(v.shape)) for v in layer.trainable_variables) == 191_936  # specification, appendix A


def test_hidden_layers_may_have_another_activation():
    layer, x = MLP((4,), 3, "softplus"), np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    found = layer(x)
    (kernel, bias), (out, shift) = ((np.asarray(d.kernel), np.asarray(d.bias)) for d in layer.dense_layers)
    np.testing.assert_allclose(found, np.logaddexp(0, x @ kernel + bias) @ out + shift, atol=1e-5)
