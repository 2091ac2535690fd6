import numpy as np
import pytest
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.export import card, names, preprocessing, saved_model, tables
from tests.export import fakes

SEED = tf.constant([3, 4])
SCALE = np.array([20, 30, 20, 30], np.float32)


def as_floats(frames):
    return tf.constant(frames.astype(np.float32) / np.float32(255))


def state_of(results):
    return {name: value for name, value in results.items() if name.startswith(names.STATE_PREFIX)}


def initial(loaded, batch):
    return dict(loaded.signatures["initial_state"](batch_size=tf.constant(batch)))


def run(loaded, signature, frames, resets=None, seed=SEED, state=None):
    """Results of each frame of `[B,T,...]`, and the last state."""
    batch, found = len(frames), []
    state = initial(loaded, batch) if state is None else state
    for t in range(frames.shape[1]):
        reset = tf.constant([False] * batch if resets is None else resets[t])
        results = loaded.signatures[signature](frame=tf.constant(frames[:, t]), reset=reset, seed=seed, **state)
        state = state_of(results)
        found.append({name: value.numpy() for name, value in results.items() if name not in state})
    return found, state


def test_signatures_are_flat_named_tensors_of_any_batch_size(loaded):
    signatures = loaded.signatures
    assert set(signatures) == {
        "initial_state", "step", "step_with_reconstruction", "step_uint8", "step_uint8_with_reconstruction",
        "predict", "predict_with_reconstruction",
    }  # fmt: skip
    inputs, outputs = signatures["step"].structured_input_signature[1], signatures["step"].structured_outputs
    states = {"state__frame", "state__objects__centre", "state__objects__ids", "state__next_id"}
    assert set(inputs) == {"frame", "reset", "seed"} | states
    assert set(outputs) == set(names.TABLE) | states
    assert set(initial(loaded, 2)) == states
    assert inputs["frame"].shape.as_list() == [None, *fakes.FRAME_SHAPE] and inputs["frame"].dtype == tf.float32
    assert signatures["step_uint8"].structured_input_signature[1]["frame"].dtype == tf.uint8
    assert set(signatures["predict"].structured_input_signature[1]) == {"frames", "seed"} | states
    assert "reconstruction" in signatures["predict_with_reconstruction"].structured_outputs


@pytest.mark.parametrize("batch", [1, 3])
def test_steps_are_those_of_the_live_model_through_a_reset(loaded, model, video, batch):
    frames, resets = video[:batch], np.zeros((8, batch), bool)
    resets[4, 0] = True
    resets[6, -1] = True
    found, _ = run(loaded, "step_with_reconstruction", as_floats(frames).numpy(), resets)
    state = model.initial_state(batch)
    for t, results in enumerate(found):
        state = model.reset(state, tf.constant(resets[t]))
        outputs, state = model.step(as_floats(frames[:, t]), state, seed=SEED)
        objects = outputs["objects"]
        expected = {
            "boxes": objects["where"] * SCALE,
            "presence": objects["pres"][..., 0],
            "depth": objects["depth"][..., 0],
            "appearance": objects["what"],
            "reconstruction": outputs["reconstruction"],
        }
        for name, value in expected.items():
            np.testing.assert_allclose(results[name], value, atol=1e-5, err_msg=f"{name}, frame {t}")
        np.testing.assert_array_equal(results["ids"], objects["track_id"])
        np.testing.assert_array_equal(results["is_new"], objects["is_new"])


def test_a_reset_equals_a_fresh_state_and_leaves_other_streams_alone(loaded, video):
    frames = video[:2]
    _, state = run(loaded, "step_uint8", frames[:, :4])
    after, _ = run(loaded, "step_uint8", frames[:, 4:6], [[True, False], [False, False]], state=state)
    without, _ = run(loaded, "step_uint8", frames[:, 4:6], state=state)
    np.testing.assert_array_equal(after[1]["ids"][1], without[1]["ids"][1])
    np.testing.assert_array_equal(after[0]["boxes"][1], without[0]["boxes"][1])
    assert after[0]["ids"][0].max() == 0 < without[0]["ids"][0].max()


