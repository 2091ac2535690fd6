"""Quantities about weighted particles: what training logs, and the bound with many particles.

Source: Kosiorek et al. 2018, sections 3.2 and 4 (evaluation), and release.
"""

from collections.abc import Mapping

import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.ops import importance, seeds

ROWS_PER_CHUNK = 512  # videos times particles worked on at once


def frame_counts(stages: dict, particles: int) -> dict:
    """Numbers of objects per frame, `[B,K,T]`: all that hold a slot, and, where known, discovered and propagated."""
    parts = {"objects": "objects", "discovered": "discovery", "propagated": "propagation"}
    summed = {name: tf.reduce_sum(stages[part]["pres"], axis=[2, 3]) for name, part in parts.items() if part in stages}
    return {name: tf.reshape(value, [-1, particles, value.shape[1]]) for name, value in summed.items()}


def losses(log_weight, log_discrete, vimco: str) -> dict:
    """`negative_bound`, and `score_function` whose gradient is that of the bound through presences, `[B]` nats.

    Args:
      log_weight, log_discrete: `[B,K]`, see `SQAIR.importance_weights`.
      vimco: see `ops.importance.vimco_surrogate`.
    """
    return {
        "negative_bound": -importance.iwae_bound(log_weight),
        "score_function": -importance.vimco_surrogate(log_weight, log_discrete, vimco),
    }


def diagnostics(results: dict, mask, batch: Mapping) -> dict:
    """Averages over particles by normalised weight, `[B,T]` per frame; `count_accuracy` of annotated batches.

    Args:
      results: see `SQAIR.importance_weights`.
      mask: `[B,T]` float.
      batch: contract batch.
    """
    log_w = results["log_weight"]
    weights = importance.normalised_weights(log_w)[..., None]
    numbers = frame_counts(results["stages"], log_w.shape[1])
    values = {name: results["terms"][name] for name in ("log_likelihood", "kl")} | numbers
    if "present" in batch:
        truth = tf.reduce_sum(tf.cast(batch["present"], tf.float32), axis=2)
        values["count_accuracy"] = tf.cast(tf.abs(numbers["objects"] - truth[:, None]) < 0.5, tf.float32)
    averages = {name: tf.stop_gradient(tf.reduce_sum(weights * value, axis=1)) for name, value in values.items()}
    size = tf.stop_gradient(importance.effective_sample_size(log_w))
    return averages | {"effective_sample_size": size[:, None] + tf.zeros_like(mask)}


def bound(
    model,
    video,
    num_particles: int = 1000,
    *,
    seed,
    particles_per_chunk: int | None = None,
    object_count=None,
    frame_mask=None,
) -> dict:
    """Importance-weighted bound of clips with any number of particles, in chunks of bounded memory; eager only.

    Args:
      model: has `importance_weights`, as `SQAIR`.
      video: `[B,T,H,W,C]`.
      num_particles: K.
      seed: `[2]` int32.
      particles_per_chunk: None for what makes `ROWS_PER_CHUNK`.
      object_count: `[B,T]` true numbers of objects, for counting.
      frame_mask: `[B,T]` bool; None for all frames.

    Returns:
      `[B]` each, nats per clip: `bound`; `effective_sample_size`; averages by weight `log_likelihood`, `kl`, `objects`
      (per frame) and, if numbers are given, `count_accuracy` and `count_error` (per frame); and plain averages over
      particles `elbo`, `sample_log_likelihood`, `sample_kl`, `sample_count_accuracy`.

    Raises:
      UserError: for no particles.
    """
    if num_particles < 1:
        raise UserError(f"num_particles of the bound is {num_particles}; expected at least 1")
    size = video.shape[0]
    chunk = min(particles_per_chunk or max(1, ROWS_PER_CHUNK // size), num_particles)
    video = tf.convert_to_tensor(video)
    mask = tf.ones(video.shape[:2]) if frame_mask is None else tf.cast(frame_mask, tf.float32)
    truth = None if object_count is None else tf.cast(object_count, tf.float32)
    running, plain = None, {}
    done = 0
    while done < num_particles:
        particles = min(chunk, num_particles - done)
        compute = _compiled(model, particles, truth is not None)
        log_w, values = compute(video, mask, mask if truth is None else truth, seeds.fold(seed, done))
        running = running or importance.no_particles(size, values)
        running = importance.add_particles(running, log_w, values)
        sums = {"elbo": log_w} | {f"sample_{name}": value for name, value in values.items() if name != "objects"}
        plain = {name: plain.get(name, 0.0) + tf.reduce_sum(value, axis=1) for name, value in sums.items()}
        done += particles
    return importance.bound_of(running) | {name: value / num_particles for name, value in plain.items()}


def _compiled(model, particles: int, counted: bool):
    """Graph of one chunk, made once per model and number of particles."""
    made = model.__dict__.setdefault("_chunks", {})
    if (particles, counted) not in made:

        @tf.function(autograph=False)
        def compute(video, mask, truth, seed):
            results = model.importance_weights(video, particles, seed=seed, mask=mask)
            frames = tf.maximum(tf.reduce_sum(mask, axis=1), 1.0)[:, None]
            values = {n: tf.reduce_sum(results["terms"][n] * mask[:, None], -1) for n in ("log_likelihood", "kl")}
            objects = frame_counts(results["stages"], particles)["objects"]
            per_frame = {"objects": objects}
            if counted:
                error = tf.abs(objects - truth[:, None])
                per_frame |= {"count_error": error, "count_accuracy": tf.cast(error < 0.5, tf.float32)}
            means = {n: tf.reduce_sum(v * mask[:, None], -1) / frames for n, v in per_frame.items()}
            return results["log_weight"], values | means

        made[particles, counted] = compute
    return made[particles, counted]
