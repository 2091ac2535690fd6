"""Priors of the number of newly discovered objects.

Source: Kosiorek et al. 2018, section 3, and release; the truncated geometric prior is that of SILOT's comparison.
"""

import keras
import numpy as np
import tensorflow as tf

from silot_tf.layers.elu import Composite, EluMLP

#: Kinds of priors by name; "categorical" is learned.
KINDS = ("categorical", "truncated_geometric", "geometric")
LATER_BIAS = 10.0  # release: after the first frame, nothing new is expected
FORCED = 100.0  # comparison of SILOT: added to the logit of a count that is told
HIDDEN = 10


class CategoricalCount(Composite):
    """Learned distribution of 0 to N objects, given how many old ones are expected to remain.

    The activation of the logits bounds them below by -1, as in the release.
    """

    def __init__(self, num_slots: int, name=None):
        """Args: `num_slots`: N."""
        super().__init__(name=name)
        self.num_slots = num_slots
        self.network = EluMLP((HIDDEN,), num_slots + 1, name="network")
        self.bias = self.add_weight(shape=(num_slots + 1,), initializer="zeros", name="bias")
        later = keras.initializers.Constant([LATER_BIAS] + [0.0] * num_slots)
        self.later_bias = self.add_weight(shape=(num_slots + 1,), initializer=later, name="later_bias")

    def call(self, expected, is_later, forced=None):
        """Log-probabilities `[R, N + 1]`.

        Args:
          expected: `[R,1]` in [-0.5, 0.5], see `priors.expected_to_remain`.
          is_later: `[R,1]` 0 in the first frame of a clip, 1 after it.
          forced: `[R,N + 1]` added to the logits, or None.
        """
        logits = self.bias + is_later * self.later_bias + self.network(expected)
        return tf.nn.log_softmax(tf.nn.elu(logits if forced is None else logits + forced))


class FixedCount(Composite):
    """Given probabilities of 0 to N objects, the same in all frames."""

    def __init__(self, probabilities, name=None):
        """Args: `probabilities`: N + 1 positive numbers; they need not sum to 1 (untruncated priors)."""
        super().__init__(name=name)
        self.log_probabilities = np.log(np.asarray(probabilities, np.float64)).astype(np.float32)

    def call(self, expected, is_later, forced=None):
        """Log-probabilities `[R, N + 1]`; arguments of `CategoricalCount`."""
        rows = tf.shape(expected)[0]
        result = tf.tile(tf.constant(self.log_probabilities)[None], [rows, 1])
        return result if forced is None else tf.nn.log_softmax(result + forced)


def make(kind, num_slots: int, success: float, name=None):
    """The prior of one of `KINDS`, or of a sequence of N + 1 probabilities.

    Args:
      kind: see above.
      num_slots: N.
      success: rho of the geometric priors, `p(n)` proportional to `rho^n`: over 0 to N, or over all numbers.
    """
    if kind == "categorical":
        return CategoricalCount(num_slots, name=name)
    if isinstance(kind, str):
        powers = success ** np.arange(num_slots + 1)
        return FixedCount(powers / powers.sum() if kind == "truncated_geometric" else (1 - success) * powers, name=name)
    return FixedCount(kind, name=name)


def log_probability(log_probabilities, count) -> tf.Tensor:
    """Entry `count [...]` (whole numbers as floats) of `log_probabilities [..., N + 1]`."""
    chosen = tf.range(log_probabilities.shape[-1], dtype=count.dtype) == count[..., None]
    return tf.reduce_sum(tf.where(chosen, log_probabilities, tf.zeros_like(log_probabilities)), axis=-1)


def without_room(log_probabilities, room) -> tf.Tensor:
    """Log-probabilities in which counts above `room [R,1]` are impossible, normalised."""
    counts = tf.range(log_probabilities.shape[-1], dtype=log_probabilities.dtype)
    return tf.nn.log_softmax(tf.where(counts <= room, log_probabilities, -1e9))


def sample_count(log_probabilities, uniform) -> tf.Tensor:
    """Number `[R,1]` drawn by inverting the distribution function at `uniform [R,1]`; None: the most probable."""
    if uniform is None:
        return tf.cast(tf.argmax(log_probabilities, axis=-1)[:, None], tf.float32)
    below = tf.cumsum(tf.nn.softmax(log_probabilities), axis=-1)[:, :-1]
    return tf.stop_gradient(tf.reduce_sum(tf.cast(below <= uniform, tf.float32), axis=-1, keepdims=True))
