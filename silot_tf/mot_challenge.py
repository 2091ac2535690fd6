"""Ground truth of tracked objects as text, in the format of MOTChallenge, and the rows of it.

One row per object and frame, `frame,id,left,top,width,height[,conf[,...]]`, frames counted from 1, sizes in pixels.

Left and top are taken as distances from the frame's edges. The format counts pixels from 1; files seldom do. Of PETS
2009 S2.L1, reduced to 384x288, the foreground of people who walk alone lies .3 pixels to the right of boxes read like
this, on average of 1,367 (our measurement), and would lie 1.3 pixels to the right of shifted ones.
"""

import dataclasses
import math
import pathlib

import numpy as np

from silot_tf.errors import UserError

_NAMES = ("frame", "id", "left", "top", "width", "height")
_INEXACT = 2**53  # from here on whole numbers are not told apart any more


@dataclasses.dataclass(frozen=True)
class TrackRows:
    """Boxes with identities, one per row; pixel `k` covers `[k, k + 1]`.

    Attributes:
      frame: `[R]` int64, from 1.
      track_id: `[R]` int64, 0 or more.
      boxes: `[R,4]` float64 (left, top, width, height), pixels from the frame's top-left corner.
      presence: `[R]` float64.
    """

    frame: np.ndarray
    track_id: np.ndarray
    boxes: np.ndarray
    presence: np.ndarray

    @classmethod
    def of(cls, rows) -> "TrackRows":
        """Rows of (frame, id, left, top, width, height, presence)."""
        table = np.asarray(rows, np.float64).reshape(-1, 7)
        return cls(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:6], table[:, 6])

    @property
    def edges(self) -> np.ndarray:
        """`[R,4]` (top, bottom, left, right)."""
        left, top, width, height = self.boxes.T
        return np.stack([top, top + height, left, left + width], axis=-1)


def read(path, num_frames: int | None = None, frame_size: tuple[int, int] | None = None) -> TrackRows:
    """The rows of a file, in its order; those with conf 0 are left out.

    Args:
      path: of the text file, UTF-8. Between numbers are commas or, in rows without any, blanks; nothing after the
        seventh counts. Empty lines and lines that begin with # are skipped.
      num_frames: of the video, None if it is not known.
      frame_size: (rows, columns) of the video, None if it is not known.

    Raises:
      UserError: naming the row, if it holds something else than these numbers, an empty cell, a frame or a box outside
        of the video, an id below 0, a frame or an id of 2**53 or more, or an id for the second time in a frame; also if
        there is no row that counts, or no such file.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise UserError(
            f"ground truth {path} is a folder; expected a text file of MOTChallenge rows (often gt/gt.txt inside of it)"
        )
    if not path.is_file():
        raise UserError(f"ground truth {path} does not exist; expected a text file of MOTChallenge rows")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"ground truth {path} cannot be read ({error}); expected a text file") from error
    rows, seen = [], {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        row = _row(line, f"{path}, row {number}", num_frames, frame_size)
        if row is None:
            continue
        if (first := seen.setdefault(row[:2], number)) != number:
            raise UserError(
                f"{path}, row {number}: id {row[1]} in frame {row[0]} again, it was in row {first}; expected every id "
                "at most once in a frame: remove one of them"
            )
        rows.append(row)
    if not rows:
        raise UserError(f"{path} has no row that counts (conf above 0); expected one row for each object in each frame")
    return TrackRows.of(rows)


def _row(line: str, where: str, num_frames, frame_size) -> tuple | None:
    """The numbers of one row, None where its conf is 0."""
    cells = [cell.strip() for cell in line.split(",")] if "," in line else line.split()
    expected = "expected frame,id,left,top,width,height and perhaps conf: mend the row"
    if "" in cells[:7]:
        raise UserError(f"{where}: cell {cells.index('') + 1} is empty ({line.strip()[:60]}); {expected}")
    try:
        values = [float(cell) for cell in cells[:7]]
    except ValueError as error:
        raise UserError(f"{where}: {error}; {expected}") from error
    if len(values) < 6 or not all(math.isfinite(value) for value in values):
        raise UserError(f"{where}: {len(values)} numbers ({line.strip()[:60]}); {expected}")
    frame, identity, left, top, width, height = values[:6]
    confidence = values[6] if len(values) > 6 else 1.0
    for name, value in zip(_NAMES[:2], values[:2], strict=True):
        if value != int(value):
            raise UserError(f"{where}: {name} is {value:g}, expected a whole number: mend the row")
        if abs(value) >= _INEXACT:
            raise UserError(f"{where}: {name} is {value:g}, expected a number below 2**53: mend the row")
    if not 1 <= frame <= (num_frames or math.inf):
        raise UserError(
            f"{where}: frame {frame:.0f} is outside of the video, whose frames are 1 to {num_frames or 'its last'}; "
            "give the ground truth of this video, counted from 1"
        )
    if confidence <= 0:
        return None
    if identity < 0:
        raise UserError(
            f"{where}: id {identity:.0f}; expected 0 or more: rows with id -1 are detections, metrics need tracks"
        )
    if width <= 0 or height <= 0:
        raise UserError(f"{where}: a box of {width:g}x{height:g} pixels; expected width and height above 0")
    rows, columns = frame_size or (math.inf, math.inf)
    if left >= columns or top >= rows or left + width <= 0 or top + height <= 0:
        raise UserError(
            f"{where}: the box is outside of the frame of {columns}x{rows} pixels (width x height); "
            "expected boxes in pixels of this video: was it another size when they were drawn?"
        )
    return int(frame), int(identity), left, top, width, height, confidence
