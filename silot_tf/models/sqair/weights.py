"""Importance weights of particles, and the choice of one by weight.

Source: Kosiorek et al. 2018, section 3.2, and release.
"""

import tensorflow as tf

from silot_tf.models.sqair import terms
from silot_tf.models.sqair.noise import gumbel
from silot_tf.models.sqair.outputs import decode
from silot_tf.ops.shapes import merge_leading


def by_particle(noise):
    """Noise `[B,T,K,...]` of latents as `[M,T,...]`, like stages; None stays."""
    if noise is None:
        return None
    latents = {part: {name: noise[part][name] for name in ("what", "where")} for part in noise}
    return tf.nest.map_structure(lambda v: merge_leading(tf.transpose(v, [0, 2, 1, *range(3, v.shape.rank)])), latents)


def weights_of(model, video, stages: dict, noise, particles: int | None = None) -> dict:
    """Everything that an importance weight is made of, `[B,K,T]` nats per frame.

    Args:
      model: `SQAIR`.
      video: `[B,T,H,W,C]`.
      stages: see `SQAIR.unroll_stages`.
      noise: that the stages were made with.
      particles: K; None to read it off the shapes.

    Returns:
      `log_likelihood`, `log_alpha` (likelihood minus `kl`), and the sums of `terms.log_probabilities`.
    """
    frames, target = video.shape[1], tf.stack(tf.unstack(video, axis=-1), axis=-2)[:, None]
    mean = decode(model.decoder, stages["objects"], tuple(video.shape[2:]))["mean"]
    particles = particles or tf.shape(mean)[0] // (tf.shape(video)[0] * frames)
    prior = terms.priors_of(stages, model.propagation_prior, model.where_prior, model.count_prior, model.cap_discovery)
    found = terms.log_probabilities(stages, prior, model.propagation.covariance_factor(), by_particle(noise))
    found = {n: tf.reshape(v, [-1, particles, frames]) for n, v in found.items() if v.shape.rank == 2}
    found["log_likelihood"] = model.decoder.log_likelihood(
        target, tf.reshape(mean, [-1, particles, frames, *mean.shape[1:]])
    )
    found["log_alpha"] = found["log_likelihood"] - found["kl"]
    return found


def choose(model, video, state: dict, stages: dict, noise, seed, rollout_from) -> tuple[tf.Tensor, tf.Tensor]:
    """Particles to show `[B,T]`, drawn by weight, and the log-weights `[B,K]` after the clip.

    Frames of a roll-out, which see nothing, weigh nothing. Arguments as of `weights_of` and `VideoModel.unroll`;
    `state` is that before the clip.
    """
    frames = video.shape[1]
    log_alpha = weights_of(model, video, stages, noise, state["log_weight"].shape[1])["log_alpha"]
    if rollout_from is not None:
        seen = state["frame"][:, None] + tf.range(frames) < rollout_from
        log_alpha = tf.where(seen[:, None], log_alpha, 0.0)
    log_weights = state["log_weight"][..., None] + tf.cumsum(log_alpha, axis=-1)
    last = log_weights[..., -1]
    if model.particle_choice == "clip":
        log_weights = tf.repeat(last[..., None], frames, axis=-1)
    if noise is not None:  # the largest sum with Gumbel noise is a draw by weight
        log_weights += gumbel(tf.shape(last)[0], last.shape[1], seed)[..., None]
    return tf.argmax(log_weights, axis=1, output_type=tf.int32), last
