"""The probability distributions of the models; the only module that imports TensorFlow Probability.

Samples are drawn from noise that was drawn before (reparameterised), so that a loop over time contains no random
operation and the same noise can be fed to another implementation.
"""

import math

import tensorflow as tf
from tensorflow_probability.python import distributions as tfd


def normal(mean, std) -> tfd.Normal:
    """Normal distribution with the given mean and standard deviation."""
    return tfd.Normal(mean, std)


def normal_kl(posterior: tfd.Normal, prior: tfd.Normal) -> tf.Tensor:
    """Kullback-Leibler divergence KL(posterior || prior) per element, nats."""
    return tfd.kl_divergence(posterior, prior)


def sample_normal(mean, std, noise) -> tf.Tensor:
    """Sample `mean + std * noise`; `noise` None stands for the mean."""
    return mean if noise is None else mean + std * noise


def relaxed_bernoulli(log_odds) -> tfd.RelaxedBernoulli:
    """Concrete distribution with temperature 1: the logistic function of a Logistic(log_odds, 1) variable."""
    return tfd.RelaxedBernoulli(temperature=tf.ones([], log_odds.dtype), logits=log_odds)


def sample_logistic(log_odds, noise) -> tf.Tensor:
    """Pre-sigmoid sample `log_odds + noise` of the concrete distribution; `noise` None stands for the location."""
    return log_odds if noise is None else log_odds + noise


def relaxed_bernoulli_kl_sample(posterior_log_odds, prior_log_odds, pre_sigmoid) -> tf.Tensor:
    """One-sample estimate of the divergence of two concrete distributions, nats.

    The density of `sigmoid(y)` differs from that of `y` by a factor that both share, so the ratio is that of the
    logistic densities at `y`.

    Source: SILOT specification 3.4.
    """
    one = tf.ones([], pre_sigmoid.dtype)
    posterior = tfd.Logistic(posterior_log_odds, one)
    prior = tfd.Logistic(prior_log_odds, one)
    return posterior.log_prob(pre_sigmoid) - prior.log_prob(pre_sigmoid)


def log_density_of_noise(std, noise) -> tf.Tensor:
    """Log density of the normal sample `mean + std * noise` at itself, summed over the last axis, nats.

    The same number as `normal(mean, std).log_prob` there, with the same total gradient, but without the rounding of
    `(sample - mean) / std`.

    Args:
      std: `[..., D]`; of a triangular factor its diagonal (signs do not matter).
      noise: `[..., D]` standard normal; None stands for 0 (the sample is the mean).
    """
    half_log_two_pi = 0.5 * math.log(2 * math.pi)
    log_density = -tf.math.log(tf.abs(std)) - half_log_two_pi
    if noise is not None:
        log_density -= 0.5 * tf.square(noise)
    return tf.reduce_sum(log_density, axis=-1)
