"""Identities that survive a loss: what is found anew where a lost object should be by now is taken for it.

A model that has lost an object (hidden, or faded) finds it again as something new. The identities of a whole video then
break although every frame is right. Here lost objects are expected to move on as they did, and new ones nearby get
their names; nothing looks into the future, and what is remembered does not grow with the video.
"""

import collections
import dataclasses

import numpy as np
from scipy.optimize import linear_sum_assignment

_FAR = 1e9  # cost of pairs that are no match


@dataclasses.dataclass
class _Track:
    """What is remembered of an object: its last frames and centres (y, x), and its last side (root of the area)."""

    frames: collections.deque
    centres: collections.deque
    side: float = 0.0

    @classmethod
    def new(cls, memory: int) -> "_Track":
        return cls(collections.deque(maxlen=memory), collections.deque(maxlen=memory))

    def add(self, frame: int, centre: np.ndarray, side: float) -> None:
        self.frames.append(frame)
        self.centres.append(centre)
        self.side = side

    def expected(self, frame: int) -> np.ndarray:
        """(y, x) of the centre in a later frame, at the velocity of the last frames (least squares)."""
        times, centres = np.array(self.frames, float), np.array(self.centres)
        times -= times.mean()
        spread = (times**2).sum()
        velocity = (times[:, None] * centres).sum(axis=0) / spread if spread else np.zeros(2)
        return centres[-1] + velocity * (frame - self.frames[-1])


class Reconnection:
    """Renames the identities of one video, frame after frame.

    Args:
      frames: for so many frames a lost object is waited for; 0 renames nothing.
      reach: largest distance between the centre of a new object and the place where the lost one is expected, in sides
        of their boxes (root of the area; geometric mean of both).
      memory: frames from which the velocity of an object is taken.
    """

    def __init__(self, frames: int, reach: float = 1.0, memory: int = 8):
        self._frames, self._reach, self._memory = frames, reach, memory
        self._names: dict[int, int] = {}  # identity as found -> as told
        self._seen: dict[int, int] = {}  # identity as found -> last frame
        self._tracks: dict[int, _Track] = {}  # by identity as told
        self._next_name = 1

    def rename(self, frame: int, ids, edges) -> list[int]:
        """Identities to tell for the objects of the next frame: numbers from 1 on in order of appearance, no two alike.

        Args:
          frame: its number, larger than that of the call before.
          ids: `[P]` identities as found, no two alike.
          edges: `[P,4]` (top, bottom, left, right), any unit.
        """
        ids, edges = [int(identity) for identity in ids], np.asarray(edges, float).reshape(-1, 4)
        if not self._frames:
            return ids
        self._forget(frame)
        centres = np.stack([edges[:, :2].mean(axis=1), edges[:, 2:].mean(axis=1)], axis=-1)
        sides = np.sqrt(np.prod(edges[:, 1::2] - edges[:, ::2], axis=1))
        here = {self._names.get(identity) for identity in ids}
        lost = [name for name in self._tracks if name not in here]
        new = [k for k, identity in enumerate(ids) if identity not in self._names]
        for name, k in self._matches(frame, lost, new, centres, sides):
            self._names[ids[k]] = name
        told = []
        for k in range(len(ids)):
            name = self._names.get(ids[k])
            if name is None or name in told:  # two that were taken for one are there at once
                name, self._next_name = self._next_name, self._next_name + 1
            self._names[ids[k]], self._seen[ids[k]] = name, frame
            told.append(name)
            self._tracks.setdefault(name, _Track.new(self._memory)).add(frame, centres[k], sides[k])
        return told

    def _matches(self, frame: int, lost: list[int], new: list[int], centres, sides):
        """Pairs (name of a lost object, index of a new one) of the smallest distances in sum."""
        if not lost or not new:
            return
        expected = np.stack([self._tracks[name].expected(frame) for name in lost])
        scale = np.sqrt(np.outer([self._tracks[name].side for name in lost], sides[new]))
        distance = np.linalg.norm(expected[:, None] - centres[new], axis=-1)
        cost = np.where(distance <= self._reach * scale, distance / np.maximum(scale, 1e-9), _FAR)
        for i, j in zip(*linear_sum_assignment(cost), strict=True):
            if cost[i, j] < _FAR:
                yield lost[i], new[j]

    def _forget(self, frame: int) -> None:
        """Drop what has been lost for too long."""
        self._tracks = {n: track for n, track in self._tracks.items() if frame - track.frames[-1] <= self._frames}
        self._seen = {i: last for i, last in self._seen.items() if frame - last <= self._frames}
        self._names = {i: name for i, name in self._names.items() if i in self._seen}
