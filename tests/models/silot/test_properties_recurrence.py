"""Clips in one piece, in chunks, frame by frame; noise; prior roll-out: properties 35 and 36 of section 9."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.silot import scenes

CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # the backbone sees other batch sizes in other chunks


@pytest.fixture(scope="module")
def video():
    return tf.constant(scenes.moving_squares(frames=5))


@pytest.fixture(scope="module")
def whole(model, video):
    """Outputs and last state of the clip at once."""
    return model.unroll(video, seed=scenes.SEED)


def concatenate(*outputs):
    return keras.tree.map_structure(lambda *values: tf.concat(values, axis=1), *outputs)


def test_two_quiet_evaluations_agree_bit_for_bit_whatever_the_seed(quiet_model, video):
    """Property 35."""
    first = quiet_model.unroll(video, seed=scenes.SEED)
    scenes.assert_equal_trees(quiet_model.unroll(video, seed=tf.constant([9, 9])), first)


def test_noise_at_evaluation_depends_on_the_seed_alone(model, video, whole):
    scenes.assert_equal_trees(model.unroll(video, seed=scenes.SEED), whole)
    other, _ = model.unroll(video, seed=tf.constant([9, 9]))
    assert np.max(np.abs(other["objects"]["what"] - whole[0]["objects"]["what"])) > 0.1


def test_noise_differs_between_frames_clips_slots_and_parts(model, video):
    noise = model.draw_noise(video, model.initial_state(2), scenes.SEED)
    what = noise["propagation"]["what"].numpy()
    assert len(np.unique(np.round(what, 5))) > 0.95 * what.size
    for part in ("propagation", "prior", "discovery"):
        assert abs(np.mean(noise[part]["what"])) < 0.1 and abs(np.std(noise[part]["what"]) - 1) < 0.1
    assert np.max(np.abs(noise["prior"]["what"] - what)) > 1
    assert abs(np.std(noise["discovery"]["pres"]) - np.pi / np.sqrt(3)) < 0.3


def test_frame_by_frame_equals_the_whole_clip(model, video, whole):
    state, outputs = model.initial_state(2), []
    for t in range(video.shape[1]):
        frame_outputs, state = model.step(video[:, t], state, seed=scenes.SEED)
        outputs.append(keras.tree.map_structure(lambda value: value[:, None], frame_outputs))
    scenes.assert_equal_trees((concatenate(*outputs), state), whole, **CLOSE)


@pytest.mark.parametrize("rollout_from", [None, 2])
def test_chunks_equal_the_whole_clip(model, video, rollout_from):
    """The switch to roll-out counts from the beginning of the clip, not of the chunk."""
    expected = model.unroll(video, seed=scenes.SEED, rollout_from=rollout_from)
    first, state = model.unroll(video[:, :3], seed=scenes.SEED, rollout_from=rollout_from)
    rest, state = model.unroll(video[:, 3:], state, seed=scenes.SEED, rollout_from=rollout_from)
    scenes.assert_equal_trees((concatenate(first, rest), state), expected, **CLOSE)


def test_rollout_equals_normal_mode_before_it_begins(model, video, whole):
    """Property 35."""
    rollout, _ = model.unroll(video, seed=scenes.SEED, rollout_from=3)
    before = lambda outputs: keras.tree.map_structure(lambda value: value[:, :3], outputs)  # noqa: E731
    scenes.assert_equal_trees(before(rollout), before(whole[0]))
    assert np.max(np.abs(rollout["objects"]["where"][:, 3:] - whole[0]["objects"]["where"][:, 3:])) > 1e-3
    assert not np.any(rollout["objects"]["is_new"][:, 3:])
    known = rollout["objects"]["track_id"][:, :3].numpy().max(axis=(1, 2))
    assert np.all(rollout["objects"]["track_id"][:, 3:].numpy().max(axis=(1, 2)) <= known)


def test_rollout_ignores_later_frames(model, video):
    """Property 36: they reach only the posterior's recurrent state, whose branch still runs."""
    changed = tf.concat([video[:, :3], 1.0 - video[:, 3:]], axis=1)
    outputs, state = model.unroll(video, seed=scenes.SEED, rollout_from=3)
    other_outputs, other_state = model.unroll(changed, seed=scenes.SEED, rollout_from=3)
    scenes.assert_equal_trees(other_outputs, outputs)
    hidden, other_hidden = state["objects"].pop("hidden"), other_state["objects"].pop("hidden")
    scenes.assert_equal_trees(other_state, state)
    assert np.max(np.abs(other_hidden - hidden)) > 1e-4


