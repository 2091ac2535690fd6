import gin
import numpy as np
import pytest
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.evaluation import reconstruction, sprites, tracks
from silot_tf.evaluation.aggregation import SetMetrics
from silot_tf.evaluation.evaluator import Evaluator
from tests.evaluation.fakes import SLOTS, DriftingBoxes, Oracle, Shaded, corner_batch


def batches(sizes, frames=6, seed=0):
    rng = np.random.default_rng(seed)
    return [corner_batch(rng, clips, frames) for clips in sizes]


def approximately(values):
    return {name: pytest.approx(value, abs=1e-9) for name, value in values.items()}


def test_model_that_knows_the_truth_has_perfect_scores_in_both_modes():
    values = Evaluator().evaluate(Oracle(), batches([2, 1]), seed=0)
    for prefix in ("", "rollout_"):
        assert values[prefix + "ap"] == 1 and values[prefix + "ap_90"] == 1
        assert values[prefix + "mota"] == 1 and values[prefix + "pooled_mota"] == 1
        assert values[prefix + "idf1"] == 1
        assert values[prefix + "count_error"] == 0 and values[prefix + "mse"] == 0
        assert values[prefix + "clips"] == 3
    assert values["ground_truth"] == 3 * 6 * SLOTS and values["rollout_ground_truth"] == 3 * 3 * SLOTS


def test_every_metric_has_a_protocol_and_every_protocol_a_metric():
    for rollout_from in (3, None):
        evaluator = Evaluator(rollout_from=rollout_from)
        values = evaluator.evaluate(DriftingBoxes(), batches([1]), seed=0)
        assert set(values) == set(evaluator.protocol)


@pytest.mark.parametrize(("chunk_frames", "traces"), [(1, 1), (3, 1), (4, 2)])
def test_chunks_with_carried_state_equal_whole_clips(chunk_frames, traces):
    data = batches([2], frames=6)
    whole = Evaluator(chunk_frames=6).evaluate(DriftingBoxes(), data, seed=5)
    model, evaluator = DriftingBoxes(), Evaluator(chunk_frames=chunk_frames)
    chunked = evaluator.evaluate(model, data, seed=5)
    assert model.traces == 2 * traces  # one per mode and length of chunk
    assert chunked == approximately(whole)
    whole_arrays = Evaluator(chunk_frames=6).example_clips(DriftingBoxes(), data[0], seed=5)
    arrays = evaluator.example_clips(model, data[0], seed=5)
    for name, value in whole_arrays.items():
        np.testing.assert_allclose(arrays[name], value, atol=1e-6)
    assert not np.allclose(whole_arrays["boxes"], whole_arrays["rollout_boxes"])
    assert len(np.unique(whole_arrays["track_id"])) > SLOTS


def test_models_that_need_the_future_get_whole_clips():
    model = DriftingBoxes()
    model.causal = False
    lengths = []
    inner = model.unroll
    model.unroll = lambda video, *args, **kwargs: (
        lengths.append(video.shape[1]),
        inner(video, *args, **kwargs),
    )[1]
    Evaluator(chunk_frames=2, rollout_from=None).evaluate(model, batches([1], frames=6), seed=0)
    assert lengths == [6]


def test_last_smaller_batch_is_filled_up_without_changing_the_result():
    sizes = [4, 3]
    model = DriftingBoxes()
    values = Evaluator(rollout_from=None).evaluate(model, batches(sizes), seed=1)
    assert model.traces == 1
    collected = SetMetrics()
    for number, batch in enumerate(batches(sizes)):
        outputs, _ = DriftingBoxes().unroll(tf.constant(batch["video"]), seed=tf.constant([1, number]))
        outputs = tf.nest.map_structure(np.asarray, outputs)
        collected.add(tracks.clips_from(outputs, batch), reconstruction.metrics(outputs, batch))
    assert values == approximately(collected.result())


def test_same_model_is_traced_once_per_mode_over_many_evaluations():
    model, evaluator = DriftingBoxes(), Evaluator()
    first = evaluator.evaluate(model, batches([2, 2, 1]), seed=0)
    assert model.traces == 2
    assert evaluator.evaluate(model, batches([2, 2, 1]), seed=0) == first
    evaluator.example_clips(model, batches([2])[0], seed=0)
    assert model.traces == 2
    assert evaluator.evaluate(model, batches([2, 2, 1]), seed=1) != first
    assert model.traces == 2


