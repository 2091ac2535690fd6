"""How large the things are that move before a still camera, and how many: blobs of foreground on a sample of frames."""

import dataclasses

import cv2
import numpy as np

from silot_tf.data import video_background

NOISE_FACTOR = 15.0  # the foreground differs from the background by so many times the median difference
THRESHOLD_RANGE = (0.15, 0.6)  # of that; unit: sum over three channels of values in [0, 1]
SMALLEST_SHARE = 0.1  # blobs of a smaller area, compared to the usual one, are specks
# Of pixels that differ once noise is blurred away. Of PETS 2009 S2.L1 3 % do (4 % with noise of 16 levels added), and
# 25 to 55 % where the picture pans by 1 to 4 pixels a frame, zooms or shakes by 28 pixels (our measurement).
MOVING_SHARE = 0.2
_MOVING_DIFFERENCE, _BLUR = 0.1, (5, 5)


@dataclasses.dataclass(frozen=True)
class Blobs:
    """What blobs of foreground tell.

    Attributes:
      size: usual (rows, columns) in pixels, None where there are no blobs.
      per_frame: their number in busy frames (99th percentile).
      changed_share: of the pixels of an ordinary frame that differ from the background; above `MOVING_SHARE` the camera
        moves, or the background is something else.
    """

    size: tuple[float, float] | None
    per_frame: float
    changed_share: float


def threshold_of(frames, background) -> float:
    """Smallest `video_background.difference` of foreground, by the noise of frames `[H,W,3]` uint8."""
    noise = np.median([np.median(video_background.difference(frame, background)) for frame in frames])
    return float(np.clip(NOISE_FACTOR * noise, *THRESHOLD_RANGE))


def measure(frames, background, threshold: float) -> Blobs:
    """Blobs of some frames.

    Those at the border of the frame, whose size is not known, do not count for the size; specks do not count at all.

    Args:
      frames: `[H,W,3]` uint8.
      background: `[H,W,3]` uint8.
      threshold: see `video_background.foreground`.
    """
    sizes, areas, whole, owner, shares = [], [], [], [], []
    smooth = cv2.blur(background, _BLUR)
    for number, frame in enumerate(frames):
        shares.append((video_background.difference(cv2.blur(frame, _BLUR), smooth) >= _MOVING_DIFFERENCE).mean())
        mask = video_background.foreground(frame, background, threshold)
        stats = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)[2][1:]
        low, size = stats[:, [cv2.CC_STAT_TOP, cv2.CC_STAT_LEFT]], stats[:, [cv2.CC_STAT_HEIGHT, cv2.CC_STAT_WIDTH]]
        sizes.append(size)
        areas.append(stats[:, cv2.CC_STAT_AREA])
        whole.append(((low > 0) & (low + size < mask.shape)).all(axis=1))
        owner.append(np.full(len(size), number))
    share = float(np.median(shares))
    sizes, areas, whole, owner = (np.concatenate(parts) for parts in (sizes, areas, whole, owner))
    if not areas.size:
        return Blobs(None, 0.0, share)
    order = np.argsort(areas)
    usual = areas[order][np.searchsorted(np.cumsum(areas[order]), areas.sum() / 2)]  # half of the foreground is larger
    real = areas >= SMALLEST_SHARE * usual
    counts = np.bincount(owner[real], minlength=len(frames))
    measured = sizes[real & whole] if (real & whole).any() else sizes[real]
    height, width = np.median(measured, axis=0)
    return Blobs((float(height), float(width)), float(np.percentile(counts, 99)), share)
