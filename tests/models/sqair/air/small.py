"""AIR of a few units; clips and weights as in the tests of SQAIR."""

import functools

import keras
import numpy as np
import tensorflow as tf

from silot_tf.models.sqair import AIR, ClassicalAIR
from tests.models.sqair.small import FRAME

SIZES = {"num_slots": 3, "glimpse_shape": (6, 5), "what_size": 4, "units": 12}


@functools.cache
def small(seed: int = 0, moved: float = 0.05, **options) -> AIR:
    """A network whose weights are moved a little from their initial values."""
    return _built(AIR, seed, moved, SIZES | {"num_particles": 3} | options)


@functools.cache
def small_classical(seed: int = 0, moved: float = 0.05, **options) -> ClassicalAIR:
    """The same of the classical network."""
    hidden = {"head_hidden": (8,), "encoder_hidden": (10,), "decoder_hidden": (10,)}
    return _built(ClassicalAIR, seed, moved, SIZES | hidden | options)


def _built(kind, seed, moved, options):
    keras.utils.set_random_seed(seed)
    model = kind(**options)
    model.build_variables(FRAME)
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign_add(rng.normal(0, moved, variable.shape) if moved else np.zeros(variable.shape))
    return model


def found_in(model, frames, particles: int, seed: int = 0):
    """What the network finds in frames `[R,H,W,C]` with noise of numpy, and the noise, `[R * K,...]`."""
    rng, rows = np.random.default_rng(seed), frames.shape[0] * particles
    noise = {
        "where": rng.normal(size=(rows, model.num_slots, 4)),
        "what": rng.normal(size=(rows, model.num_slots, model.what_size)),
        "pres": rng.uniform(0.01, 0.99, size=(rows, model.num_slots, 1)),
    }
    noise = {name: tf.constant(value, tf.float32) for name, value in noise.items()}
    return model.find(frames, noise, particles), noise
