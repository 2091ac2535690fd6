"""Stateless random numbers that agree between eager, graph and XLA execution.

TensorFlow's random floats differ between XLA and graph mode for the same seed; its random integers do not, if the
algorithm is named (the default one depends on device and compiler). Floats are therefore made here from random bits,
by arithmetic that all compilers share.
"""

import numpy as np
import tensorflow as tf

ALGORITHM = "philox"


def fold(seed, *values) -> tf.Tensor:
    """New `[2]` int32 seed from a seed and integers (stage, step, frame number, stream number...)."""
    seed = tf.convert_to_tensor(seed, tf.int32)
    for value in values:
        seed = tf.random.fold_in(seed, value, alg=ALGORITHM)
    return seed


def uniform(shape, seed) -> tf.Tensor:
    """Uniform float32 in the open interval (0, 1), multiples of 2^-24 shifted by half a step."""
    bits = tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.int32, alg=ALGORITHM)
    # 23 bits and a half step are exact in float32, so neither 0 nor 1 can come out.
    mantissa = tf.bitwise.bitwise_and(tf.bitwise.right_shift(bits, 9), 0x7FFFFF)
    return (tf.cast(mantissa, tf.float32) + 0.5) * np.float32(2.0**-23)


def normal(shape, seed) -> tf.Tensor:
    """Standard normal float32, by the inverse of the cumulative distribution; |x| < 5.3."""
    return tf.math.ndtri(uniform(shape, seed))


def logistic(uniform_draw) -> tf.Tensor:
    """Standard logistic noise from uniform draws: `ln(u + 1e-9) - ln(1 - u + 1e-9)` (authors' guards)."""
    return tf.math.log(uniform_draw + 1e-9) - tf.math.log(1.0 - uniform_draw + 1e-9)
