"""Filtering of particles over time: weights, resampling, and the bound that they give.

    log p^_t = log sum_k omega_{t-1,k} alpha_{t,k},    omega_t ~ omega_{t-1} alpha_t,    bound = sum_t log p^_t

with `alpha_t` the weight that frame t contributes. Where the effective sample size falls below a share of the number
of particles, ancestors are drawn by weight and the weights start again at 1/K. `exp(bound)` is an unbiased estimate of
the likelihood. Without resampling the bound is that of `importance.iwae_bound`.

Letters: B sequences, K particles.

Source: Maddison et al., Filtering Variational Objectives (2017); SQAIR specification 7.2.
"""

import math

import tensorflow as tf

from silot_tf.ops import importance


def initial_log_weights(batch_size, particles: int) -> tf.Tensor:
    """Equal normalised log-weights `-log K`, `[B,K]`."""
    return tf.fill([batch_size, particles], tf.constant(-math.log(particles), tf.float32))


def advance(log_weights, log_alpha) -> tuple[tf.Tensor, tf.Tensor]:
    """One frame: its contribution to the bound, `[B]` nats, and the new normalised log-weights `[B,K]`.

    Args:
      log_weights: `[B,K]` before the frame, normalised.
      log_alpha: `[B,K]` contributed by the frame.
    """
    unnormalised = log_weights + log_alpha
    increment = tf.reduce_logsumexp(unnormalised, axis=-1)
    return increment, unnormalised - increment[..., None]


def ancestors(log_weights, uniforms, threshold: float = 0.5) -> tuple[tf.Tensor, tf.Tensor]:
    """Which particle each one continues, `[B,K]` int32, and whether the sequence was resampled, `[B]` bool.

    Sequences whose effective sample size is not below `threshold * K` keep their particles. In the others each
    ancestor is drawn from the weights, independently (multinomial resampling).

    Args:
      log_weights: `[B,K]`, normalised or not.
      uniforms: `[B,K]` draws in (0, 1).
      threshold: share of K; 0 never resamples, more than 1 always does.
    """
    particles = log_weights.shape[-1]
    resampled = importance.effective_sample_size(log_weights) < threshold * particles
    cumulative = tf.cumsum(importance.normalised_weights(log_weights), axis=-1)
    # Rounding leaves the last entry near 1, not at it.
    drawn = tf.searchsorted(cumulative, tf.stop_gradient(uniforms) * cumulative[:, -1:], side="right")
    drawn = tf.minimum(drawn, particles - 1)
    return tf.where(resampled[:, None], drawn, tf.range(particles)[None]), resampled


def after_resampling(log_weights, resampled) -> tf.Tensor:
    """Log-weights `[B,K]` that start again at 1/K in the sequences that were resampled (`[B]` bool)."""
    equal = tf.fill(tf.shape(log_weights), tf.constant(-math.log(log_weights.shape[-1]), log_weights.dtype))
    return tf.where(resampled[:, None], equal, log_weights)


def continue_from(ancestor, values):
    """`values` of every particle's ancestor: a nested structure of `[B*K,...]`, particles of a sequence together.

    Gradients flow through what is continued, not through the choice.

    Args:
      ancestor: `[B,K]` int32.
      values: nested structure of tensors.
    """
    particles = ancestor.shape[-1]
    rows = tf.reshape(ancestor + tf.range(tf.shape(ancestor)[0])[:, None] * particles, [-1])
    return tf.nest.map_structure(lambda value: tf.gather(value, rows), values)
