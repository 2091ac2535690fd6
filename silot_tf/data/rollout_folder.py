"""Recorded episodes that exist already, as a setting of data sets."""

import gin

from silot_tf.data.rollouts import Rollouts


@gin.configurable(module="data")
class RolloutFolder:
    """A folder of recorded episodes; stands where `atari_data.Collection` would record them.

    Args:
      folder: written by `python -m atari_data.collect`, or by an own recorder.
      game: which one it must be of; None accepts any.
      episodes: use only the first so many; None for all.
    """

    def __init__(self, folder: str, game: str | None = None, episodes: int | None = None):
        self._arguments = (folder, game, episodes)

    def open(self) -> Rollouts:
        """The episodes, after comparing checksums. Raises UserError when something is missing or damaged."""
        return Rollouts.open(*self._arguments)
