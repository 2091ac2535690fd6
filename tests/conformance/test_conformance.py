"""The battery: contract, losses, gradients, causality, recurrence, randomness, saving (see the package's docstring)."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from silot_tf import contracts
from silot_tf.errors import UserError
from silot_tf.models.base import VideoModel
from silot_tf.training import checkpoints
from silot_tf.training.trainer import Trainer
from tests.conformance import cases
from tests.conformance.cases import BATCH, FRAMES, OTHER_SEED, SEED, annealed, assert_equal, batch_of, differ, frames_of

CLOSE = {"rtol": 1e-3, "atol": 1e-4}  # kernels differ between batch sizes, and between eager and graph mode


@pytest.fixture(scope="module", params=cases.subjects())
def subject(request):
    """One model after the other."""
    return cases.ModelUnderTest(request.param)


@pytest.fixture(scope="module")
def outputs(subject):
    """Outputs and last state of a clip."""
    return subject.model.unroll(subject.video(frames=4), seed=SEED)


def assert_follows_contract(outputs, state, model, video):
    contracts.check_outputs(outputs)
    batch, frames, height, width, _ = video.shape
    reconstruction, objects = outputs["reconstruction"], outputs["objects"]
    assert reconstruction.shape == video.shape and reconstruction.dtype == tf.float32
    assert np.all((reconstruction >= 0) & (reconstruction <= 1))
    slots = objects["pres"].shape[2]
    for name, width_of_field in (("pres", 1), ("depth", 1), ("what", None), ("where", 4)):
        if name in objects:
            expected = (batch, frames, slots, width_of_field or objects["what"].shape[-1])
            assert tuple(objects[name].shape) == expected, name
            assert objects[name].dtype == tf.float32 and np.all(np.isfinite(objects[name])), name
    assert np.all((objects["pres"] >= 0) & (objects["pres"] <= 1))
    for name, dtype in (("track_id", tf.int32), ("is_new", tf.bool)):
        assert tuple(objects[name].shape) == (batch, frames, slots) and objects[name].dtype == dtype
    ids = np.asarray(objects["track_id"])
    assert ids.min() >= -1
    for clip_frame in ids.reshape(-1, slots):  # one identity is in one place at a time
        shown = clip_frame[clip_frame >= 0]
        assert len(np.unique(shown)) == len(shown)
    if "mask" in outputs:
        assert tuple(outputs["mask"].shape) == (batch, frames, slots, height, width)
    # The state keeps its form, so a loop can carry it.
    initial = model.initial_state(batch)
    tf.nest.assert_same_structure(state, initial)
    for new, old in zip(tf.nest.flatten(state), tf.nest.flatten(initial), strict=True):
        assert new.shape == old.shape and new.dtype == old.dtype and new.shape[0] == batch


def test_gin_file_builds_a_video_model(subject):
    assert isinstance(subject.model, VideoModel)
    assert subject.model.trainable_variables
    assert all(isinstance(value, float) for value in subject.model.annealed_quantities.values())


@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (3, 1), (2, 5)])
def test_outputs_follow_the_contract(subject, batch, frames):
    """One frame, odd batch, and more frames than in training."""
    video = subject.video(batch, frames)
    assert_follows_contract(*subject.model.unroll(video, seed=SEED), subject.model, video)


@pytest.mark.parametrize("brightness", [0.0, 1.0])
def test_uniform_frames_do_no_harm(subject, brightness):
    """Nothing to see: outputs follow the contract, loss terms and gradients are finite, no annotation is needed."""
    model, video = subject.model, tf.fill([1, 2, *subject.case.frame_shape], brightness)
    assert_follows_contract(*model.unroll(video, seed=SEED), model, video)
    batch = batch_of(video, objects=0)
    contracts.check_batch(batch, annotated=True)
    with tf.GradientTape() as tape:
        terms, _ = model.loss_terms(batch, annealed(model), seed=SEED)
        loss = tf.add_n([tf.reduce_sum(term) for term in terms.values()])
    assert np.isfinite(loss)
    for gradient in tape.gradient(loss, model.trainable_variables):
        assert gradient is None or np.all(np.isfinite(gradient))


@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (3, 2)])
def test_loss_terms_follow_the_contract_and_are_finite(subject, batch, frames):
    model, video = subject.model, subject.video(batch, frames)
    terms, outputs = model.loss_terms(batch_of(video), annealed(model), seed=SEED)
    contracts.check_loss_terms(terms, {})
    contracts.check_outputs(outputs)
    for name, term in terms.items():
        assert tuple(term.shape) == (batch, frames) and term.dtype == tf.float32, name
        assert np.all(np.isfinite(term)), name


def test_annotations_are_not_seen(subject):
    model, video = subject.model, subject.video()
    with_boxes, _ = model.loss_terms(batch_of(video, objects=2), annealed(model), seed=SEED)
    without, _ = model.loss_terms(batch_of(video), annealed(model), seed=SEED)
    assert_equal(with_boxes, without)


def test_padding_frames_cost_nothing(subject):
    model, video = subject.model, subject.video()
    mask = tf.constant([[True, True, False], [True, False, False]])
    terms, _ = model.loss_terms(batch_of(video) | {"frame_mask": mask}, annealed(model), seed=SEED)
    for name, term in terms.items():
        np.testing.assert_array_equal(term.numpy()[~mask.numpy()], 0.0, err_msg=name)


def test_every_trainable_variable_gets_a_finite_gradient(subject):
    model = subject.model
    with tf.GradientTape() as tape:
        loss = subject.loss(model, subject.video())
    gradients = tape.gradient(loss, model.trainable_variables)
    without = []
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is None or np.all(np.isfinite(gradient)), variable.path
        if gradient is None or not np.any(gradient):
            without.append(variable.path.removeprefix(f"{model.name}/"))
    assert sorted(without) == sorted(subject.case.without_gradient)


def test_a_few_updates_on_one_video_lower_the_loss(subject):
    """With the trainer, on one frame (quick to compile), with the same noise; its loss is the sum of the terms."""
    model, batch = subject.build(), batch_of(subject.video(batch=1, frames=1))
    trainer, losses = Trainer(model), []
    settings = {"frames": 1, "seed": 0, "stage": 0, "step": 0, "gradient_noise": 0.0}
    settings |= {"learning_rate": subject.case.learning_rate, "annealed": model.annealed_quantities}
    for _ in range(8):
        values = trainer.update(batch, **settings)
        assert all(np.isfinite(value) for value in values.values()), values
        terms = [value for name, value in values.items() if name.startswith("term/")]
        assert values["loss"] == pytest.approx(sum(terms), rel=1e-4)
        losses.append(values["loss"])
    assert losses[-1] < losses[0], losses


def test_compiled_for_any_batch_size_equals_eager(subject):
    model = subject.quiet_model
    signature = [tf.TensorSpec([None, 2, *subject.case.frame_shape])]
    compiled = tf.function(lambda video: model.unroll(video, seed=SEED), input_signature=signature)
    for batch in (1, 3):
        video = subject.video(batch, frames=2)
        assert_equal(compiled(video), model.unroll(video, seed=SEED), **CLOSE)


def test_later_frames_do_not_reach_earlier_outputs(subject, outputs):
    if not subject.model.causal:
        pytest.skip("the model says that it is not causal")
    video = subject.video(frames=4)
    changed = tf.concat([video[:, :2], 1.0 - video[:, 2:]], axis=1)
    others, _ = subject.model.unroll(changed, seed=SEED)
    assert_equal(frames_of(others, slice(0, 2)), frames_of(outputs[0], slice(0, 2)), rtol=1e-5, atol=1e-6)


def test_order_of_the_videos_in_a_batch_does_not_matter(subject):
    model, video, order = subject.quiet_model, subject.video(batch=3), [2, 0, 1]
    outputs, state = model.unroll(video, seed=SEED)
    permuted = model.unroll(tf.gather(video, order), seed=SEED)
    expected = keras.tree.map_structure(lambda value: tf.gather(value, order), (outputs, state))
    assert_equal(permuted, expected, **CLOSE)


def test_frame_by_frame_equals_the_whole_clip(subject, outputs):
    model, video = subject.model, subject.video(frames=4)
    state, steps = model.initial_state(BATCH), []
    for t in range(4):
        step, state = model.step(video[:, t], state, seed=SEED)
        steps.append(step)
    stacked = keras.tree.map_structure(lambda *values: tf.stack(values, axis=1), *steps)
    assert_equal((stacked, state), outputs, **CLOSE)


def test_chunks_equal_the_whole_clip(subject, outputs):
    model, video = subject.model, subject.video(frames=4)
    first, state = model.unroll(video[:, :3], seed=SEED)
    rest, state = model.unroll(video[:, 3:], state, seed=SEED)
    joined = keras.tree.map_structure(lambda *values: tf.concat(values, axis=1), first, rest)
    assert_equal((joined, state), outputs, **CLOSE)


def test_rollout_sees_nothing_from_its_beginning_on(subject, outputs):
    """Before that it is the normal mode."""
    model, video = subject.model, subject.video(frames=4)
    rollout, _ = model.unroll(video, seed=SEED, rollout_from=2)
    assert_equal(frames_of(rollout, slice(0, 2)), frames_of(outputs[0], slice(0, 2)), rtol=1e-5, atol=1e-6)
    changed = tf.concat([video[:, :2], 1.0 - video[:, 2:]], axis=1)
    other, _ = model.unroll(changed, seed=SEED, rollout_from=2)
    assert_equal(other, rollout, rtol=1e-5, atol=1e-6)


def test_reset_restarts_the_chosen_videos_only(subject):
    model, video = subject.quiet_model, subject.video(frames=3)
    _, state = model.unroll(video[:, :2], seed=SEED)
    mixed = model.reset(state, tf.constant([False, True]))
    row = lambda tree, b: keras.tree.map_structure(lambda value: value[b], tree)  # noqa: E731
    assert_equal(row(mixed, 0), row(state, 0))
    assert_equal(row(mixed, 1), row(model.initial_state(BATCH), 1))
    last = video[:, 2:]
    found, _ = model.unroll(last, mixed, seed=SEED)
    assert_equal(row(found, 0), row(model.unroll(last, state, seed=SEED)[0], 0), **CLOSE)
    assert_equal(row(found, 1), row(model.unroll(last, seed=SEED)[0], 1), **CLOSE)


def test_objects_can_be_taken_out_of_the_state_and_moved_in_it(subject):
    """Where the model offers it: only the chosen rows and slots change, and what is removed does not come back."""
    model, video = subject.quiet_model, subject.video(frames=3)
    if not model.editable_state:
        pytest.skip("the model does not offer to edit its state")
    outputs, state = model.unroll(video[:, :2], seed=SEED)
    slots, shape = outputs["objects"]["pres"].shape[2], subject.case.frame_shape[:2]
    none, still = tf.zeros([BATCH, slots], tf.bool), tf.zeros([BATCH, slots, 2])
    assert_equal(model.edit_state(state, shape, remove=none, shift=still), state)
    row = lambda tree, b: keras.tree.map_structure(lambda value: value[b], tree)  # noqa: E731
    gone = model.edit_state(state, shape, remove=tf.constant([[True], [False]]) | none, shift=still)
    assert_equal(row(gone, 1), row(state, 1))
    after, _ = model.unroll(video[:, 2:], gone, seed=SEED, rollout_from=2)
    assert np.all(after["objects"]["track_id"][0] == -1) and np.all(np.asarray(after["objects"]["pres"][0]) < 0.5)
    shift = tf.one_hot(tf.ones([BATCH], tf.int32) % slots, slots)[..., None] * tf.constant([0.1, -0.2])
    moved = model.edit_state(state, shape, remove=none, shift=shift)
    assert differ(moved, state)
    assert_equal(model.edit_state(moved, shape, remove=none, shift=-shift), state, **CLOSE)


def test_sprites_are_pictures_of_every_object_and_no_part_of_the_outputs(subject, outputs):
    model, what = subject.model, outputs[0]["objects"]["what"]
    if not model.has_sprites:
        with pytest.raises(NotImplementedError, match=type(model).__name__):
            model.sprites(what)
        return
    sprites = model.sprites(what)
    assert sprites.shape[:3] == what.shape[:3] and sprites.shape[5:] == (4,) and sprites.dtype == tf.float32
    assert np.all((sprites >= 0) & (sprites <= 1))
    assert_equal(model.sprites(what[0, 0, 0]), sprites[0, 0, 0], **CLOSE)
    assert "sprites" not in outputs[0]["objects"]


def test_the_seed_decides_everything(subject):
    model, video = subject.model, subject.video()
    terms, outputs = model.loss_terms(batch_of(video), annealed(model), seed=SEED)
    assert_equal(model.loss_terms(batch_of(video), annealed(model), seed=SEED), (terms, outputs))
    other = model.loss_terms(batch_of(video), annealed(model), seed=OTHER_SEED)
    assert differ(other, (terms, outputs)) == subject.case.random


def test_quiet_evaluation_does_not_depend_on_the_seed(subject):
    model, video = subject.quiet_model, subject.video()
    if subject.case.random and not subject.case.quiet:
        pytest.skip("the overlay of this model binds no way to evaluate without noise")
    assert_equal(model.unroll(video, seed=OTHER_SEED), model.unroll(video, seed=SEED))


def test_no_seed_stands_for_no_noise(subject):
    if subject.case.random and not subject.case.quiet:
        pytest.skip("the overlay of this model binds no way to evaluate without noise")
    video = subject.video()
    assert_equal(subject.model.unroll(video, seed=None), subject.quiet_model.unroll(video, seed=SEED))


def test_call_is_the_whole_clip_from_the_initial_state(subject):
    model, video = subject.model, subject.video(frames=FRAMES)
    assert_equal(model(video), model.unroll(video, seed=tf.constant([0, 0]))[0], **CLOSE)


@pytest.mark.parametrize("way", ["checkpoint of the run", "weights file of Keras"])
def test_saved_weights_give_the_same_outputs_in_a_fresh_model(subject, outputs, tmp_path, way):
    fresh, video = subject.build(seed=5), subject.video(frames=4)
    assert differ(fresh.unroll(video, seed=SEED), outputs)
    if way == "checkpoint of the run":
        checkpoints.Checkpoints(tmp_path).save_weights("best_test", checkpoints.named_variables(subject.model))
        checkpoints.Checkpoints(tmp_path).restore_weights("best_test", checkpoints.named_variables(fresh))
    else:
        subject.model(video), fresh(video)  # Keras counts a model as built after `call` only
        subject.model.save_weights(tmp_path / "saved.weights.h5")
        fresh.load_weights(tmp_path / "saved.weights.h5")
    assert_equal(fresh.unroll(video, seed=SEED), outputs)


def test_other_frame_sizes_need_no_other_weights(subject):
    """Frames that are neither square nor a multiple of anything."""
    height, width, channels = subject.case.frame_shape
    video = tf.zeros([1, 2, height + 5, width + 13, channels])
    try:
        outputs, _ = subject.model.unroll(video, seed=SEED)
    except (UserError, ValueError, tf.errors.InvalidArgumentError):
        pytest.skip("the weights of this model belong to one frame size")
    assert outputs["reconstruction"].shape == video.shape
