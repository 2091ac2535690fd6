import numpy as np
import tensorflow as tf

from silot_tf.ops import divergences, logarithms


def test_guard_holds_at_the_ends_in_compiled_graphs():
    value = tf.constant([0.0, 0.25, 1.0])
    for function, argument in (
        (logarithms.guarded_log, np.array([0.0, 0.25, 1.0])),
        (logarithms.guarded_log_rest, np.array([1.0, 0.75, 0.0])),
    ):
        expected = np.log(argument + 1e-9)
        np.testing.assert_allclose(function(value), expected, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(tf.function(function)(value), expected, rtol=1e-6, atol=1e-7)


def test_gradient_at_the_end_is_that_of_the_guarded_formula():
    value = tf.constant([0.5, 1.0])
    with tf.GradientTape() as tape:
        tape.watch(value)
        result = tf.function(logarithms.guarded_log_rest)(value)
    np.testing.assert_allclose(tape.gradient(result, value), [-2.0, -1e9], rtol=1e-5)


def test_certain_presence_has_a_finite_divergence_in_compiled_graphs():
    certain, prior = tf.constant([1.0, 0.0]), tf.constant([0.0, 1.0])
    found = tf.function(divergences.bernoulli_kl)(certain, prior)
    np.testing.assert_allclose(found, [9 * np.log(10)] * 2, rtol=1e-5)
