"""Names of objects that are lost and found again."""

import numpy as np
import pytest

from silot_tf.evaluation.reconnection import Reconnection

SIDE = 10.0


def edges(*centres):
    centres = np.array(centres, float).reshape(-1, 2)
    return np.stack([centres[:, 0] - 5, centres[:, 0] + 5, centres[:, 1] - 5, centres[:, 1] + 5], axis=-1)


def names_of(reconnection, frames):
    """Names told for frames of (id, y, x), None for a frame that is empty."""
    return [
        reconnection.rename(t, [o[0] for o in objects], edges(*(o[1:] for o in objects)))
        for t, objects in enumerate(frames)
    ]


def test_what_comes_back_where_it_should_be_keeps_its_name():
    """Three pixels a frame to the right, hidden in five frames: found anew 18 pixels on, more than a side away."""
    frames = [[(0, 50, 3 * t)] for t in range(6)] + [[]] * 5 + [[(4, 50, 33)]]
    assert names_of(Reconnection(6), frames)[-1] == [1]
    assert names_of(Reconnection(5), frames)[-1] == [2]  # waited for five frames only
    at_rest = [[(0, 50, 15)]] * 6 + [[]] * 5 + [[(4, 50, 33)]]
    assert names_of(Reconnection(6), at_rest)[-1] == [2]  # not where something at rest should be
    assert names_of(Reconnection(6, reach=2.0), at_rest)[-1] == [1]


def test_nobody_gets_the_name_of_somebody_who_is_there():
    frames = [[(0, 50, 50)], [(0, 50, 50), (1, 50, 53)], [(1, 50, 53), (0, 50, 50)]]
    assert names_of(Reconnection(5), frames) == [[1], [1, 2], [2, 1]]


def test_two_that_come_back_are_told_apart_by_the_smallest_distances_in_sum():
    frames = [[(0, 50, 50), (1, 50, 56)], [], [(2, 50, 55), (3, 50, 48)]]
    assert names_of(Reconnection(5), frames)[-1] == [2, 1]


def test_two_that_were_taken_for_one_get_two_names_when_both_are_there():
    frames = [[(0, 50, 50)], [], [(3, 50, 51)], [(0, 50, 50), (3, 50, 58)], [(0, 50, 50), (3, 50, 58)]]
    assert names_of(Reconnection(5), frames) == [[1], [], [1], [1, 2], [1, 2]]


def test_without_frames_ids_stay_as_they_are():
    assert Reconnection(0).rename(0, np.array([7, 3]), edges((1, 1), (9, 9))) == [7, 3]


def test_names_are_never_given_twice_and_memory_does_not_grow():
    random, reconnection, last_seen = np.random.default_rng(0), Reconnection(4), {}
    for t in range(400):
        ids = [t * 10 + k for k in range(3)]  # a model that finds everything anew in every frame
        for name in reconnection.rename(t, ids, edges(*random.uniform(0, 500, (3, 2)))):
            assert t - last_seen.get(name, t) <= 4
            last_seen[name] = t
    assert len(last_seen) > 900
    assert max(len(reconnection._names), len(reconnection._seen), len(reconnection._tracks)) <= 15


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_units_do_not_matter(scale):
    frames = [[(0, 50, 3 * t)] for t in range(6)] + [[]] * 5
    reconnection = Reconnection(6)
    for t, objects in enumerate(frames):
        reconnection.rename(t, [o[0] for o in objects], scale * edges(*(o[1:] for o in objects)))
    assert reconnection.rename(11, [9], scale * edges((50, 42))) == [1]
    assert reconnection.rename(12, [10, 9], scale * edges((50, 60), (50, 42))) == [2, 1]