def test_rolled_out_objects_are_those_of_the_prior(model, video):
    noise = model.draw_noise(video, model.initial_state(2), scenes.SEED)
    stages, _ = model.unroll_stages(video, model.initial_state(2), noise, rollout_from=3)
    for name in ("box", "what", "depth", "pres"):
        np.testing.assert_array_equal(stages["selected"][name][:, 3:], stages["prior_objects"][name][:, 3:])
    np.testing.assert_array_equal(stages["selected"]["hidden"][:, 3:], stages["posterior"]["hidden"][:, 3:])


def test_reset_restarts_the_chosen_clips_only(quiet_model, video):
    _, state = quiet_model.unroll(video[:, :3], seed=scenes.SEED)
    mixed = quiet_model.reset(state, tf.constant([True, False]))
    fresh = quiet_model.initial_state(2)
    row = lambda tree, b: keras.tree.map_structure(lambda value: value[b], tree)  # noqa: E731
    scenes.assert_equal_trees(row(mixed, 0), row(fresh, 0))
    scenes.assert_equal_trees(row(mixed, 1), row(state, 1))
    outputs, _ = quiet_model.unroll(video[:, 3:], mixed, seed=scenes.SEED)
    restarted, _ = quiet_model.unroll(video[:, 3:], seed=scenes.SEED)
    continued, _ = quiet_model.unroll(video[:, 3:], state, seed=scenes.SEED)
    scenes.assert_equal_trees(row(outputs, 0), row(restarted, 0), **CLOSE)
    scenes.assert_equal_trees(row(outputs, 1), row(continued, 1), **CLOSE)


def test_empty_slots_do_not_attend_unless_asked(model):
    """D13: at the first frame all slots are empty; in the authors' code they attend from the corner."""
    frame = tf.constant(scenes.moving_squares(frames=1))
    for attend in (False, True):
        model = scenes.shared(attend_empty_slots=True) if attend else model
        stages, _ = model.unroll_stages(frame, model.initial_state(2), None)
        known = np.abs(stages["attention"]["known"][:, 0]).max(axis=-1)
        assert np.all(known > 0) if attend else np.all(known == 0)


def test_state_remembers_which_slots_ever_held_an_object():
    """More slots than cells: those beyond stay empty."""
    model = scenes.build(num_slots=11)
    frame = tf.constant(scenes.moving_squares(frames=1))
    _, state = model.unroll(frame, seed=scenes.SEED)
    exists = state["objects"]["exists"][..., 0].numpy()
    np.testing.assert_array_equal(exists.sum(axis=1), 9)
    np.testing.assert_array_equal(state["objects"]["pres"].numpy()[exists == 0], 0.0)


def test_objects_keep_their_slot_until_they_are_replaced(model, video, whole):
    """Identity is (slot, occurrence): what a slot holds moves at most one anchor per frame unless it is new."""
    box, is_new = whole[0]["objects"]["where"].numpy(), whole[0]["objects"]["is_new"].numpy()
    pres = whole[0]["objects"]["pres"].numpy()[..., 0]
    assert np.all((pres[:, 1:] <= pres[:, :-1])[~is_new[:, 1:]])
    moved = np.abs(box[:, 1:, :, :2] - box[:, :-1, :, :2]).max(-1)
    assert np.all(moved[~is_new[:, 1:]] <= 48 / 36)
