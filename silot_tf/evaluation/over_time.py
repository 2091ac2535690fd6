"""How tracking goes from frame to frame of a clip: errors, identities, presence and count, one number per frame.

Protocol: everything is pooled over the clips of a test set. The errors of frame t are those that CLEAR-MOT makes in
frame t on its way through the clip (see `silot_tf.evaluation.mot`), so that errors summed over frames are those of
whole clips. Numbers without a divisor (no true object, no track in that frame) are NaN.
"""

from collections.abc import Sequence

import numpy as np

from silot_tf.evaluation import mot
from silot_tf.evaluation.counting import COUNTING_THRESHOLD
from silot_tf.evaluation.tracks import Clip

DEFAULT_WINDOW = 8
_EVENTS = {"MISS": "misses", "FP": "false_positives", "SWITCH": "switches"}
#: Sums over clips, one per frame, from which everything else is computed.
_SUMS = (
    "clips", "ground_truth", "misses", "false_positives", "switches", "new_objects", "first_identity",
    "objects", "tracked", "presence", "all_presence", "count_error",
)  # fmt: skip


class OverTime:
    """Collects the batches of a test set and gives its curves over time.

    Args:
      matching_iou: smallest IoU of a match.
      window: frames in the windows of `mota_window`.
      first_frame: number of the frame that the tables begin with (see `tracks.clips_from`).
    """

    def __init__(self, matching_iou: float = mot.DEFAULT_IOU, window: int = DEFAULT_WINDOW, first_frame: int = 0):
        self._matching_iou = matching_iou
        self._window = window
        self._first_frame = first_frame
        self._sums = {name: np.zeros(0) for name in _SUMS}

    def add(self, clips: Sequence[Clip]) -> None:
        """Take in one batch of clips."""
        length = max((len(clip) for clip in clips), default=0)
        sums = {name: np.zeros(max(length, len(old))) for name, old in self._sums.items()}
        for name, old in self._sums.items():
            sums[name][: len(old)] = old
        for clip in clips:
            for t, frame in enumerate(clip):
                tracked = frame.track_id >= 0
                objects = np.sum(frame.confidence > COUNTING_THRESHOLD)
                sums["clips"][t] += 1
                sums["ground_truth"][t] += len(frame.truth_id)
                sums["objects"][t] += objects
                sums["tracked"][t] += np.sum(tracked)
                sums["presence"][t] += np.sum(frame.confidence[tracked])
                sums["all_presence"][t] += np.sum(frame.confidence)
                sums["count_error"][t] += np.abs(objects - len(frame.truth_id))
            seen = np.concatenate([np.full(len(frame.truth_id), t) for t, frame in enumerate(clip)] or [[]])
            truth_id = np.concatenate([frame.truth_id for frame in clip] or [[]])
            _, first = np.unique(truth_id, return_index=True)
            np.add.at(sums["new_objects"], seen[first].astype(int), 1)
        events = mot.events_of(clips, self._matching_iou)
        for kind, name in _EVENTS.items():
            np.add.at(sums[name], events.frame[events.kind == kind], 1)
        np.add.at(sums["first_identity"], events.frame[_has_first_identity(events)], 1)
        self._sums = sums

    def result(self) -> dict[str, np.ndarray]:
        """Name -> `[T]` float64; NaN before `first_frame`. The names are those of `protocol`."""
        sums = self._sums
        errors = sums["misses"] + sums["false_positives"] + sums["switches"]
        window = np.ones(self._window)
        recent_errors, recent_truth = (
            np.convolve(values, window)[: len(values)] if len(values) else values
            for values in (errors, sums["ground_truth"])
        )
        curves = {name: sums[name] for name in ("clips", "ground_truth", *_EVENTS.values())}
        curves["mota"] = 1 - errors / np.maximum(sums["ground_truth"], 1)
        curves["mota_window"] = 1 - recent_errors / np.maximum(recent_truth, 1)
        curves["switches_per_object"] = _ratio(np.cumsum(sums["switches"]), np.cumsum(sums["new_objects"]))
        curves["first_identity"] = _ratio(sums["first_identity"], sums["ground_truth"])
        curves["presence"] = _ratio(sums["presence"], sums["tracked"])
        curves["presence_per_object"] = _ratio(sums["all_presence"], sums["ground_truth"])
        for name, source in (("tracked", "tracked"), ("objects", "objects"), ("true_objects", "ground_truth")):
            curves[name] = _ratio(sums[source], sums["clips"])
        curves["count_error"] = _ratio(sums["count_error"], sums["clips"])
        before = np.full(self._first_frame, np.nan)
        return {name: np.concatenate([before, values]) for name, values in curves.items()}


def protocol(matching_iou: float = mot.DEFAULT_IOU, window: int = DEFAULT_WINDOW) -> dict[str, str]:
    """Name of a curve -> one sentence that says how it is computed."""
    return {
        "clips": "Clips that have this frame.",
        "ground_truth": "Appearances of true objects in this frame, total over clips.",
        "misses": "True objects of this frame without a match, total over clips.",
        "false_positives": "Tracked objects of this frame without a match, total over clips.",
        "switches": "Matches of this frame with another id than the last of the same true object, total over clips.",
        "mota": (
            "1 - (misses + false positives + switches) / appearances of true objects, of this frame alone, counts "
            f"pooled over clips; pairs need IoU >= {matching_iou:g}."
        ),
        "mota_window": f"The same over the last {window} frames up to this one (fewer at the start).",
        "switches_per_object": "Identity switches so far divided by true objects seen so far.",
        "first_identity": (
            "Share of the true objects of this frame whose match has the id that the object was first matched with."
        ),
        "presence": "Mean presence of the objects that have a track id; those that faded below its threshold are gone.",
        "presence_per_object": "Sum of the presences of all objects, with and without a track id, per true object.",
        "tracked": "Objects with a track id per clip.",
        "objects": f"Objects with presence above {COUNTING_THRESHOLD:g} per clip.",
        "true_objects": "Annotated objects per clip.",
        "count_error": f"|objects with presence above {COUNTING_THRESHOLD:g} - annotations|, mean over clips.",
    }


def _has_first_identity(events: mot.Events) -> np.ndarray:
    """`[E]` bool: the event is a match of an object with the track that it was matched with the first time."""
    matched = np.flatnonzero(np.isin(events.kind, ("MATCH", "SWITCH")))
    objects = np.stack([events.clip[matched], events.truth_id[matched]], axis=1)
    _, first, which = np.unique(objects, axis=0, return_index=True, return_inverse=True)
    track_id = events.track_id[matched]
    result = np.zeros(len(events.kind), bool)
    result[matched] = track_id == track_id[first][which.reshape(-1)]
    return result


def _ratio(numerator: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    """The quotient, NaN where the divisor is 0."""
    return np.divide(numerator, divisor, out=np.full(len(divisor), np.nan), where=divisor > 0)
