"""Bounds on the log likelihood from importance-weighted particles, and gradients through their discrete choices.

A particle is a sample z of all latents of a sequence, drawn from the posterior; its log-weight is
`log w = log p(x, z) - log q(z | x)`. Letters: B sequences, K particles.

Sources: Burda et al., Importance Weighted Autoencoders (2016); Mnih & Rezende, Variational Inference for Monte Carlo
Objectives (2016); SQAIR specification 3.2 and 3.3.
"""

import math

import numpy as np
import tensorflow as tf

FORMS = ("exact", "release")


def iwae_bound(log_weights) -> tf.Tensor:
    """Importance-weighted bound `log mean_k w_k`, `[..., K] -> [...]` nats; with one particle, the sampled ELBO."""
    return tf.reduce_logsumexp(log_weights, axis=-1) - math.log(_particles(log_weights))


def vimco_surrogate(log_weights, log_discrete, form: str = "exact") -> tf.Tensor:
    """What to add to the bound, and to maximise with it, so that its gradient sees the discrete choices; `[B]`.

    The signals are constants of differentiation; `log_discrete` is differentiated in full. Only the gradient of the
    result means something, not its value.

    Args:
      log_weights: `[B,K]`, K >= 2.
      log_discrete: `[B,K]` log-probabilities of each particle's discrete choices under the posterior.
      form: "exact" is VIMCO as published, unbiased for the gradient of the bound: `sum_k (L - L^-k) log q_k`.
        "release" is what SQAIR's published code computes, which is not the gradient of the bound:
        `mean_k (log w_k - L^-k) log q_k`.

    Source: SQAIR specification 3.2.
    """
    if form not in FORMS:
        raise ValueError(f"form of VIMCO is {form!r}; expected one of {', '.join(FORMS)}")
    baseline = vimco_baseline(log_weights)
    if form == "exact":
        signal = iwae_bound(log_weights)[..., None] - baseline
        return tf.reduce_sum(tf.stop_gradient(signal) * log_discrete, axis=-1)
    return tf.reduce_mean(tf.stop_gradient(log_weights - baseline) * log_discrete, axis=-1)


def vimco_baseline(log_weights) -> tf.Tensor:
    """`L^-k`: the bound with the weight of particle k replaced by the geometric mean of the others, `[B,K] -> [B,K]`.

    Entry k does not depend on `log_weights[:, k]`.

    Raises:
      ValueError: for fewer than two particles.
    """
    particles = _particles(log_weights)
    if particles < 2:
        raise ValueError(f"VIMCO compares particles with each other and needs at least 2, found {particles}")
    own = np.eye(particles, dtype=bool)
    weights = log_weights[..., None, :]
    # Summing the others, not subtracting from the total: exact, and an infinite weight spoils no other baseline.
    others = tf.reduce_sum(tf.where(own, tf.zeros_like(weights), weights), axis=-1) / (particles - 1)
    return iwae_bound(tf.where(own, others[..., None], weights))


def normalised_weights(log_weights) -> tf.Tensor:
    """Weights that sum to 1 over the particles, `[..., K]`; constants of differentiation."""
    return tf.stop_gradient(tf.nn.softmax(log_weights, axis=-1))


def effective_sample_size(log_weights) -> tf.Tensor:
    """`1 / sum_k omega_k^2` of the normalised weights, in [1, K]; `[..., K] -> [...]`."""
    return 1.0 / tf.reduce_sum(tf.square(normalised_weights(log_weights)), axis=-1)


def no_particles(batch_size, names=()) -> dict:
    """Start of a sum over particles that come in chunks; see `add_particles`.

    Args:
      batch_size: B.
      names: of the quantities to average.
    """
    return {
        "log_sum": tf.fill([batch_size], -np.inf),
        "sum_of_squares": tf.zeros([batch_size]),  # of normalised weights
        "count": tf.zeros([]),
        "means": {name: tf.zeros([batch_size]) for name in names},
    }


def add_particles(running: dict, log_weights, values=None) -> dict:
    """`running` with one more chunk of particles; order and sizes of chunks do not matter.

    Args:
      running: `no_particles`, or what this function returned.
      log_weights: `[B,K_c]`.
      values: name -> `[B,K_c]` quantities to average with the weights, for the names given to `no_particles`.
    """
    omega, chunk = tf.nn.softmax(log_weights, axis=-1), tf.reduce_logsumexp(log_weights, axis=-1)
    # Shares that add up to 1 exactly: sums of log-weights are known to a thousandth only, being as large as they are.
    share = tf.sigmoid(chunk - running["log_sum"])
    squares = tf.reduce_sum(tf.square(omega), axis=-1)
    means = {name: tf.reduce_sum(omega * values[name], axis=-1) for name in running["means"]}
    return {
        "log_sum": tf.reduce_logsumexp(tf.stack([running["log_sum"], chunk]), axis=0),
        "sum_of_squares": tf.square(1 - share) * running["sum_of_squares"] + tf.square(share) * squares,
        "count": running["count"] + _particles(log_weights),
        "means": {name: mean + share * (means[name] - mean) for name, mean in running["means"].items()},
    }


def bound_of(running: dict) -> dict:
    """Results over all particles added so far: each `[B]`.

    Returns:
      `bound` (`iwae_bound` of all), `effective_sample_size`, and the weighted mean of each quantity by its name.
    """
    return {
        "bound": running["log_sum"] - tf.math.log(running["count"]),
        "effective_sample_size": 1.0 / running["sum_of_squares"],
        **running["means"],
    }


def _particles(log_weights) -> int:
    particles = log_weights.shape[-1]
    if not particles:
        raise ValueError(f"log-weights of shape {tuple(log_weights.shape)}: expected one or more particles, last axis")
    return particles
