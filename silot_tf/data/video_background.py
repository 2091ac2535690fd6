"""What a camera that does not move sees behind the objects, from a running sample of its frames."""

from collections.abc import Iterable

import cv2
import numpy as np

from silot_tf.errors import UserError

METHODS = ("median", "mog2", "none")


class RunningSample:
    """At most `most` frames, evenly spread over all that came by, however many these are.

    Every `stride`-th frame is kept; when there are too many, every other one is dropped and the stride doubles.

    Args:
      most: frames to keep, an even number; what is kept is at least half of it once so many came by.
    """

    def __init__(self, most: int = 200):
        if most < 2 or most % 2:
            raise UserError(f"a running sample of {most} frames is not possible; expected an even number from 2 on")
        self.frames: list[np.ndarray] = []
        self.stride = 1
        self._most, self._seen = most, 0

    def add(self, frame: np.ndarray) -> None:
        """See one more frame; it is kept as it is, not copied."""
        if self._seen % self.stride == 0:
            if len(self.frames) == self._most:
                self.frames, self.stride = self.frames[::2], 2 * self.stride
            if self._seen % self.stride == 0:
                self.frames.append(frame)
        self._seen += 1


def estimate(frames: Iterable[np.ndarray], method: str) -> np.ndarray:
    """Background image `[H,W,3]` uint8 of some frames `[H,W,3]` uint8 in order of time.

    Args:
      frames: at least one.
      method: "median" of each pixel and channel over the frames; "mog2", what a mixture of Gaussians per pixel
        (Zivkovic 2004, OpenCV's `BackgroundSubtractorMOG2`) takes for background at the last frame, which follows slow
        changes of light; "none", the median once more: no model is told of it, but what moves must be known to measure
        objects and to lay training clips around them.
    """
    frames = list(frames)
    if method not in METHODS:
        raise UserError(f"background '{method}' is unknown; expected one of {', '.join(METHODS)}")
    if method == "mog2":
        mixture = cv2.createBackgroundSubtractorMOG2(history=len(frames), detectShadows=False)
        mixture.setBackgroundRatio(0.5)  # the most frequent mode alone; more would blend passers-by into it
        for frame in frames:
            mixture.apply(frame)
        return mixture.getBackgroundImage()
    rows = max(1, 2_000_000 // (len(frames) * frames[0][0].size))  # a few rows at a time: sorting copies its input
    return np.concatenate(
        [
            np.median([frame[top : top + rows] for frame in frames], axis=0).astype(np.uint8)
            for top in range(0, len(frames[0]), rows)
        ]
    )


def difference(frames: np.ndarray, background: np.ndarray) -> np.ndarray:
    """`[...,H,W]` float32 in [0, 3]: sum over channels of |frame - background|, of uint8 frames `[...,H,W,3]`."""
    return np.abs(frames.astype(np.int16) - background.astype(np.int16)).sum(axis=-1, dtype=np.int16) / np.float32(255)


def foreground(frame: np.ndarray, background: np.ndarray, threshold: float) -> np.ndarray:
    """`[H,W]` bool: where one frame `[H,W,3]` differs from the background, small holes closed and specks removed.

    Args:
      frame, background: uint8.
      threshold: smallest `difference` of the foreground.
    """
    mask = (difference(frame, background) >= threshold).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(bool)
