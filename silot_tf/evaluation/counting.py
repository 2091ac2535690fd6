"""Error of the number of objects per frame.

Protocol: `mean over clips and frames of | sum over slots of round(presence) - number of valid annotations |`.
  Presence is
rounded at 0.5, whatever threshold the track ids use; exactly 0.5 counts as absent. The relative error divides
each frame's error by its number of annotations (at least 1e-6).

Source: SILOT specification 6.3.
"""

from collections.abc import Sequence

import numpy as np

from silot_tf.evaluation.tracks import Clip

COUNTING_THRESHOLD = 0.5


def metrics(clips: Sequence[Clip]) -> dict[str, float]:
    """`count_error` (objects per frame) and `count_error_relative`; nothing when no frame counts."""
    frames = [frame for clip in clips for frame in clip]
    predicted = np.array([np.sum(frame.confidence > COUNTING_THRESHOLD) for frame in frames], np.float64)
    annotated = np.array([len(frame.truth_id) for frame in frames], np.float64)
    error = np.abs(predicted - annotated)
    if not len(error):
        return {}
    return {
        "count_error": float(np.mean(error)),
        "count_error_relative": float(np.mean(error / np.maximum(annotated, 1e-6))),
    }
