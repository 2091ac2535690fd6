"""Tracks of one whole video as rows (see `silot_tf.mot_challenge`): read from `tracks.csv`, and scored."""

import csv

import numpy as np

from silot_tf.errors import UserError
from silot_tf.evaluation import hota, mot, tracks
from silot_tf.mot_challenge import TrackRows

TRACKS_HEADER = ("frame", "id", "x", "y", "width", "height", "presence")


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
