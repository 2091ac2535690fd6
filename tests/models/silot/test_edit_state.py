"""Objects taken out of SILOT's state, or moved in it."""

import numpy as np
import tensorflow as tf

from silot_tf.models.silot import SILOT

ANCHOR, FRAME = (12, 24), (24, 36)


def state_of(model):
    state = model.initial_state(2)
    random = np.random.default_rng(0)
    objects = {
        name: tf.constant(random.uniform(0.1, 0.9, value.shape), tf.float32) for name, value in state["objects"].items()
    }
    return state | {"objects": objects, "track_id": tf.constant([[4, 7, 9], [1, -1, 3]])}


def test_moved_objects_are_moved_in_fractions_of_the_frame_and_removed_ones_leave_an_empty_slot():
    model = SILOT(num_slots=3, anchor=ANCHOR, what_size=4, state_size=5)
    state, shift = state_of(model), np.zeros((2, 3, 2), np.float32)
    shift[0, 2] = 0.25, -0.5
    remove = np.zeros((2, 3), bool)
    remove[1, 0] = True
    edited = model.edit_state(state, (*FRAME, 3), remove=tf.constant(remove), shift=tf.constant(shift))
    tf.nest.assert_same_structure(edited, state)
    pixels = np.array([0.25 * FRAME[0], -0.5 * FRAME[1]])
    for name, value in state["objects"].items():
        expected = value.numpy().copy()
        if name == "box":
            expected[0, 2, :2] += pixels / ANCHOR
        elif name == "position":
            expected[0, 2] += pixels / ANCHOR
        expected[1, 0] = 0
        np.testing.assert_allclose(edited["objects"][name], expected, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(edited["track_id"], [[4, 7, 9], [-1, -1, 3]])
    for name in ("next_id", "frame", "crop_offset"):
        np.testing.assert_array_equal(edited[name], state[name])