def test_another_model_is_not_served_by_the_functions_of_the_first():
    evaluator = Evaluator(rollout_from=None)
    drifting = evaluator.evaluate(DriftingBoxes(), batches([2]), seed=0)
    assert drifting["ap"] < 1
    assert evaluator.evaluate(Oracle(), batches([2]), seed=0)["ap"] == 1


def test_rollout_is_judged_from_the_switch_on_with_ids_of_the_whole_clip():
    batch = batches([2])[0]
    evaluator = Evaluator(rollout_from=3)
    values = evaluator.evaluate(DriftingBoxes(), [batch], seed=2)
    outputs, _ = DriftingBoxes().unroll(tf.constant(batch["video"]), seed=tf.constant([2, 0]), rollout_from=3)
    outputs = tf.nest.map_structure(np.asarray, outputs)
    collected = SetMetrics()
    collected.add(tracks.clips_from(outputs, batch, 3), reconstruction.metrics(outputs, batch, 3))
    for name, value in collected.result().items():
        assert values[f"rollout_{name}"] == pytest.approx(value, abs=1e-9)


def test_masked_frames_change_nothing():
    (batch,) = batches([2])
    masked = {key: value.copy() for key, value in batch.items()}
    masked["frame_mask"][:, 4:] = False
    damaged = {key: value.copy() for key, value in masked.items()}
    damaged["video"][:, 4:] = 1
    damaged["boxes"][:, 4:] = 0.5
    evaluator, model = Evaluator(), DriftingBoxes()
    assert evaluator.evaluate(model, [masked], seed=0) == evaluator.evaluate(model, [damaged], seed=0)
    assert evaluator.evaluate(model, [masked], seed=0) != evaluator.evaluate(model, [batch], seed=0)


def test_crop_offset_reaches_the_initial_state():
    (batch,) = batches([2])
    evaluator, model = Evaluator(rollout_from=None), DriftingBoxes()
    plain = evaluator.example_clips(model, batch, seed=0)
    moved = evaluator.example_clips(model, {**batch, "crop_offset": np.array([[10, 0], [0, 0]], np.int32)}, seed=0)
    np.testing.assert_allclose(moved["boxes"][0, ..., 0], plain["boxes"][0, ..., 0] + 0.1, atol=1e-6)
    np.testing.assert_allclose(moved["boxes"][1], plain["boxes"][1], atol=1e-6)


def test_reads_tensor_datasets_and_stops_after_max_batches():
    (batch,) = batches([6])
    data = tf.data.Dataset.from_tensor_slices(batch).batch(2)
    done = []
    values = Evaluator().evaluate(DriftingBoxes(), data, seed=0, max_batches=2, on_batch=done.append)
    assert values["clips"] == 4 and done == [1, 2]


def test_example_clips_hold_truth_and_both_modes():
    arrays = Evaluator(chunk_frames=4).example_clips(DriftingBoxes(), batches([3], frames=6)[0], seed=0, clips=2)
    assert arrays["video"].shape == (2, 6, 48, 48, 3)
    assert arrays["truth_boxes"].shape == (2, 6, SLOTS, 4)
    for prefix in ("", "rollout_"):
        assert arrays[f"{prefix}reconstruction"].shape == (2, 6, 48, 48, 3)
        assert arrays[f"{prefix}boxes"].shape == (2, 6, SLOTS, 4)
        assert arrays[f"{prefix}pres"].shape == (2, 6, SLOTS)
        assert arrays[f"{prefix}depth"].shape == (2, 6, SLOTS)
        assert arrays[f"{prefix}track_id"].shape == (2, 6, SLOTS)
        assert arrays[f"{prefix}is_new"].dtype == bool
    np.testing.assert_array_equal(arrays["boxes"][:, :3], arrays["rollout_boxes"][:, :3])
    assert arrays["rollout_from"] == 3
    posterior_only = Evaluator(rollout_from=None).example_clips(DriftingBoxes(), batches([1])[0], seed=0)
    assert not any(name.startswith("rollout") for name in posterior_only)


