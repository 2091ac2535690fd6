import numpy as np
import pytest

from silot_tf.evaluation import counting, detection, mot, tracks
from silot_tf.ops import boxes as box_ops
from tests.evaluation.scenes import moving_batch, perfect_outputs


def scores(outputs, batch, first_frame=0):
    clips = tracks.clips_from(outputs, batch, first_frame)
    return {
        **detection.metrics(detection.detections_of(clips)),
        **mot.metrics(mot.track_counts(clips)),
        **counting.metrics(clips),
    }


def test_truth_as_prediction_is_perfect():
    batch = moving_batch(np.random.default_rng(0))
    values = scores(perfect_outputs(batch), batch)
    assert values["ap"] == 1 and values["mota"] == 1 and values["count_error"] == 0


def test_nothing_predicted_has_zero_and_misses_everything():
    batch = moving_batch(np.random.default_rng(0), objects=3)
    outputs = perfect_outputs(batch)
    outputs["objects"] = {**outputs["objects"], "pres": np.zeros_like(outputs["objects"]["pres"])}
    values = scores(outputs, batch)
    assert values["ap"] == 0 and values["mota"] == 0 and values["count_error"] == 3


def test_forgotten_half_pixel_costs_the_strictest_threshold():
    # 14 x 14 boxes, moved by half a pixel both ways: IoU 13.5^2 / (2*196 - 13.5^2)
    edges = np.array([[[[9.5, 23.5, 19.5, 33.5]]]])
    moved = edges + 0.5
    overlap = box_ops.iou_matrix(edges[0, 0], moved[0, 0])[0, 0]
    assert overlap == pytest.approx(0.8689, abs=5e-5)
    batch = moving_batch(np.random.default_rng(0), clips=1, frames=1, objects=1)
    batch["boxes"] = box_ops.from_edges(edges, (48, 48)).astype(np.float32)
    exact, shifted = perfect_outputs(batch), perfect_outputs(batch)
    shifted["objects"]["where"] = box_ops.from_edges(moved, (48, 48)).astype(np.float32)
    assert scores(exact, batch)["ap_90"] == 1
    assert scores(shifted, batch)["ap_90"] == 0 and scores(shifted, batch)["ap_80"] == 1


def test_box_of_whole_pixels_has_edges_on_the_pixel_borders():
    # pixels 3..5 and 10..19 of a 48 x 60 frame, stored in float32
    where = np.array([4.5 / 48, 15 / 60, 3 / 48, 10 / 60], np.float32)
    np.testing.assert_array_equal(tracks.edges_of(where, (48, 60)), [2.5, 5.5, 9.5, 19.5])


@pytest.mark.parametrize("side", [48, 60, 96, 195, 210])
def test_overlap_of_exactly_one_half_survives_float32(side):
    rng = np.random.default_rng(side)
    corners = rng.integers(0, side - 12, (400, 2))
    full = np.stack([corners[:, 0], corners[:, 0] + 12, corners[:, 1], corners[:, 1] + 7], -1) - 0.5
    half = full.copy()
    half[:, 1] -= 6
    for edges in (full, half):
        stored = box_ops.from_edges(edges, (side, side)).astype(np.float32)
        np.testing.assert_array_equal(tracks.edges_of(stored, (side, side)), edges)


def test_invalid_rows_and_masked_frames_do_not_count():
    batch = moving_batch(np.random.default_rng(1), clips=2, frames=4, objects=3)
    outputs = perfect_outputs(batch)
    batch = {key: value.copy() for key, value in batch.items()}
    batch["frame_mask"][0, 2:] = False
    batch["present"][1, 0, 2] = False
    clips = tracks.clips_from(outputs, batch)
    assert [len(clip) for clip in clips] == [2, 4]
    assert [len(f.truth_id) for f in clips[1]] == [2, 3, 3, 3]
    assert counting.metrics(clips)["count_error"] == pytest.approx(1 / 6)
    assert [len(clip) for clip in tracks.clips_from(outputs, batch, first_frame=3)] == [0, 1]


def test_presence_zero_is_no_prediction_but_low_presence_is():
    batch = moving_batch(np.random.default_rng(1), clips=1, frames=1, objects=3)
    outputs = perfect_outputs(batch)
    outputs["objects"]["pres"] = np.array([0.0, 0.001, 1.0], np.float32).reshape(1, 1, 3, 1)
    outputs["objects"]["track_id"] = np.array([[[-1, -1, 4]]], np.int32)
    (table,) = tracks.clips_from(outputs, batch)[0]
    np.testing.assert_allclose(table.confidence, [0.001, 1], rtol=1e-6)
    np.testing.assert_array_equal(table.track_id, [-1, 4])


def test_masks_give_tight_boxes_and_empty_masks_none():
    mask = np.zeros((1, 1, 2, 8, 10), np.float32)
    mask[0, 0, 0, 2:5, 3:9] = 0.8
    objects = {"pres": np.ones((1, 1, 2, 1), np.float32), "track_id": np.array([[[0, 1]]])}
    where, pres = tracks.predicted_boxes({"objects": objects, "mask": mask})
    np.testing.assert_allclose(tracks.edges_of(where[0, 0, 0], (8, 10)), [1.5, 4.5, 2.5, 8.5])
    np.testing.assert_array_equal(pres, [[[1, 0]]])


def test_count_rounds_presence_at_one_half():
    batch = moving_batch(np.random.default_rng(1), clips=1, frames=1, objects=3)
    outputs = perfect_outputs(batch)
    outputs["objects"]["pres"] = np.array([0.49, 0.5, 0.51], np.float32).reshape(1, 1, 3, 1)
    values = scores(outputs, batch)
    assert values["count_error"] == 2
    assert values["count_error_relative"] == pytest.approx(2 / 3)
