"""Presence of objects: Bernoulli decisions that earlier ones can only switch off, and the count that follows.

Source: Kosiorek et al. 2018, section 3, and release.
"""

import tensorflow as tf

OFF = 88.0  # log-odds at which a float32 probability is 0 or 1; release


def masked_logit(previous, logit) -> tf.Tensor:
    """`logit` where `previous` presence is 1, -88 where it is 0."""
    return previous * logit - OFF * (1.0 - previous)


def sample(previous, logit, uniform) -> tf.Tensor:
    """Presence in {0, 1}: `previous * [uniform < sigmoid(logit)]`, without gradient; `uniform` None: most probable."""
    threshold = 0.5 if uniform is None else uniform
    return tf.stop_gradient(previous * tf.cast(threshold < tf.sigmoid(logit), logit.dtype))


def log_bernoulli(presence, logit) -> tf.Tensor:
    """Log-probability of `presence` in {0, 1}, element by element; finite for all finite logits."""
    return -tf.math.softplus(tf.where(presence > 0.5, -logit, logit))


def previous_steps(presence) -> tf.Tensor:
    """Presence of the step before, `[..., N]`; 1 before the first."""
    return tf.concat([tf.ones_like(presence[..., :1]), presence[..., :-1]], axis=-1)


def log_count(presence, logit) -> tf.Tensor:
    """Log-probability `[...]` of the number of objects found in sequence, from all steps `[..., N]`.

    Steps after the first absent one are certain and count nothing.
    """
    return tf.reduce_sum(previous_steps(presence) * log_bernoulli(presence, logit), axis=-1)


def count_probabilities(logit) -> tf.Tensor:
    """Probabilities `[..., N + 1]` of 0 to N objects, found one by one with log-odds `[..., N]` to go on."""
    going_on = tf.cumsum(-tf.math.softplus(-logit), axis=-1)
    stop = -tf.math.softplus(logit)
    reached = tf.concat([tf.zeros_like(logit[..., :1]), going_on], axis=-1)
    return tf.exp(reached + tf.concat([stop, tf.zeros_like(logit[..., :1])], axis=-1))
