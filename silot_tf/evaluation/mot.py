"""CLEAR-MOT and identity metrics of tracks.

Protocol: hypotheses are the objects with a track id (presence above the model's threshold). A pair may match
if its distance 1 - IoU is at most 0.5, so IoU of exactly 0.5 is allowed. In each frame pairs of the frame
before are kept while allowed; the others are assigned at smallest total distance. A match with another id
than the last one of the same true object is a switch, however long the object was lost. MOTA = 1 - (misses +
switches + false positives) / appearances, counts pooled over the clips of a batch; it may be negative.
Without any appearance the divisor is 1, so that a silent tracker has 1 and every false positive costs 1.

The events come from a motmetrics accumulator: one for a whole batch with ids made distinct between clips,
because reading its events through pandas once per clip would take longer than everything else.

Source: SILOT specification 6.2; Bernardin and Stiefelhagen 2008; Ristani et al. 2016 (IDF1).
"""

import dataclasses
from collections.abc import Sequence

import motmetrics
import numpy as np
from scipy import optimize

from silot_tf.evaluation.tracks import Clip, Frame

DEFAULT_IOU = 0.5


@dataclasses.dataclass(frozen=True)
class TrackCounts:
    """Counts over a set of clips; sets add up with `+`.

    Attributes:
      misses: true objects without a match, summed over frames.
      false_positives: hypotheses without a match, summed over frames.
      switches: matches with another id than the last one.
      ground_truth: appearances of true objects, summed over frames.
      hypotheses: appearances of hypotheses, summed over frames.
      identity_matches: appearances explained by the best one-to-one assignment of whole tracks (IDTP).
    """

    misses: int = 0
    false_positives: int = 0
    switches: int = 0
    ground_truth: int = 0
    hypotheses: int = 0
    identity_matches: int = 0

    def __add__(self, other: "TrackCounts") -> "TrackCounts":
        mine, others = dataclasses.astuple(self), dataclasses.astuple(other)
        return TrackCounts(*(a + b for a, b in zip(mine, others, strict=True)))

    @property
    def mota(self) -> float:
        """Multi-object tracking accuracy, at most 1."""
        errors = self.misses + self.false_positives + self.switches
        return 1.0 - errors / max(self.ground_truth, 1)

    @property
    def idf1(self) -> float:
        """Identity F1 in [0, 1]: 2 IDTP / (appearances + hypotheses), 1 when both are 0."""
        total = self.ground_truth + self.hypotheses
        return 2 * self.identity_matches / total if total else 1.0


@dataclasses.dataclass(frozen=True)
class Events:
    """What became of true objects and hypotheses, one entry per event, in order of time within each clip.

    Attributes:
      clip, frame: `[E]` int64, number of the clip and of the frame within it.
      kind: `[E]` str, one of "MATCH", "SWITCH" (a match with another id than the last one), "MISS", "FP".
      truth_id, track_id: `[E]` float64, NaN where the event has none.
    """

    clip: np.ndarray
    frame: np.ndarray
    kind: np.ndarray
    truth_id: np.ndarray
    track_id: np.ndarray


def events_of(clips: Sequence[Clip], matching_iou: float = DEFAULT_IOU) -> Events:
    """The events of the clips of one batch.

    Args:
      clips: see `silot_tf.evaluation.tracks`.
      matching_iou: smallest IoU of a pair that may match.
    """
    # No limit on the time after which a re-found object counts as a switch (specification 6.2).
    accumulator = motmetrics.MOTAccumulator(max_switch_time=float("inf"))
    places, truth_starts, track_starts = [], [0], [0]
    for number, clip in enumerate(clips):
        for t, frame in enumerate(clip):
            accumulator.update(
                truth_starts[-1] + frame.truth_id,
                track_starts[-1] + frame.track_id[frame.track_id >= 0],
                _distances(frame, matching_iou),
                frameid=len(places),
            )
            places.append((number, t))
        truth_starts.append(truth_starts[-1] + 1 + max((int(f.truth_id.max(initial=0)) for f in clip), default=0))
        track_starts.append(track_starts[-1] + 1 + max((int(f.track_id.max(initial=0)) for f in clip), default=0))
    if not places:
        return Events(*(np.zeros(0, dtype) for dtype in (np.int64, np.int64, str, np.float64, np.float64)))
    table = accumulator.events
    table = table[table["Type"].isin(("MATCH", "SWITCH", "MISS", "FP"))]
    clip, frame = np.array(places)[table.index.get_level_values(0).to_numpy(np.int64)].T
    truth_id, track_id = (table[column].to_numpy(np.float64) for column in ("OId", "HId"))
    return Events(
        clip,
        frame,
        table["Type"].to_numpy(str),
        truth_id - np.array(truth_starts)[clip],
        track_id - np.array(track_starts)[clip],
    )


def track_counts(clips: Sequence[Clip], matching_iou: float = DEFAULT_IOU) -> TrackCounts:
    """Counts of the clips of one batch; arguments as in `events_of`."""
    kinds, numbers = np.unique(events_of(clips, matching_iou).kind, return_counts=True)
    events = dict(zip(kinds.tolist(), numbers.tolist(), strict=True))
    frames = [frame for clip in clips for frame in clip]
    return TrackCounts(
        misses=events.get("MISS", 0),
        false_positives=events.get("FP", 0),
        switches=events.get("SWITCH", 0),
        ground_truth=sum(len(frame.truth_id) for frame in frames),
        hypotheses=sum(int(np.sum(frame.track_id >= 0)) for frame in frames),
        identity_matches=sum(_identity_matches(clip, matching_iou) for clip in clips),
    )


def metrics(counts: TrackCounts) -> dict[str, float]:
    """`mota` and `idf1`."""
    return {"mota": counts.mota, "idf1": counts.idf1}


def _distances(frame: Frame, matching_iou: float) -> np.ndarray:
    """`[G,P]` distances of true objects and hypotheses, NaN for pairs that may not match."""
    distances = 1.0 - frame.overlaps[frame.track_id >= 0].T
    distances[distances > 1.0 - matching_iou] = np.nan
    return distances


def _identity_matches(clip: Clip, matching_iou: float) -> int:
    """Appearances explained by the best one-to-one assignment of whole tracks."""
    together: dict[tuple[int, int], int] = {}
    for frame in clip:
        track_id = frame.track_id[frame.track_id >= 0]
        for g, h in zip(*np.nonzero(np.isfinite(_distances(frame, matching_iou))), strict=True):
            pair = (int(frame.truth_id[g]), int(track_id[h]))
            together[pair] = together.get(pair, 0) + 1
    return _best_assignment(together)


def _best_assignment(together: dict[tuple[int, int], int]) -> int:
    """Largest total of a one-to-one assignment of true objects to tracks, given shared frames per pair."""
    if not together:
        return 0
    truths = {g: i for i, g in enumerate(sorted({g for g, _ in together}))}
    tracks = {h: i for i, h in enumerate(sorted({h for _, h in together}))}
    shared = np.zeros((len(truths), len(tracks)), np.int64)
    for (g, h), frames in together.items():
        shared[truths[g], tracks[h]] = frames
    rows, columns = optimize.linear_sum_assignment(shared, maximize=True)
    return int(shared[rows, columns].sum())
