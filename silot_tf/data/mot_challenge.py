"""Ground truth of tracked objects as text, in the format of MOTChallenge.

One row per object and frame: `frame, id, left, top, width, height, confidence, ...`, frames counted from 1, sizes in
pixels; rows of confidence 0 are not objects to be found.
"""

import dataclasses
import pathlib

import numpy as np

from silot_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Boxes:
    """All boxes of a video, in order of frames.

    Attributes:
      frame: `[R]` int64, counted from 0.
      track_id: `[R]` int64.
      edges: `[R,4]` float64 (top, bottom, left, right), pixels; pixel k covers `[k, k + 1]`.
    """

    frame: np.ndarray
    track_id: np.ndarray
    edges: np.ndarray


def read(path) -> Boxes:
    """The boxes in a file.

    Left and top are taken as distances from the frame's edges. The format counts pixels from 1; files seldom do. Of
    PETS 2009 S2.L1, reduced to 384x288, the foreground of people who walk alone lies .3 pixels to the right of boxes
    read like this, on average of 1,367 (our measurement), and would lie 1.3 pixels to the right of shifted ones.

    Raises:
      UserError: if it cannot be read, or a row makes no sense.
    """
    path = pathlib.Path(path)
    try:
        rows = np.loadtxt(path, delimiter=",", ndmin=2, usecols=range(7))
    except OSError as error:
        raise UserError(
            f"ground truth {path} cannot be read ({error.strerror or error}); give a MOTChallenge file"
        ) from error
    except ValueError as error:
        summary = " ".join(str(error).split())
        raise UserError(
            f"ground truth {path} is not in the format of MOTChallenge ({summary}); expected rows of numbers "
            "frame,id,left,top,width,height,confidence with commas between them"
        ) from error
    if not np.all(np.isfinite(rows)) or np.any(rows[:, 0] < 1) or np.any(rows[:, 4:6] <= 0):
        raise UserError(
            f"ground truth {path} has a row with a frame below 1, or with a width or height that is not above 0; "
            "expected frames counted from 1 and sizes in pixels"
        )
    rows = rows[rows[:, 6] > 0]
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    left, top = rows[:, 2], rows[:, 3]
    edges = np.stack([top, top + rows[:, 5], left, left + rows[:, 4]], axis=-1)
    return Boxes(rows[:, 0].astype(np.int64) - 1, rows[:, 1].astype(np.int64), edges)
