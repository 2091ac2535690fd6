"""Traps of random numbers. Rule: bits of a named algorithm (`silot_tf.ops.seeds`), floats by our own arithmetic."""

import numpy as np
import pytest
import tensorflow as tf


def graph_and_xla(draw):
    return tf.function(draw)().numpy(), tf.function(draw, jit_compile=True)().numpy()


@pytest.mark.parametrize("draw", [tf.random.stateless_normal, tf.random.stateless_uniform])
def test_floats_of_the_default_algorithm_differ_between_graph_and_xla(draw):
    """Same seed, other numbers altogether."""
    graph, compiled = graph_and_xla(lambda: draw([1000], [1, 2]))
    assert np.mean(np.isclose(graph, compiled, atol=1e-3)) < 0.05


def test_integers_of_a_named_algorithm_agree_between_eager_graph_and_xla():
    def draw():
        return tf.random.stateless_uniform([1000], [1, 2], None, None, tf.int32, alg="philox")

    graph, compiled = graph_and_xla(draw)
    np.testing.assert_array_equal(graph, compiled)
    np.testing.assert_array_equal(graph, draw())


def test_floats_of_a_named_algorithm_agree_on_a_cpu_today():
    """Not promised anywhere (the transformations are the compiler's own), so we do not rely on it."""
    for draw in (tf.random.stateless_normal, tf.random.stateless_uniform):
        graph, compiled = graph_and_xla(lambda draw=draw: draw([1000], [1, 2], alg="philox"))
        np.testing.assert_allclose(graph, compiled, atol=1e-5)


def test_named_algorithm_gives_the_numbers_it_always_gave():
    """Stored noise and exact resume depend on these bits."""
    bits = tf.random.stateless_uniform([4], [1, 2], None, None, tf.int32, alg="philox")
    np.testing.assert_array_equal(bits, [1105988140, 1738052849, -335576002, 370444179])
    np.testing.assert_array_equal(tf.random.fold_in(tf.constant([1, 2]), 3, alg="philox"), [1105988140, 3])