def test_bytes_equal_floats_and_reconstruction_changes_nothing(loaded, video):
    as_bytes, _ = run(loaded, "step_uint8", video)
    as_float, _ = run(loaded, "step", as_floats(video).numpy())
    with_images, _ = run(loaded, "step_uint8_with_reconstruction", video)
    for a, b, c in zip(as_bytes, as_float, with_images, strict=True):
        for name, value in a.items():  # compiled, a division by 255 is a multiplication
            np.testing.assert_allclose(value, b[name], rtol=1e-6)
            np.testing.assert_allclose(value, c[name], rtol=1e-6)
    assert "reconstruction" not in as_bytes[0] and with_images[0]["reconstruction"].shape == (3, *fakes.FRAME_SHAPE)


def test_the_seed_decides_the_noise(loaded, video):
    first, again, other = (run(loaded, "step_uint8", video, seed=tf.constant(s))[0] for s in ([1, 1], [1, 1], [1, 2]))
    np.testing.assert_array_equal(first[-1]["boxes"], again[-1]["boxes"])
    assert np.abs(first[-1]["boxes"] - other[-1]["boxes"]).max() > 1e-3


def test_prediction_is_the_live_models_roll_out_and_can_go_on(loaded, model, video):
    _, state = run(loaded, "step_uint8", video[:2, :3])
    predict = loaded.signatures["predict_with_reconstruction"]
    whole = predict(frames=tf.constant(5), seed=SEED, **state)
    _, live = model.unroll(as_floats(video[:2, :3]), seed=SEED)
    outputs, _ = model.unroll(tf.ones([2, 5, *fakes.FRAME_SHAPE]), live, seed=SEED, rollout_from=0)
    np.testing.assert_allclose(whole["boxes"], outputs["objects"]["where"] * SCALE, atol=1e-5)
    np.testing.assert_array_equal(whole["ids"], outputs["objects"]["track_id"])
    assert whole["reconstruction"].shape == (2, 5, *fakes.FRAME_SHAPE)
    first = loaded.signatures["predict"](frames=tf.constant(3), seed=SEED, **state)
    rest = loaded.signatures["predict"](frames=tf.constant(2), seed=SEED, **state_of(first))
    np.testing.assert_allclose(tf.concat([first["boxes"], rest["boxes"]], axis=1), whole["boxes"], atol=1e-6)


def test_ids_are_never_given_twice_over_a_long_stream(loaded):
    """Some hundred objects come and go; the benchmark does the same with a hundred thousand frames."""
    state, seen, last = initial(loaded, 1), set(), set()
    frame, step = tf.zeros([1, *fakes.FRAME_SHAPE], tf.uint8), loaded.signatures["step_uint8"]
    for _ in range(600):
        results = step(frame=frame, reset=tf.constant([False]), seed=SEED, **state)
        state = state_of(results)
        ids = {int(n) for n in results["ids"][0] if n >= 0}
        assert not (ids - last) & seen
        seen, last = seen | ids, ids
    assert len(seen) > 50


def test_without_noise_the_seed_is_not_looked_at(model, quiet_folder, video):
    quiet = tf.saved_model.load(str(quiet_folder))
    first, other = (run(quiet, "step_uint8", video, seed=tf.constant(s))[0] for s in ([1, 1], [9, 2]))
    np.testing.assert_array_equal(first[-1]["boxes"], other[-1]["boxes"])
    outputs, _ = model.unroll(as_floats(video), seed=None)
    np.testing.assert_allclose(first[-1]["boxes"], outputs["objects"]["where"][:, -1] * SCALE, atol=1e-5)


