"""Logarithms of probabilities with the guard of SILOT's authors, which hold in compiled graphs too."""

import tensorflow as tf

GUARD = 1e-9  # authors' code, inside logarithms


def guarded_log(value) -> tf.Tensor:
    """`ln(value + 1e-9)` per element, for values from 0 to 1."""
    return tf.math.log(value + GUARD)


def guarded_log_rest(value) -> tf.Tensor:
    """`ln(1 - value + 1e-9)` per element, for values from 0 to 1: -20.7 at 1.

    Written out, TensorFlow's graph optimiser makes `(1 + 1e-9) - value` of it, which is 0 at 1 and has no logarithm.
    The maximum, which changes nothing, keeps the two apart.
    """
    return tf.math.log(tf.maximum(1.0 - value, 0.0) + GUARD)
