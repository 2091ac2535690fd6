import math

import numpy as np
import pytest

from silot_tf.evaluation import reconstruction


def batch_of(video):
    return {"video": np.asarray(video, np.float32), "frame_mask": np.ones(np.shape(video)[:2], bool)}


def test_nats_and_squares_equal_a_loop_over_pixels():
    rng = np.random.default_rng(0)
    video, mean = (
        rng.random((2, 3, 4, 5, 3)).astype(np.float32),
        rng.random((2, 3, 4, 5, 3)).astype(np.float32),
    )
    nats = [
        -sum(
            x * math.log(p + 1e-9) + (1 - x) * math.log(1 - p + 1e-9)
            for x, p in zip(video[b, t].ravel().tolist(), mean[b, t].ravel().tolist(), strict=True)
        )
        for b, t in np.ndindex(2, 3)
    ]
    values = reconstruction.metrics({"reconstruction": mean}, batch_of(video))
    assert values["reconstruction"] == pytest.approx(np.mean(nats), rel=1e-6)
    assert values["mse"] == pytest.approx(np.mean((video.astype(float) - mean) ** 2), rel=1e-6)
    later = reconstruction.metrics({"reconstruction": mean}, batch_of(video), first_frame=2)
    assert later["reconstruction"] == pytest.approx(np.mean([nats[2], nats[5]]), rel=1e-6)


def test_perfect_binary_frames_cost_almost_nothing_and_opposite_ones_a_guarded_price():
    video = np.random.default_rng(0).integers(0, 2, (1, 2, 6, 6, 3))
    same = reconstruction.metrics({"reconstruction": video.astype(np.float32)}, batch_of(video))
    assert abs(same["reconstruction"]) < 1e-5 * 108
    opposite = reconstruction.metrics({"reconstruction": (1 - video).astype(np.float32)}, batch_of(video))
    assert opposite["reconstruction"] == pytest.approx(108 * -math.log(1e-9), rel=1e-6)


def test_rounding_above_one_is_no_nan_but_a_nan_is_not_hidden():
    video = np.ones((1, 1, 2, 2, 3))
    above = reconstruction.metrics({"reconstruction": np.full(video.shape, 1.0000001, np.float32)}, batch_of(video))
    assert math.isfinite(above["reconstruction"])
    broken = reconstruction.metrics({"reconstruction": np.full(video.shape, np.nan, np.float32)}, batch_of(video))
    assert math.isnan(broken["reconstruction"]) and math.isnan(broken["mse"])


def test_no_counted_frame_gives_no_metric():
    batch = batch_of(np.zeros((1, 2, 2, 2, 3)))
    assert reconstruction.metrics({"reconstruction": batch["video"]}, batch, first_frame=2) == {}
