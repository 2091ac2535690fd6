"""Which clips to cut out of recorded episodes: whole episodes per split, random windows of successive frames in each.

Source: SILOT specification 5.4 and D41.
"""

import math
import numbers
from collections.abc import Mapping, Sequence

import numpy as np

from silot_tf.errors import UserError

SPLITS = ("train", "val", "test")
ORDERS = ("shuffled", "last")


def split_episodes(count: int, held_out: float, order: str = "shuffled", seed: int = 4) -> dict[str, list[int]]:
    """Numbers of the episodes of each split, in increasing order; every episode belongs to one split.

    Args:
      count: number of episodes.
      held_out: how many episodes are for validation, and as many for tests: an int, or a float that is a share of all
        episodes, rounded up.
      order: "shuffled" draws a permutation by `seed`; "last" keeps the order. The last ones are for tests, those before
        for validation.
      seed: of the permutation.

    Raises:
      UserError: if nothing is left for training.
    """
    if not isinstance(held_out, numbers.Integral):
        held_out = max(1, math.ceil(held_out * count - 1e-9))
    if count < 2 * held_out + 1:
        raise UserError(
            f"{count} episodes are too few: held_out takes {held_out} for validation and {held_out} for tests, and "
            f"training needs at least one; record {2 * held_out + 1} or more, or hold out fewer"
        )
    episodes = np.random.default_rng(seed).permutation(count) if order == "shuffled" else np.arange(count)
    edges = {"train": (0, -2 * held_out), "val": (-2 * held_out, -held_out), "test": (-held_out, None)}
    return {split: sorted(episodes[slice(*edges[split])].tolist()) for split in SPLITS}


def draw_windows(
    lengths: Mapping[int, int], num_frames: int, density: float, most: int, seed: Sequence[int]
) -> np.ndarray:
    """(episode, first frame) of clips at random different starts, `[C,2]` int, in random order.

    Of an episode of E frames come `ceil(density * (E - num_frames + 1))` clips. An episode's starts do not depend on
    the other episodes; which of them are left out when there are more than `most` in all does.

    Args:
      lengths: episode -> its number of frames.
      num_frames: of a clip.
      density: share of all possible starts, in (0, 1].
      most: at most so many clips.
      seed: non-negative integers.

    Raises:
      UserError: if no episode is long enough for a clip.
    """

    def generator(*key):
        return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))

    found = []
    for episode, length in lengths.items():
        possible = length - num_frames + 1
        if possible > 0:
            count = math.ceil(density * possible - 1e-9)
            chosen = generator(episode).choice(possible, count, replace=False)
            found.append(np.stack([np.full(count, episode), chosen], axis=-1))
    if not found:
        raise UserError(
            f"recorded episodes of at most {max(lengths.values(), default=0)} frames hold no clip of {num_frames} "
            "frames; record longer episodes, or ask for shorter clips"
        )
    # Random order also on disk: neighbours in a shuffle buffer then come from everywhere.
    return generator().permutation(np.concatenate(found))[:most]
