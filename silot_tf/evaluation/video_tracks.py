"""Tracks of one whole video as rows (frame, id, box): read from files with clear errors, and scored against each other.

Boxes are in pixels of the video, (left, top, width, height), measured from the top-left corner of the frame, where
pixel `k` covers `[k, k + 1]`; frames are counted from 1. This is how MOTChallenge files have them.
"""

import csv
import dataclasses
import math
import pathlib

import numpy as np

from silot_tf.errors import UserError
from silot_tf.evaluation import hota, mot, tracks

TRACKS_HEADER = ("frame", "id", "x", "y", "width", "height", "presence")
_NAMES = ("frame", "id", "left", "top", "width", "height")


@dataclasses.dataclass(frozen=True)
class TrackRows:
    """Boxes with identities, one per row.

    Attributes:
      frame: `[R]` int64, from 1.
      track_id: `[R]` int64, 0 or more.
      boxes: `[R,4]` float64 (left, top, width, height) in pixels.
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


def read_ground_truth(path, num_frames: int, frame_size: tuple[int, int]) -> TrackRows:
    """MOTChallenge rows `frame,id,left,top,width,height[,conf[,...]]`; those with conf 0 are left out.

    Args:
      path: of the text file, commas or blanks between numbers; empty lines and lines that begin with # are skipped.
      num_frames: of the video.
      frame_size: (rows, columns) of the video.

    Raises:
      UserError: naming the row, if it holds something else than these numbers, a frame or a box outside of the video,
        an id below 0, or an id for the second time in a frame; also if there is no row that counts.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UserError(f"ground truth {path} does not exist; expected a text file of MOTChallenge rows")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
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


def _row(line: str, where: str, num_frames: int, frame_size) -> tuple | None:
    """The numbers of one row, None where its conf is 0."""
    cells = line.replace(",", " ").split()
    expected = "expected frame,id,left,top,width,height and perhaps conf: mend the row"
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
    if not 1 <= frame <= num_frames:
        raise UserError(
            f"{where}: frame {frame:.0f} is outside of the video, whose frames are 1 to {num_frames}; give the ground "
            "truth of this video, counted from 1"
        )
    if confidence <= 0:
        return None
    if identity < 0:
        raise UserError(
            f"{where}: id {identity:.0f}; expected 0 or more: rows with id -1 are detections, metrics need tracks"
        )
    if width <= 0 or height <= 0:
        raise UserError(f"{where}: a box of {width:g}x{height:g} pixels; expected width and height above 0")
    if left >= frame_size[1] or top >= frame_size[0] or left + width <= 0 or top + height <= 0:
        raise UserError(
            f"{where}: the box is outside of the frame of {frame_size[1]}x{frame_size[0]} pixels (width x height); "
            "expected boxes in pixels of this video: was it another size when they were drawn?"
        )
    return int(frame), int(identity), left, top, width, height, confidence


def read_tracks(path) -> TrackRows:
    """Rows of a `tracks.csv`. Raises UserError if it is something else."""
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            header, *rows = list(csv.reader(stream)) or [[]]
        if tuple(header) != TRACKS_HEADER:
            raise ValueError(f"its header is {header[:7]}")
        return TrackRows.of([[float(cell) for cell in row] for row in rows])
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as tracks ({error}); track the video again (--mode=track)") from error


def clip_of(found: TrackRows, truth: TrackRows, num_frames: int) -> tracks.Clip:
    """The frames 1 to `num_frames` as one clip for metrics."""
    numbers = np.arange(1, num_frames + 2)
    orders = [np.argsort(rows.frame, kind="stable") for rows in (found, truth)]
    starts = [np.searchsorted(rows.frame[order], numbers) for rows, order in zip((found, truth), orders, strict=True)]
    found_edges, truth_edges = found.edges, truth.edges
    clip = []
    for frame in range(num_frames):
        mine, true = (order[start[frame] : start[frame + 1]] for order, start in zip(orders, starts, strict=True))
        clip.append(
            tracks.Frame(
                boxes=found_edges[mine],
                confidence=found.presence[mine],
                track_id=found.track_id[mine],
                truth_boxes=truth_edges[true],
                truth_id=truth.track_id[true],
            )
        )
    return clip


def score(found: TrackRows, truth: TrackRows, num_frames: int, matching_iou: float = mot.DEFAULT_IOU) -> dict:
    """Metric -> value of all tracks of a video; those of `hota.metrics` only where TrackEval is installed.

    Source: SILOT specification 6.2 for MOTA, see `silot_tf.evaluation.mot`.
    """
    clip = clip_of(found, truth, num_frames)
    counts = mot.track_counts([clip], matching_iou)
    return {
        **mot.metrics(counts),
        **hota.metrics(clip),
        "misses": float(counts.misses),
        "false_positives": float(counts.false_positives),
        "switches": float(counts.switches),
        "ground_truth": float(counts.ground_truth),
        **describe(found, num_frames),
    }


def describe(found: TrackRows, num_frames: int) -> dict[str, float]:
    """What tracks say without ground truth: `tracks`, `objects_per_frame`, `track_frames` (median length)."""
    lengths = np.unique(found.track_id, return_counts=True)[1]
    return {
        "tracks": float(len(lengths)),
        "objects_per_frame": len(found.frame) / num_frames,
        "track_frames": float(np.median(lengths)) if len(lengths) else 0.0,
    }


def protocol(matching_iou: float = mot.DEFAULT_IOU) -> dict[str, str]:
    """Metric -> one sentence that says how it is computed."""
    pairs = f"pairs need IoU >= {matching_iou:g}; all frames of the video are one clip"
    return {
        "mota": f"1 - (misses + switches + false positives) / appearances of true objects; {pairs}; may be negative.",
        "idf1": f"Identity F1: appearances explained by the best one-to-one assignment of whole tracks; {pairs}.",
        **hota.PROTOCOL,
        "misses": f"Appearances of true objects without a match; {pairs}.",
        "false_positives": f"Appearances of tracked objects without a match; {pairs}.",
        "switches": "Matches with another id than the last one of the same true object, however long ago.",
        "ground_truth": "Appearances of true objects; rows of conf 0 are left out.",
        "tracks": "Different ids in the whole video.",
        "objects_per_frame": "Tracked objects per frame, mean over frames.",
        "track_frames": "Median over ids of the number of frames in which they appear.",
    }