@pytest.mark.parametrize(
    ("arguments", "data", "words"),
    [
        ({}, [], "no clips"),
        ({"rollout_from": 6}, batches([1], frames=6), "rollout_from=6"),
        ({}, [{key: value for key, value in batches([1])[0].items() if key != "boxes"}], "boxes"),
    ],
)
def test_unusable_clips_are_refused_with_a_cure(arguments, data, words):
    with pytest.raises(UserError, match=words):
        Evaluator(**arguments).evaluate(DriftingBoxes(), data, seed=0)


@pytest.mark.parametrize("arguments", [{"rollout_from": 0}, {"chunk_frames": 0}, {"batch_size": 0}])
def test_unusable_parameters_are_refused(arguments):
    with pytest.raises(UserError, match=next(iter(arguments))):
        Evaluator(**arguments)


def test_gin_binds_the_evaluator():
    gin.clear_config()
    gin.parse_config("evaluation.Evaluator.rollout_from = None\nevaluation.Evaluator.chunk_frames = 2")
    try:
        assert Evaluator().rollout_from is None and Evaluator().chunk_frames == 2
    finally:
        gin.clear_config()


def test_tables_of_every_batch_and_mode_are_handed_on():
    seen = {"": [], "rollout_": []}
    values = Evaluator(rollout_from=4).evaluate(
        DriftingBoxes(), batches([2, 1]), seed=0, on_clips=lambda prefix, clips: seen[prefix].append(clips)
    )
    for prefix, frames in (("", 6), ("rollout_", 2)):
        assert [[len(clip) for clip in clips] for clips in seen[prefix]] == [[frames] * 2, [frames]]
        again = SetMetrics()
        for clips in seen[prefix]:
            again.add(clips)
        assert all(values[prefix + name] == value for name, value in again.result().items())


def test_sprites_of_example_clips_are_those_of_the_objects_that_are_there():
    model, batch, evaluator = Shaded(), batches([3], frames=6)[0], Evaluator(chunk_frames=4)
    evaluator.evaluate(model, [batch], seed=3)
    traces = model.traces
    arrays = evaluator.example_clips(model, batch, seed=3, clips=2)
    assert model.traces == traces  # nothing is compiled for them
    for prefix, rollout_from in (("", None), ("rollout_", 3)):
        outputs, _ = Shaded().unroll(tf.constant(batch["video"]), seed=tf.constant([3, 0]), rollout_from=rollout_from)
        shade = np.rint(255 * outputs["objects"]["what"].numpy()[:2, ..., :1])[..., None, None]
        found, there = arrays[f"{prefix}sprites"], arrays[f"{prefix}pres"] > 0.005
        assert found.shape == (2, 6, SLOTS, 2, 5, 4) and found.dtype == np.uint8
        assert 0 < there.sum() < there.size
        expected = np.where(there[..., None, None, None], np.broadcast_to(shade, found.shape), 0)
        np.testing.assert_allclose(found[..., :3], expected[..., :3], atol=1)
        np.testing.assert_array_equal(found[..., 3], np.where(there[..., None, None], 255, 0) + 0 * found[..., 3])


def test_sprites_are_left_out_where_nobody_looks_or_the_model_has_none():
    (batch,) = batches([1])
    for model, settings in ((Shaded(), {"with_sprites": False}), (DriftingBoxes(), {})):
        arrays = Evaluator().example_clips(model, batch, seed=0, **settings)
        assert not [name for name in arrays if "sprites" in name]


def test_sprites_of_a_diverged_model_are_harmless():
    what, pres = np.array([[0.2, 1], [np.nan, 1], [0.4, 1]]), np.array([np.nan, 0.9, 0.9])
    found = sprites.record(Shaded(), what, pres)
    np.testing.assert_array_equal(found[:, 0, 0], [[0, 0, 0, 0], [0, 0, 0, 255], [102, 102, 102, 255]])
    assert sprites.record(Shaded(), what, np.zeros(3)).shape == (3, 2, 5, 4)
