"""Which clips are cut out of recorded episodes."""

import itertools
import math

import numpy as np
import pytest

from silot_tf.data import clip_windows
from silot_tf.errors import UserError


@pytest.mark.parametrize("order", clip_windows.ORDERS)
@pytest.mark.parametrize(
    ("count", "held_out", "each"), [(37, 5, 5), (37, 0.05, 2), (80, 0.05, 4), (3, 0.05, 1), (3, 1, 1)]
)
def test_every_episode_belongs_to_one_split(count, held_out, each, order):
    split = clip_windows.split_episodes(count, held_out, order)
    assert sorted(itertools.chain(*split.values())) == list(range(count))
    assert len(split["val"]) == len(split["test"]) == each


def test_last_episodes_are_for_tests_and_those_before_for_validation():
    split = clip_windows.split_episodes(10, 2, "last")
    assert split == {"train": [0, 1, 2, 3, 4, 5], "val": [6, 7], "test": [8, 9]}


def test_shuffled_split_depends_on_its_seed_only():
    assert clip_windows.split_episodes(40, 5) == clip_windows.split_episodes(40, 5, seed=4)
    assert clip_windows.split_episodes(40, 5) != clip_windows.split_episodes(40, 5, seed=5)
    assert clip_windows.split_episodes(40, 5)["test"] != list(range(35, 40))


def test_too_few_episodes_are_refused_with_the_number_needed():
    with pytest.raises(UserError, match=r"2 episodes are too few.*record 3 or more"):
        clip_windows.split_episodes(2, 0.05)
    with pytest.raises(UserError, match="record 11 or more"):
        clip_windows.split_episodes(10, 5)


@pytest.mark.parametrize("density", [1.0, 0.5, 0.05])
def test_windows_are_different_inside_their_episode_and_as_many_as_the_density_says(density):
    lengths = {2: 30, 5: 8, 7: 107, 9: 7}
    windows = clip_windows.draw_windows(lengths, 8, density, 10**6, (0, 1))
    assert len({tuple(w) for w in windows.tolist()}) == len(windows)
    for episode, length in lengths.items():
        starts = windows[windows[:, 0] == episode, 1]
        assert len(starts) == math.ceil(density * max(0, length - 7))
        assert len(starts) == 0 or (starts.min() >= 0 and starts.max() <= length - 8)


def test_windows_depend_on_the_seed_and_not_on_other_episodes():
    def draw(lengths, seed):
        return clip_windows.draw_windows(lengths, 4, 0.3, 10**6, seed)

    both, alone = draw({0: 60, 1: 60}, (3, 0)), draw({1: 60}, (3, 0))
    np.testing.assert_array_equal(both, draw({0: 60, 1: 60}, (3, 0)))
    assert sorted(both[both[:, 0] == 1].tolist()) == sorted(alone.tolist())
    for other in ((4, 0), (3, 1)):
        assert sorted(both.tolist()) != sorted(draw({0: 60, 1: 60}, other).tolist())
    assert sorted(both[both[:, 0] == 0, 1].tolist()) != sorted(both[both[:, 0] == 1, 1].tolist())


def test_limit_takes_a_random_part_of_all_windows():
    windows = clip_windows.draw_windows({0: 1000, 1: 1000}, 8, 0.5, 200, (0,))
    every = clip_windows.draw_windows({0: 1000, 1: 1000}, 8, 0.5, 10**6, (0,))
    assert len(windows) == 200 and len(every) == 994
    np.testing.assert_array_equal(windows, every[:200])
    assert abs((windows[:, 0] == 0).sum() - 100) < 40 and abs(windows[:, 1].mean() - 496) < 120


def test_episodes_shorter_than_a_clip_are_refused():
    with pytest.raises(UserError, match="at most 7 frames hold no clip of 8"):
        clip_windows.draw_windows({0: 7, 1: 3}, 8, 0.5, 100, (0,))
