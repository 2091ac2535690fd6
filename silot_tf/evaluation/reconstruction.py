"""How well a reconstruction explains the frames.

Source: SILOT specification 3.1 (reconstruction term).
"""

from collections.abc import Mapping

import numpy as np

_TINY = 1e-9  # guard inside both logarithms, as in the training loss


def metrics(outputs: Mapping, batch: Mapping, first_frame: int = 0) -> dict[str, float]:
    """`reconstruction` and `mse`, means over the frames that count; nothing when there is none.

    `reconstruction` is the negative Bernoulli log-likelihood with real-valued targets in nats per frame,
    summed over pixels and channels; `mse` is the mean squared error per pixel and channel (values in [0, 1]).

    Args:
      outputs: with `reconstruction [B,T,H,W,C]`.
      batch: with `video` and `frame_mask`.
      first_frame: frames before this one are left out.
    """
    counted = np.array(batch["frame_mask"], bool)
    counted[:, :first_frame] = False
    if not counted.any():
        return {}
    target = np.asarray(batch["video"])[counted]
    # A renderer's weighted mean may exceed 1 by a rounding error, and the logarithm of a negative number is
    # NaN.
    mean = np.clip(np.asarray(outputs["reconstruction"])[counted], 0.0, 1.0)
    # float32 up to the logarithm (its 1 - mean is exact near 1, where it matters), float64 in the sums
    nats = -(target * np.log(mean + np.float32(_TINY)) + (1 - target) * np.log(1 - mean + np.float32(_TINY)))
    return {
        "reconstruction": float(np.sum(nats, dtype=np.float64) / len(target)),
        "mse": float(np.mean(np.square(target - mean), dtype=np.float64)),
    }
