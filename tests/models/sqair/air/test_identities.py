"""Identities of objects that are found anew in every frame."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import linear_sum_assignment

from silot_tf.models.sqair.air import identities

YES = tf.constant([True])


def follow(frames, gate=0.3, slots=3, linked=None):
    """Identities of frames, each a list of centres, of one video."""
    state, track_id, is_new = identities.nothing_seen(1, slots), [], []
    for t, places in enumerate(frames):
        centre, present = np.zeros((1, slots, 2), np.float32), np.zeros((1, slots), bool)
        for i, place in enumerate(places):
            if place is not None:
                centre[0, i], present[0, i] = place, True
        link = YES if linked is None else tf.constant([linked[t]])
        state, new = identities.follow(state, tf.constant(centre), tf.constant(present), link, gate)
        track_id.append(np.asarray(state["track_id"][0]).tolist())
        is_new.append(np.asarray(new[0]).tolist())
    return track_id, is_new


def test_objects_keep_their_identity_in_whatever_order_they_are_found():
    track_id, is_new = follow(
        [[(0.2, 0.2), (0.8, 0.8)], [(0.75, 0.8), (0.2, 0.3)], [(0.2, 0.4), (0.7, 0.8), (0.5, 0.1)]]
    )
    assert track_id == [[0, 1, -1], [1, 0, -1], [0, 1, 2]]
    assert is_new == [[True, True, False], [False] * 3, [False, False, True]]


def test_what_is_further_than_the_gate_is_new_and_identities_are_never_used_again():
    track_id, _ = follow([[(0.1, 0.1)], [(0.9, 0.9)], [], [(0.9, 0.9)], [(0.9, 0.85)]])
    assert [row[0] for row in track_id] == [0, 1, -1, 2, 2]


def test_a_far_object_does_not_spoil_the_match_of_a_near_one():
    """The sum of all distances is least with both matched crosswise, beyond the gate: 0.35 + 0.45 < 0.05 + 0.85."""
    track_id, _ = follow([[(0.5, 0.5), (0.5, 0.1)], [(0.5, 0.45), (0.5, 0.95)]], gate=0.3)
    assert track_id[1] == [0, 2, -1]


def test_frames_that_do_not_continue_the_last_have_fresh_identities():
    track_id, is_new = follow([[(0.5, 0.5)]] * 3, linked=[True, False, True])
    assert [row[0] for row in track_id] == [0, 1, 1] and [row[0] for row in is_new] == [True, True, False]


@pytest.mark.parametrize("gate", [0.15, 0.4, 2.0])
def test_matching_is_the_hungarian_methods(gate):
    rng, videos, slots = np.random.default_rng(0), 40, 4
    centre = rng.random((videos, 2, slots, 2)).astype(np.float32)
    present = rng.random((videos, 2, slots)) < 0.7
    linked = tf.ones([videos, 2], tf.bool)
    before = identities.nothing_seen(videos, slots)
    after, track_id, is_new = identities.follow_clip(before, tf.constant(centre), tf.constant(present), linked, gate)
    track_id, is_new = np.asarray(track_id), np.asarray(is_new)
    for b in range(videos):
        old, new = np.flatnonzero(present[b, 0]), np.flatnonzero(present[b, 1])
        assert track_id[b, 0][old].tolist() == list(range(len(old)))
        distance = np.linalg.norm(centre[b, 1][new][:, None] - centre[b, 0][old][None], axis=-1)
        pairs = zip(*linear_sum_assignment(np.minimum(distance, gate)), strict=True)
        expected = {new[i]: track_id[b, 0, old[j]] for i, j in pairs if distance[i, j] < gate}
        fresh = len(old)
        for i in range(slots):
            if not present[b, 1, i]:
                assert track_id[b, 1, i] == -1 and not is_new[b, 1, i]
            elif i in expected:
                assert track_id[b, 1, i] == expected[i] and not is_new[b, 1, i]
            else:
                assert track_id[b, 1, i] == fresh and is_new[b, 1, i]
                fresh += 1
        assert int(after["last_id"][b]) == fresh - 1
