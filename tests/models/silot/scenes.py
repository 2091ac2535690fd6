"""Small scenes, networks and states for the tests of SILOT."""

import functools

import keras
import numpy as np
import tensorflow as tf

from silot_tf.models.silot import SILOT

SEED = tf.constant([3, 4])
SLOTS = 4


def moving_squares(batch=2, frames=3, frame_shape=(36, 36), seed=0) -> np.ndarray:
    """Black clips `[B,T,H,W,3]` with two bright textured squares that move two pixels per frame."""
    rng = np.random.default_rng(seed)
    video = np.zeros((batch, frames, *frame_shape, 3), np.float32)
    for b in range(batch):
        for _ in range(2):
            top, left = (rng.integers(0, size - 10) for size in frame_shape)
            texture, move = rng.uniform(0.4, 1.0, (9, 9, 3)), rng.integers(-1, 2, 2) * 2
            for t in range(frames):
                y, x = np.clip(np.array([top, left]) + t * move, 0, np.array(frame_shape) - 9)
                video[b, t, y : y + 9, x : x + 9] = texture
    return video


def build(frame_shape=(36, 36), seed=0, noise=0.05, **options) -> SILOT:
    """A network with `SLOTS` slots (unless said otherwise), every weight moved a little away from its start.

    Zero biases would hide mistakes, and a network of biases only (the glimpse branch of the prior) would be dead.
    """
    keras.utils.set_random_seed(seed)
    model = SILOT(**{"num_slots": SLOTS} | options)
    model.build_variables((*frame_shape, 3))
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        variable.assign_add(rng.normal(0, noise, variable.shape))
    return model


@functools.cache
def shared(**options) -> SILOT:
    """The network of `build(**options)`, one for all tests, which only read it."""
    return build(**options)


def known_objects(model, batch=2, seed=0, anchors=0.75) -> dict:
    """State in which every slot holds an object, at random places of a frame of `anchors` anchor boxes."""
    rng = np.random.default_rng(seed)
    draw = lambda low, high, *shape: tf.constant(rng.uniform(low, high, shape).astype(np.float32))  # noqa: E731
    state = model.initial_state(batch)
    slots = model.num_slots
    centre, size_logit = draw(0.1, anchors - 0.1, batch, slots, 2), draw(-2, 0, batch, slots, 2)
    depth_logit = draw(-1, 1, batch, slots, 1)
    objects = {
        "box": tf.concat([centre, tf.sigmoid(size_logit)], -1),
        "position": centre,
        "size_logit": size_logit,
        "what": draw(-1, 1, batch, slots, model.what_size),
        "depth_logit": depth_logit,
        "depth": tf.sigmoid(depth_logit),
        "pres": draw(0.3, 1, batch, slots, 1),
        "hidden": draw(-1, 1, batch, slots, model.state_size),
        "hidden_prior": draw(-1, 1, batch, slots, model.state_size),
        "exists": tf.ones([batch, slots, 1]),
    }
    assert set(objects) == set(state["objects"])
    track_id = tf.tile(tf.range(slots)[None], [batch, 1])
    return state | {"objects": objects, "track_id": track_id, "next_id": tf.fill([batch], slots)}


def set_zero(network) -> None:
    """Zero kernel and bias of the last layer of an MLP, so that it gives zeros."""
    for variable in network.dense_layers[-1].variables:
        variable.assign(tf.zeros_like(variable))


def total(terms: dict) -> tf.Tensor:
    return sum(tf.reduce_sum(term) for term in terms.values())


def assert_equal_trees(found, expected, **tolerances):
    """Every leaf equal: exactly, or within tolerances of `assert_allclose`; integers and booleans always exactly."""
    tf.nest.assert_same_structure(found, expected)
    paths = [path for path, _ in keras.tree.flatten_with_path(expected)]
    for path, a, b in zip(paths, tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        if tolerances and a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, err_msg=str(path), **tolerances)
        else:
            np.testing.assert_array_equal(a, b, err_msg=str(path))
