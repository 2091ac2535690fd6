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

from silot_tf.evaluation.tracks import Clip

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


def track_counts(clips: Sequence[Clip], matching_iou: float = DEFAULT_IOU) -> TrackCounts:
    """Counts of the clips of one batch.

    Args:
      clips: see `silot_tf.evaluation.tracks`.
      matching_iou: smallest IoU of a pair that may match.
    """
    # No limit on the time after which a re-found object counts as a switch (specification 6.2).
    accumulator = motmetrics.MOTAccumulator(max_switch_time=float("inf"))
    frame_number = identity_matches = truth_start = hypothesis_start = 0
    ground_truth = hypotheses = 0
    for clip in clips:
        together: dict[tuple[int, int], int] = {}
        for frame in clip:
            tracked = frame.track_id >= 0
            truth_id, track_id = frame.truth_id, frame.track_id[tracked]
            distances = 1.0 - frame.overlaps[tracked].T
            distances[distances > 1.0 - matching_iou] = np.nan
            accumulator.update(truth_start + truth_id, hypothesis_start + track_id, distances, frameid=frame_number)
            frame_number += 1
            ground_truth += len(truth_id)
            hypotheses += len(track_id)
            for g, h in zip(*np.nonzero(np.isfinite(distances)), strict=True):
                pair = (int(truth_id[g]), int(track_id[h]))
                together[pair] = together.get(pair, 0) + 1
        identity_matches += _best_assignment(together)
        truth_start += 1 + max((int(frame.truth_id.max(initial=0)) for frame in clip), default=0)
        hypothesis_start += 1 + max((int(frame.track_id.max(initial=0)) for frame in clip), default=0)
    events = accumulator.events["Type"].value_counts() if frame_number else {}
    return TrackCounts(
        misses=int(events.get("MISS", 0)),
        false_positives=int(events.get("FP", 0)),
        switches=int(events.get("SWITCH", 0)),
        ground_truth=ground_truth,
        hypotheses=hypotheses,
        identity_matches=identity_matches,
    )


def metrics(counts: TrackCounts) -> dict[str, float]:
    """`mota` and `idf1`."""
    return {"mota": counts.mota, "idf1": counts.idf1}


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
