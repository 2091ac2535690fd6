"""HOTA of tracks, by the metric class of TrackEval (the extra `hota`).

Source: Luiten et al. 2021, "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking".
"""

import numpy as np

from silot_tf.evaluation.tracks import Clip

_TEXT = "mean over IoU thresholds .05 to .95, by TrackEval; all frames of the video are one clip."
PROTOCOL = {
    "hota": f"Geometric mean of detection and association accuracy, {_TEXT}",
    "deta": f"Detection accuracy of HOTA, {_TEXT}",
    "assa": f"Association accuracy of HOTA, {_TEXT}",
    "loca": f"Mean IoU of matched boxes, {_TEXT}",
}


#: Without the packages that TrackEval's package asks for and its metrics do not need: one of them, opencv-python, takes
#: the place of opencv-python-headless and cannot be imported on a machine without libGL.
INSTALL = "pip install --no-deps 'trackeval>=1.3,<1.4' tabulate pycocotools"


def is_available() -> bool:
    """Whether TrackEval can be imported."""
    try:
        _metric_class()
    except ImportError:
        return False
    return True


def metrics(clip: Clip) -> dict[str, float]:
    """`hota`, `deta`, `assa` and `loca` of one clip, each in [0, 1]; {} without TrackEval.

    Args:
      clip: see `silot_tf.evaluation.tracks`; boxes without an id do not count.
    """
    try:
        metric = _metric_class()()
    except ImportError:
        return {}
    tracked = [frame.track_id >= 0 for frame in clip]
    truth_ids, truths = _numbered([frame.truth_id for frame in clip])
    track_ids, tracks = _numbered([frame.track_id[chosen] for frame, chosen in zip(clip, tracked, strict=True)])
    result = metric.eval_sequence(
        {
            "num_gt_dets": sum(len(ids) for ids in truth_ids),
            "num_tracker_dets": sum(len(ids) for ids in track_ids),
            "num_gt_ids": truths,
            "num_tracker_ids": tracks,
            "gt_ids": truth_ids,
            "tracker_ids": track_ids,
            "similarity_scores": [frame.overlaps[chosen].T for frame, chosen in zip(clip, tracked, strict=True)],
        }
    )
    return {name: float(np.mean(result[field])) for name, field in _FIELDS.items()}


_FIELDS = {"hota": "HOTA", "deta": "DetA", "assa": "AssA", "loca": "LocA"}


def _metric_class():
    from trackeval.metrics.hota import HOTA  # not at the top: an extra, and slow to import

    return HOTA


def _numbered(ids: list[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """The ids as numbers from 0 on without gaps, and how many there are."""
    known = np.unique(np.concatenate(ids)) if ids else np.zeros(0, np.int64)
    return [np.searchsorted(known, own) for own in ids], len(known)
