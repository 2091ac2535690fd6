"""One text per metric that says how it is computed: the same words in results, report and README."""

from silot_tf.evaluation.aggregation import ObjectScores, threshold_suffix


def describe(scores: ObjectScores, rollout_from: int | None, batch_size: int) -> dict[str, str]:
    """Metric -> protocol in words, for the numbers given.

    Args:
      scores: thresholds of the object metrics.
      rollout_from: first frame of the prior roll-out, or None.
      batch_size: clips per batch.
    """
    averaged = f"Computed per batch of {batch_size} clips, then averaged weighted by batch size."
    pooled = "Computed once over the whole test set."
    texts = {
        **_linear_metrics(averaged),
        **_with_thresholds(_totals(), scores),
        **_set_sizes(),
        **_object_metrics(scores, averaged),
        **{f"pooled_{name}": text for name, text in _object_metrics(scores, pooled).items()},
    }
    if rollout_from is None:
        return texts
    suffix = (
        f" Prior roll-out: objects of frames {rollout_from} and later come from the learned prior, which does"
        " not see the frames; only these frames count, ids are assigned over the whole clip."
    )
    return {**texts, **{f"rollout_{name}": text + suffix for name, text in texts.items()}}


def _object_metrics(scores: ObjectScores, reduction: str) -> dict[str, str]:
    precision = (
        "every object with presence > 0 is a prediction, confidence = presence or what the model gives as such; true "
        "positive if the true "
        "box of largest IoU exceeds the threshold and is free; eleven-point interpolation; no prediction "
        f"or no true box gives 0; not defined for a set without any. {reduction}"
    )
    thresholds = ", ".join(f"{tau:g}" for tau in scores.detection_thresholds)
    iou = scores.matching_iou
    return {
        "ap": f"Average precision, mean over IoU thresholds {thresholds}: {precision}",
        **{
            f"ap_{round(100 * tau):02d}": f"Average precision at IoU > {tau:g}: {precision}"
            for tau in scores.detection_thresholds
        },
        **_with_thresholds(_track_metrics(iou, reduction), scores),
    }


def _track_metrics(iou: float, reduction: str) -> dict[str, str]:
    return {
        "mota": (
            "1 - (misses + switches + false positives) / appearances of true objects. Hypotheses are the "
            f"objects with a track id (presence above the model's threshold); pairs need IoU >= {iou:g}; the "
            "first frame counts; a switch has no time limit; without any appearance the divisor is 1; may be "
            f"negative; not defined for a set without any appearance. {reduction}"
        ),
        "idf1": (
            "Identity F1: appearances explained by the best one-to-one assignment of whole tracks, pairs at "
            f"IoU >= {iou:g}. {reduction}"
        ),
    }


def _linear_metrics(reduction: str) -> dict[str, str]:
    return {
        "count_error": (f"Per frame |objects with presence above 0.5 - annotations|, mean over frames. {reduction}"),
        "count_error_relative": (
            f"Per frame, count error divided by the number of annotations (at least 1e-6). {reduction}"
        ),
        "reconstruction": (
            "Negative Bernoulli log-likelihood in nats per frame, summed over pixels and channels, "
            f"real-valued targets. {reduction}"
        ),
        "mse": f"Squared error per pixel and channel, values in [0, 1]. {reduction}",
    }


def _totals() -> dict[str, str]:
    return {
        "misses": "Appearances of true objects without a match, total.",
        "false_positives": "Appearances of tracked objects without a match, total.",
        "switches": "Matches with another id than the last one of the same true object, total.",
    }


def _set_sizes() -> dict[str, str]:
    return {"ground_truth": "Appearances of true objects, total.", "clips": "Number of clips."}


def _with_thresholds(texts: dict[str, str], scores: ObjectScores) -> dict[str, str]:
    """The texts, and once more for every further presence threshold."""
    result = dict(texts)
    for threshold in scores.presence_thresholds:
        note = f" Only objects with presence above {threshold:g} keep their ids, whatever the model's threshold."
        result |= {name + threshold_suffix(threshold): text + note for name, text in texts.items()}
    return result
