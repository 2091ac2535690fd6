"""Traps of graph mode. Rules: build eagerly; no `if` or `for` on tensors in `call`; time only through `unroll`."""

import keras
import numpy as np
import pytest
import tensorflow as tf


class Compiled(keras.Model):
    """A model whose `call` is itself a `tf.function`."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1, kernel_initializer="ones")

    @tf.function
    def call(self, x):
        return self.dense(x)


def gradients(function, layer, outer_graph):
    def compute(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(function(x))
        found = tape.gradient(loss, layer.trainable_variables)
        return [tf.constant(np.nan) if gradient is None else gradient for gradient in found]

    compute = tf.function(compute) if outer_graph else compute
    compute(tf.ones([1, 2]))
    return [np.asarray(value) for value in compute(tf.ones([1, 2]))]  # also not at the second call


@pytest.mark.parametrize("outer_graph", [False, True])
def test_layer_first_built_inside_a_compiled_call_never_gets_a_gradient(outer_graph):
    """Silently: the gradients are None for the life of the model."""
    model = Compiled()
    assert all(np.all(np.isnan(g)) for g in gradients(model, model.dense, outer_graph))


@pytest.mark.parametrize("outer_graph", [False, True])
def test_layer_built_beforehand_gets_its_gradient_through_a_compiled_call(outer_graph):
    model = Compiled()
    model.dense.build((None, 2))
    kernel, bias = gradients(model, model.dense, outer_graph)
    np.testing.assert_array_equal(kernel, [[1.0], [1.0]])
    np.testing.assert_array_equal(bias, [1.0])


def test_layer_first_built_inside_an_inner_function_beside_the_model_gets_its_gradient_today():
    """The trap is narrower than feared: it needs Keras' own call around the compiled one."""
    layer = keras.layers.Dense(1, kernel_initializer="ones")
    kernel, _ = gradients(tf.function(lambda x: layer(x)), layer, outer_graph=True)
    np.testing.assert_array_equal(kernel, [[1.0], [1.0]])


def branch(x):
    if tf.reduce_sum(x) > 0:
        return x
    return -x


def loop(x):
    total = x
    for _ in tf.range(3):
        total = total + x
    return total


class Calls(keras.layers.Layer):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def call(self, x):
        return self.body(x)


class Branches(keras.layers.Layer):
    def call(self, x):
        if tf.reduce_sum(x) > 0:
            return x
        return -x


class Loops(keras.layers.Layer):
    def call(self, x):
        total = x
        for _ in tf.range(3):
            total = total + x
        return total


@pytest.mark.parametrize("layer", [Branches, Loops])
def test_python_control_flow_on_tensors_in_call_is_not_converted(layer):
    with pytest.raises(Exception, match="not allowed") as caught:
        tf.function(layer())(tf.ones([2]))
    assert "OperatorNotAllowedInGraphError" in type(caught.value).__name__
    layer()(tf.ones([2]))  # eagerly it works, so tests without graphs do not notice


@pytest.mark.parametrize(("function", "expected"), [(branch, 1.0), (loop, 4.0)])
def test_the_same_control_flow_is_converted_outside_of_keras(function, expected):
    np.testing.assert_array_equal(tf.function(function)(tf.ones([2])), [expected] * 2)
    with pytest.raises(Exception, match="not allowed"):
        tf.function(Calls(function))(tf.ones([2]))  # nor is what `call` calls


def test_plain_numbers_are_no_positional_arguments_of_layers():
    """Shapes and flags go by keyword."""

    class Resize(keras.layers.Layer):
        def call(self, x, size):
            return tf.image.resize(x, size)

    image = tf.zeros([1, 2, 2, 1])
    with pytest.raises(ValueError, match="Only input tensors may be passed as positional"):
        Resize()(image, (4, 4))
    assert Resize()(image, size=(4, 4)).shape == (1, 4, 4, 1)
