import numpy as np
import tensorflow as tf

from silot_tf.ops import selection


def select_by_loops(propagated, discovered):
    """The definition, for one video."""
    slots = len(propagated)
    scores = [*propagated, *discovered]
    top = set(sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:slots])
    entering = iter(sorted(i for i in top if i >= slots))
    index = [i if i in top else next(entering) for i in range(slots)]
    return index, [i >= slots for i in index]


def test_selection_equals_the_definition_with_many_ties():
    """Properties 14-16: 500 random cases on a coarse grid of presences."""
    rng = np.random.default_rng(0)
    propagated = rng.integers(0, 4, (500, 5)).astype(np.float32) / 4
    discovered = rng.integers(0, 4, (500, 7)).astype(np.float32) / 4
    index, is_new = selection.stable_top_k(tf.constant(propagated), tf.constant(discovered))
    for row in range(500):
        expected = select_by_loops(propagated[row], discovered[row])
        np.testing.assert_array_equal(index[row], expected[0])
        np.testing.assert_array_equal(is_new[row], expected[1])


def test_strong_propagated_objects_all_stay():
    index, is_new = selection.stable_top_k(tf.constant([[0.9, 0.8, 0.7]]), tf.constant([[0.6, 0.1]]))
    np.testing.assert_array_equal(index, [[0, 1, 2]])
    assert not np.any(is_new)


def test_only_the_weakest_slot_is_replaced():
    index, is_new = selection.stable_top_k(tf.constant([[0.9, 0.2, 0.7]]), tf.constant([[0.1, 0.6]]))
    np.testing.assert_array_equal(index, [[0, 4, 2]])
    np.testing.assert_array_equal(is_new, [[False, True, False]])


def test_fewer_candidates_than_slots_leave_empty_slots_in_place():
    index, is_new = selection.stable_top_k(tf.constant([[0.0, 0.0, 0.0, 0.0]]), tf.constant([[0.5, 0.0]]))
    np.testing.assert_array_equal(index, [[0, 1, 2, 4]])
    np.testing.assert_array_equal(is_new, [[False, False, False, True]])


def test_fields_and_their_gradients_follow_the_selection():
    propagated, discovered = tf.constant([[[1.0], [2.0]]]), tf.constant([[[10.0], [20.0], [30.0]]])
    index, is_new = tf.constant([[4, 1]]), tf.constant([[True, False]])
    with tf.GradientTape() as tape:
        tape.watch([propagated, discovered])
        chosen = selection.choose(is_new, index, propagated, discovered)
        loss = tf.reduce_sum(chosen * [[[3.0], [5.0]]])
    np.testing.assert_array_equal(chosen, [[[30.0], [2.0]]])
    to_propagated, to_discovered = tape.gradient(loss, [propagated, discovered])
    np.testing.assert_array_equal(to_propagated, [[[0.0], [5.0]]])
    np.testing.assert_array_equal(tf.convert_to_tensor(to_discovered), [[[0.0], [0.0], [3.0]]])
