"""A SQAIR of a few units, and clips for it."""

import functools

import keras
import numpy as np
import tensorflow as tf

from silot_tf.models.sqair import SQAIR

FRAME = (18, 16, 1)
SEED = tf.constant([3, 5])


@functools.cache
def small(seed: int = 0, moved: float = 0.05, frame_shape=FRAME, **options) -> SQAIR:
    """A network whose weights are moved a little from their initial values."""
    sizes = {"num_slots": 3, "num_particles": 3, "glimpse_shape": (6, 5), "what_size": 4, "units": 12}
    keras.utils.set_random_seed(seed)
    model = SQAIR(**(sizes | options))
    model.build_variables(frame_shape)
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign_add(rng.normal(0, moved, variable.shape) if moved else np.zeros(variable.shape))
    return model


def video(videos: int = 2, frames: int = 3, seed: int = 0, frame_shape=FRAME) -> tf.Tensor:
    """Noise in [0, 1]."""
    return tf.constant(np.random.default_rng(seed).random((videos, frames, *frame_shape), np.float32))


def stages_of(model, clip, particles: int = 3, seed=SEED, **options):
    """Stages of a clip from its first frame, and the noise."""
    state = model.particles_before(clip.shape[0], particles)
    noise = model.draw_noise(clip, particles, state["frame"], seed)
    return model.unroll_stages(clip, state, noise, **options)[0], noise


def batch_of(clip, **more) -> dict:
    return {"video": clip, "frame_mask": tf.ones(clip.shape[:2], tf.bool)} | more
