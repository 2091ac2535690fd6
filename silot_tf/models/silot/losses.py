"""The terms of SILOT's variational bound, computed for all frames at once after the loop over time.

Source: SILOT, section 3.6; specification 3.1-3.5.
"""

import math

import tensorflow as tf

from silot_tf.ops import distributions, divergences

GUARD = 1e-9  # authors' code, inside logarithms

#: (mean, standard deviation) of the prior on size logits: ln(0.1 / 0.9) means a tenth of the anchor box.
SIZE_PRIOR = (math.log(0.1 / 0.9), 0.5)
#: (mean, standard deviation) of the other static priors, specification 3.2.
DISCOVERY_PRIORS = {"shift": (0.0, 1.0), "what": (0.0, 1.0), "depth": (0.0, 1.0)}
PROPAGATION_PRIORS = {"shift": (0.0, 0.3), "what": (0.0, 0.4), "depth": (0.0, 1.0)}
#: Prior on the change of the size logit, as the paper's table has it (D10), in place of one on the new logit.
SIZE_CHANGE_PRIOR = (0.0, 0.3)


def reconstruction_nats(video, reconstruction) -> tf.Tensor:
    """Bernoulli cross entropy of real-valued targets, summed over pixels and channels, `[B,T]` nats."""
    on = video * tf.math.log(reconstruction + GUARD)
    off = (1.0 - video) * tf.math.log(1.0 - reconstruction + GUARD)
    return -tf.reduce_sum(on + off, axis=[2, 3, 4])


def latent_kls(stage: dict, priors: dict, names: dict) -> dict:
    """KL to static priors per object, summed over the dimensions of each latent: name -> `[B,T,K]` nats.

    Args:
      stage: intermediate results of discovery or propagation.
      priors: (mean, std) for shift, size, what, depth.
      names: which entries of `stage` hold the means of what and depth.
    """
    where_mean, where_std = stage["where_mean"], stage["where_std"]
    posteriors = {
        "shift": (where_mean[..., :2], where_std[..., :2]),
        "size": (where_mean[..., 2:], where_std[..., 2:]),
        "what": (stage[names["what"]], stage["what_std"]),
        "depth": (stage[names["depth"]], stage["depth_std"]),
    }
    return {name: _summed_kl(posteriors[name], priors[name]) for name in posteriors}


def learned_kls(stage: dict, prior_stage: dict) -> dict:
    """KL of propagated latents to the learned prior per object: name -> `[B,T,K]` nats."""
    latents = {
        "shift": ("where_mean", "where_std", slice(0, 2)),
        "size": ("where_mean", "where_std", slice(2, 4)),
        "what": ("what_change_mean", "what_std", slice(None)),
        "depth": ("depth_change_mean", "depth_std", slice(None)),
    }
    return {
        name: _summed_kl(
            (stage[mean][..., part], stage[std][..., part]),
            (prior_stage[mean][..., part], prior_stage[std][..., part]),
        )
        for name, (mean, std, part) in latents.items()
    }


def size_change_kl(stage: dict, old_size_logit) -> tf.Tensor:
    """KL of the change of the size logits to N(0, 0.3) (paper's table), `[B,T,K]` nats."""
    change = stage["where_mean"][..., 2:] - old_size_logit
    return _summed_kl((change, stage["where_std"][..., 2:]), SIZE_CHANGE_PRIOR)


def count_term(stages: dict, log_odds, *, by_recursion: bool = False) -> tf.Tensor:
    """Divergence from the count prior per slot (propagated, then discovered), `[B,T,K+D]` nats."""
    probability = tf.concat(
        [tf.sigmoid(stages["propagation"]["log_odds"]), tf.sigmoid(stages["discovery"]["log_odds"])], axis=2
    )
    sample = tf.concat([stages["propagated"]["pres"], stages["discovered"]["pres"]], axis=2)
    kl = divergences.count_kl_by_recursion if by_recursion else divergences.count_kl
    return kl(probability[..., 0], sample[..., 0], log_odds)


def _summed_kl(posterior, prior) -> tf.Tensor:
    """KL between normal distributions given as (mean, std), summed over the last axis."""
    mean, std = prior
    if not tf.is_tensor(mean):
        mean, std = tf.constant(mean, posterior[0].dtype), tf.constant(std, posterior[0].dtype)
    kl = distributions.normal_kl(distributions.normal(*posterior), distributions.normal(mean, std))
    return tf.reduce_sum(kl, axis=-1)
