"""The terms of SILOT's variational bound, computed for all frames at once after the loop over time.

Source: SILOT, section 3.6; specification 3.1-3.5.
"""

import math

import tensorflow as tf

from silot_tf.ops import distributions, divergences
from silot_tf.ops.logarithms import guarded_log, guarded_log_rest

#: (mean, standard deviation) of the prior on size logits: ln(0.1 / 0.9) means a tenth of the anchor box.
SIZE_PRIOR = (math.log(0.1 / 0.9), 0.5)
#: (mean, standard deviation) of the other static priors, specification 3.2.
DISCOVERY_PRIORS = {"shift": (0.0, 1.0), "what": (0.0, 1.0), "depth": (0.0, 1.0)}
PROPAGATION_PRIORS = {"shift": (0.0, 0.3), "what": (0.0, 0.4), "depth": (0.0, 1.0)}
#: Prior on the change of the size logit, as the paper's table has it (D10), in place of one on the new logit.
SIZE_CHANGE_PRIOR = (0.0, 0.3)
LATENTS = ("shift", "size", "what", "depth")


def loss_terms(
    video,
    stages: dict,
    reconstruction,
    count_log_odds,
    *,
    size_prior=SIZE_PRIOR,
    size_prior_on_change: bool = False,
    by_recursion: bool = False,
) -> dict:
    """Loss terms by name, `[B,T]`, nats per frame (specification 3.1).

    Args:
      video: `[B,T,H,W,3]`, targets of the reconstruction.
      stages: see `SILOT.unroll_stages`.
      reconstruction: `[B,T,H,W,3]`.
      count_log_odds: scalar, of the count prior.
      size_prior: (mean, standard deviation) of the prior on size logits.
      size_prior_on_change: have the static prior on the change of sizes, as the paper's table has it (D10).
      by_recursion: use the plain form of the count prior.
    """
    discovered, propagated = stages["discovered"]["pres"][..., 0], stages["propagated"]["pres"][..., 0]
    discovery = latent_kls(
        stages["discovery"],
        DISCOVERY_PRIORS | {"size": size_prior},
        {"what": "what_mean", "depth": "depth_mean"},
    )
    static = latent_kls(
        stages["propagation"],
        PROPAGATION_PRIORS | {"size": size_prior},
        {"what": "what_change_mean", "depth": "depth_change_mean"},
    )
    if size_prior_on_change:
        static["size"] = size_change_kl(stages["propagation"], stages["propagated"]["old_size_logit"])
    learned = learned_kls(stages["propagation"], stages["prior"])
    terms = {"reconstruction": reconstruction_nats(video, reconstruction)}
    for name in LATENTS:
        terms[f"discovery_{name}_kl"] = tf.reduce_sum(discovered * discovery[name], axis=-1)
        terms[f"propagation_{name}_kl"] = tf.reduce_sum(propagated * static[name], axis=-1)
        terms[f"learned_{name}_kl"] = tf.reduce_sum(propagated * learned[name], axis=-1)
    terms["count_kl"] = tf.reduce_sum(count_term(stages, count_log_odds, by_recursion=by_recursion), axis=-1)
    presence = distributions.relaxed_bernoulli_kl_sample(
        stages["propagation"]["log_odds"],
        stages["prior"]["log_odds"],
        stages["propagation"]["pre_sigmoid"],
    )
    terms["learned_pres_kl"] = tf.reduce_sum(presence, axis=[2, 3])
    return terms


def reconstruction_nats(video, reconstruction) -> tf.Tensor:
    """Bernoulli cross entropy of real-valued targets, summed over pixels and channels, `[B,T]` nats."""
    on = video * guarded_log(reconstruction)
    off = (1.0 - video) * guarded_log_rest(reconstruction)
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
