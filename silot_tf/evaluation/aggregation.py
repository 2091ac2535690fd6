"""From batches to one number per metric, and from seeds to mean and spread.

Primary protocol: a metric is computed on each batch and averaged over batches, weighted by batch size (this
is how the published numbers were made; average precision and MOTA are not linear, so it depends a little on
the batch size). Beside it the pooled variant: one value over all images or clips of the set, prefix
`pooled_`. What is a share of true objects is NaN for a set without any. Counts (misses, false positives,
switches, ground truth, clips) are totals. The metrics of tracks exist once
more for every further presence threshold, suffix `_above_50` for 0.5.

Source: SILOT specification 6 and D33, D35.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from silot_tf.evaluation import counting, detection, mot, tracks
from silot_tf.evaluation.tracks import Clip


@dataclasses.dataclass(frozen=True)
class ObjectScores:
    """Which numbers the object metrics use.

    Attributes:
      detection_thresholds: IoU thresholds of average precision.
      matching_iou: smallest IoU of a match in MOTA and IDF1.
      presence_thresholds: further thresholds, for each of which tracks are scored without the objects whose presence
        does not exceed it.
    """

    detection_thresholds: tuple[float, ...] = detection.DEFAULT_THRESHOLDS
    matching_iou: float = mot.DEFAULT_IOU
    presence_thresholds: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class BatchMetrics:
    """What one batch contributes to a test set: its size, its own metrics, and what the pooled ones need.

    `counts` are those of all tracks, under the suffix "", and of further presence thresholds, under theirs.
    """

    clips: int
    values: dict[str, float]
    detections: detection.Detections
    counts: dict[str, mot.TrackCounts]


def measure(
    clips: Sequence[Clip], scores: ObjectScores | None = None, more: Mapping[str, float] | None = None
) -> BatchMetrics:
    """Object metrics of one batch.

    Args:
      clips: tables of its clips.
      scores: numbers of the metrics.
      more: further metrics of the batch, to be averaged over batches in the same way.
    """
    scores = scores or ObjectScores()
    detections = detection.detections_of(clips)
    counts = {"": mot.track_counts(clips, scores.matching_iou)}
    for threshold in scores.presence_thresholds:
        counts[threshold_suffix(threshold)] = mot.track_counts(tracks.above(clips, threshold), scores.matching_iou)
    values = {
        **detection.metrics(detections, scores.detection_thresholds),
        **_track_metrics(counts),
        **counting.metrics(clips),
        **(more or {}),
    }
    return BatchMetrics(len(clips), values, detections, counts)


class SetMetrics:
    """Collects the batches of one test set and gives its metrics."""

    def __init__(self, scores: ObjectScores | None = None):
        self._scores = scores or ObjectScores()
        self._batches: list[BatchMetrics] = []

    def add(self, clips: Sequence[Clip], more: Mapping[str, float] | None = None) -> None:
        """Measure one batch and take it in; see `measure`."""
        self.include(measure(clips, self._scores, more))

    def include(self, batch: BatchMetrics) -> None:
        """Take in a batch that was measured with the same scores; one without clips is ignored."""
        if batch.clips:
            self._batches.append(batch)

    def result(self) -> dict[str, float]:
        """Metric -> value over all batches so far; empty when there was none."""
        if not self._batches:
            return {}
        counts = {
            suffix: sum((batch.counts[suffix] for batch in self._batches), mot.TrackCounts())
            for suffix in self._batches[0].counts
        }
        detections = detection.merge([batch.detections for batch in self._batches])
        pooled = {
            **detection.metrics(detections, self._scores.detection_thresholds),
            **_track_metrics(counts),
        }
        totals = {}
        for suffix, count in counts.items():
            totals[f"misses{suffix}"] = float(count.misses)
            totals[f"false_positives{suffix}"] = float(count.false_positives)
            totals[f"switches{suffix}"] = float(count.switches)
        means = weighted_mean([(batch.clips, batch.values) for batch in self._batches])
        if not counts[""].ground_truth:
            pooled = dict.fromkeys(pooled, math.nan)
            shares = (name for name in ("count_error_relative", *pooled) if name in means)
            means |= dict.fromkeys(shares, math.nan)
        return {
            **means,
            **{f"pooled_{name}": value for name, value in pooled.items()},
            **totals,
            "ground_truth": float(counts[""].ground_truth),
            "clips": float(sum(batch.clips for batch in self._batches)),
        }


def threshold_suffix(threshold: float) -> str:
    """What names of metrics end in for a further presence threshold, `_above_50` for 0.5."""
    return f"_above_{round(100 * threshold):02d}"


def _track_metrics(counts: Mapping[str, mot.TrackCounts]) -> dict[str, float]:
    return {name + suffix: value for suffix, c in counts.items() for name, value in mot.metrics(c).items()}


def weighted_mean(batches: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, float]:
    """Mean of each metric over the (weight, metrics) pairs that have it; NaN is passed on."""
    names = dict.fromkeys(name for _, values in batches for name in values)
    result = {}
    for name in names:
        having = [(weight, values[name]) for weight, values in batches if name in values]
        result[name] = float(np.average([value for _, value in having], weights=[weight for weight, _ in having]))
    return result
