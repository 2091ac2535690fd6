"""Average precision of boxes, one class, averaged over IoU thresholds.

Protocol: every object with presence > 0 is a prediction, its confidence is its presence, or the model's
`confidence` where it gives one (presence may be a yes or no). An image is one frame. In each image predictions
are visited by decreasing confidence; the true box with the largest IoU (the first of equals, also when it is
already taken) decides: true positive if that IoU is strictly above the threshold and the box still free, false
positive otherwise. All images of a batch are pooled and sorted by decreasing confidence (stable); precision is
interpolated at the eleven recalls 0, 0.1 ... 1. Without predictions, or without any true box, the
value is 0.

Source: SILOT specification 6.1; Everingham et al. 2010 (eleven-point interpolation).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from silot_tf.evaluation.tracks import Clip

DEFAULT_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# k/10 instead of multiples of 0.1: the nearest doubles, so that "recall exactly 0.3" compares as meant
_RECALLS = np.arange(11) / 10
_RECALL_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Detections:
    """What average precision needs to know about a set of images; sets add up with `merge`.

    Attributes:
      confidence: `[P]` float64, all predictions, image by image.
      overlap: `[P]` float64, largest IoU with a true box of the same image, -1 where the image has none.
      target: `[P]` int64, number of that box within the set.
      num_truth: number of true boxes.
    """

    confidence: np.ndarray
    overlap: np.ndarray
    target: np.ndarray
    num_truth: int


def detections_of(clips: Sequence[Clip]) -> Detections:
    """Detections of all frames of some clips."""
    confidence, overlap, target = [np.empty(0)], [np.empty(0)], [np.empty(0, np.int64)]
    num_truth = 0
    for clip in clips:
        for frame in clip:
            predictions, truths = frame.overlaps.shape
            confidence.append(frame.confidence if frame.score is None else frame.score)
            if truths and predictions:
                best = np.argmax(frame.overlaps, axis=1)
                overlap.append(frame.overlaps[np.arange(predictions), best])
                target.append(num_truth + best)
            else:
                overlap.append(np.full(predictions, -1.0))
                target.append(np.full(predictions, -1))
            num_truth += truths
    return Detections(np.concatenate(confidence), np.concatenate(overlap), np.concatenate(target), num_truth)


def merge(parts: Sequence[Detections]) -> Detections:
    """One set of detections out of one or more; the true boxes of each part stay distinct."""
    targets, num_truth = [], 0
    for part in parts:
        targets.append(np.where(part.target >= 0, part.target + num_truth, -1))
        num_truth += part.num_truth
    return Detections(
        confidence=np.concatenate([part.confidence for part in parts]),
        overlap=np.concatenate([part.overlap for part in parts]),
        target=np.concatenate(targets),
        num_truth=num_truth,
    )


def average_precision(detections: Detections, thresholds: Sequence[float] = DEFAULT_THRESHOLDS) -> np.ndarray:
    """`[len(thresholds)]` float64 average precision at each IoU threshold, in [0, 1]."""
    values = np.zeros(len(thresholds))
    if not len(detections.confidence) or not detections.num_truth:
        return values
    order = np.argsort(-detections.confidence, kind="stable")
    overlap, target = detections.overlap[order], detections.target[order]
    ranks = np.arange(1, len(order) + 1)
    for i, threshold in enumerate(thresholds):
        hits = np.flatnonzero(overlap > threshold)
        # the first hit of each true box counts; stable order keeps the order inside an image
        _, first = np.unique(target[hits], return_index=True)
        correct = np.zeros(len(order))
        correct[hits[first]] = 1
        found = np.cumsum(correct)
        precision, recall = found / ranks, found / detections.num_truth
        best_from = np.maximum.accumulate(precision[::-1])[::-1]
        position = np.searchsorted(recall, _RECALLS - _RECALL_TOLERANCE, side="left")
        reached = position < len(order)
        values[i] = np.sum(best_from[position[reached]]) / len(_RECALLS)
    return values


def metrics(detections: Detections, thresholds: Sequence[float] = DEFAULT_THRESHOLDS) -> dict[str, float]:
    """`ap` (mean over thresholds) and `ap_NN` for each threshold (NN: percent)."""
    values = average_precision(detections, thresholds)
    named = {f"ap_{round(100 * tau):02d}": float(value) for tau, value in zip(thresholds, values, strict=True)}
    return {"ap": float(np.mean(values)), **named}