def test_masks_become_boxes(tmp_path):
    saved_model.write(fakes.build(masks=True), tmp_path, fakes.FRAME_SHAPE)
    loaded = tf.saved_model.load(str(tmp_path))
    frame = np.zeros((1, 1, *fakes.FRAME_SHAPE), np.uint8)
    frame[0, 0, 4:9, 10:12] = 255  # rows 4 to 8, columns 10 and 11
    (results,), _ = run(loaded, "step_uint8_with_reconstruction", frame)
    np.testing.assert_allclose(results["boxes"][0, 0], [6.5, 11, 5, 2])
    assert results["presence"][0, 0] > 0 and results["ids"][0, 0] == 0
    # Nothing is covered by the others.
    np.testing.assert_array_equal(results["presence"][0, 1:], 0)
    np.testing.assert_array_equal(results["ids"][0, 1:], -1)
    assert results["masks"].shape == (1, fakes.SLOTS, *fakes.FRAME_SHAPE[:2])


def test_step_without_a_state_says_how_to_get_one(loaded):
    frame = tf.zeros([1, *fakes.FRAME_SHAPE])
    for given in ({}, {"reset": tf.constant([False]), "seed": SEED}):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"get one from initial_state\(batch_size=...\)"):
            loaded.step(frame=frame, **given)
    with pytest.raises(TypeError, match="state__"):
        loaded.signatures["step"](frame=frame, reset=tf.constant([False]), seed=SEED)


def test_step_of_the_loaded_object_takes_both_types(loaded, video):
    given = {"reset": tf.constant([False]), "seed": SEED, **initial(loaded, 1)}
    as_bytes, as_float = loaded.step(frame=video[:1, 0], **given), loaded.step(frame=as_floats(video[:1, 0]), **given)
    np.testing.assert_allclose(as_bytes["boxes"], as_float["boxes"], rtol=1e-6)


def test_batch_sizes_that_differ_are_refused_and_not_broadcast(loaded):
    frame, reset = tf.zeros([3, *fakes.FRAME_SHAPE]), tf.constant([False] * 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="batch sizes that differ"):
        loaded.signatures["step"](frame=frame, reset=reset, seed=SEED, **initial(loaded, 1))


@pytest.mark.parametrize("shape", [(1, 20, 29, 3), (1, 30, 20, 3), (1, 20, 30, 1), (20, 30, 3), (20, 30), ()])
@pytest.mark.parametrize("dtype", [tf.uint8, tf.float32])
def test_frames_of_another_shape_are_told_with_what_came_and_what_is_expected(loaded, shape, dtype):
    given = {"frame": tf.zeros(shape, dtype), "reset": tf.constant([False]), "seed": SEED, **initial(loaded, 1)}
    signature = loaded.signatures["step_uint8" if dtype == tf.uint8 else "step"]
    found = " ".join(map(str, shape))
    for step in (signature, loaded.step):
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            step(**given)
        assert "step takes frames of shape [batch,20,30,3]; crop or resize them" in str(error.value)
        assert f"Found frames of shape] [{found}]" in str(error.value)


@pytest.mark.parametrize(
    ("value", "found"), [(255.0, "[0] [255]"), (-0.1, "[-0.1] [0]"), (np.nan, "nan"), (np.inf, "inf")]
)
def test_floats_out_of_range_are_told(loaded, value, found):
    frame = np.zeros((1, *fakes.FRAME_SHAPE), np.float32)
    frame[0, 7, 11, 1] = value
    given = {"reset": tf.constant([False]), "seed": SEED, **initial(loaded, 1)}
    for step in (loaded.signatures["step"], loaded.signatures["step_with_reconstruction"], loaded.step):
        with pytest.raises(tf.errors.InvalidArgumentError, match="values from 0 to 1; divide them by 255") as error:
            step(frame=tf.constant(frame), **given)
        assert found in str(error.value).split("Found values from, to]")[1]
    frame[0, 7, 11, 1] = np.nextafter(np.float32(1), np.float32(2))  # what resizing makes of white
    loaded.signatures["step"](frame=tf.constant(frame), **given)


def halved() -> preprocessing.Preprocessing:
    """The model sees the negative of every other pixel."""
    height, width, channels = fakes.FRAME_SHAPE
    return preprocessing.Preprocessing(
        seen_shape=(height // 2, width // 2, channels),
        in_graph=lambda frame: 1 - tables.to_float(frame[:, ::2, ::2]),
        live=lambda frame: 1 - frame[:, ::2, ::2].astype(np.float32) / np.float32(255),
        description={"sentence": "the negative of every other pixel"},
    )


def test_what_comes_before_the_model_is_a_part_of_the_export(model, video, tmp_path):
    between = halved()
    signatures = saved_model.write(model, tmp_path, fakes.FRAME_SHAPE, preprocessing=between)
    loaded = tf.saved_model.load(str(tmp_path))
    assert loaded.signatures["step"].structured_input_signature[1]["frame"].shape == [None, *fakes.FRAME_SHAPE]
    as_bytes, state = run(loaded, "step_uint8_with_reconstruction", video)
    as_float, _ = run(loaded, "step", as_floats(video).numpy())
    outputs, live = model.unroll(tf.stack([between.live(video[:, t]) for t in range(8)], axis=1), seed=SEED)
    for t, results in enumerate(as_bytes):
        expected = outputs["objects"]["where"][:, t] * SCALE  # pixels of the frames that come in
        np.testing.assert_allclose(results["boxes"], expected, atol=1e-5)
        np.testing.assert_array_equal(results["boxes"], as_float[t]["boxes"])
        np.testing.assert_allclose(results["reconstruction"], outputs["reconstruction"][:, t], atol=1e-6)
    predicted = loaded.signatures["predict"](frames=tf.constant(2), seed=SEED, **state)
    outputs, _ = model.unroll(tf.zeros([3, 2, *between.seen_shape]), live, seed=SEED, rollout_from=0)
    np.testing.assert_allclose(predicted["boxes"], outputs["objects"]["where"] * SCALE, atol=1e-5)
    told = card.describe(model, signatures, fakes.FRAME_SHAPE, deterministic=False, preprocessing=between)
    assert told["preprocessing"] == {"seen_shape": [10, 15, 3], "sentence": "the negative of every other pixel"}
    assert told["frame"]["shape"] == list(fakes.FRAME_SHAPE)


def test_masks_of_what_the_model_sees_become_boxes_in_pixels_of_the_frames(tmp_path):
    saved_model.write(fakes.build(masks=True), tmp_path, fakes.FRAME_SHAPE, preprocessing=halved())
    loaded = tf.saved_model.load(str(tmp_path))
    frame = np.full((1, 1, *fakes.FRAME_SHAPE), 255, np.uint8)
    frame[0, 0, 4:10, 10:14] = 0
    (results,), _ = run(loaded, "step_uint8_with_reconstruction", frame)
    np.testing.assert_allclose(results["boxes"][0, 0], [7, 12, 6, 4])
    assert results["masks"].shape == (1, fakes.SLOTS, 10, 15)


def test_predicting_nothing_is_refused(loaded):
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least 1"):
        loaded.signatures["predict"](frames=tf.constant(0), seed=SEED, **initial(loaded, 1))


def test_a_model_that_looks_ahead_is_refused(tmp_path):
    model = fakes.Clairvoyant()
    with pytest.raises(UserError, match="looks at later frames"):
        saved_model.write(model, tmp_path / "new", fakes.FRAME_SHAPE)
    assert not (tmp_path / "new").exists()


def test_states_come_back_from_their_flat_names(model):
    state = model.initial_state(2)
    flat = tables.flatten_state(state)
    assert all(name.isidentifier() for name in flat)
    packed = tables.pack_state(state, dict(reversed(flat.items())))
    tf.nest.map_structure(np.testing.assert_array_equal, packed, state)
    with pytest.raises(ValueError, match="not unique"):
        tables.flatten_state({"a": {"b__c": 1}, "a__b": {"c": 2}})


def test_floats_become_the_bytes_that_they_come_from():
    frame = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(tables.to_bytes(as_floats(frame)), frame)
    np.testing.assert_array_equal(tables.to_bytes(tf.constant([-0.001, 0.4999, 1.001])), [0, 127, 255])


def test_bytes_become_what_numpy_makes_of_them_also_in_a_graph():
    frame = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    found = tf.function(tables.to_float, input_signature=[tf.TensorSpec([None, 16, 16, 1], tf.uint8)])(frame)
    np.testing.assert_array_equal(found.numpy(), frame.astype(np.float32) / np.float32(255))
