"""Identities of objects: property 17 of the specification, section 9, through the whole network."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models.silot import scenes

NONE = -1


@pytest.fixture(scope="module")
def scripted_model():
    """Three slots; presence log-odds are all 0, so that injected noise alone decides every presence."""
    model = scenes.build(num_slots=3)
    for network in (model.propagation.pres_head, model.prior.pres_head, model.discovery.pres_head):
        scenes.set_zero(network)
    return model


def logit(probability):
    return np.log(probability) - np.log1p(-np.asarray(probability, np.float64))


def run_script(model, stay, discovered, threshold=0.5, rollout_from=None):
    """Outputs for one clip with given factors on the presence of slots and given presences of the nine cells.

    Args:
      stay: `[T,3]` factor on each slot's presence.
      discovered: per frame, cell -> presence; other cells have presence 1e-4.
    """
    frames = len(stay)
    video = tf.constant(scenes.moving_squares(batch=1, frames=frames))
    noise = model.draw_noise(video, model.initial_state(1), scenes.SEED)
    found = np.full((frames, 9), 1e-4)
    for t, cells in enumerate(discovered):
        for cell, presence in cells.items():
            found[t, cell] = presence
    to_noise = lambda p: tf.constant(logit(p)[None, ..., None], tf.float32)  # noqa: E731
    for part, presence in (("propagation", stay), ("prior", stay), ("discovery", found)):
        noise[part] = noise[part] | {"pres": to_noise(np.asarray(presence, np.float64))}
    model.presence_threshold = threshold
    stages, state = model.unroll_stages(video, model.initial_state(1), noise, rollout_from=rollout_from)
    return model.outputs(video, stages)["objects"], state


STAY = np.array([[0.5, 0.5, 0.5], [0.99, 0.9, 0.1], [0.5, 0.9, 0.99], [0.9, 0.001, 0.99], [0.9, 0.99, 0.001]])
FOUND = [{0: 0.9, 1: 0.3, 2: 0.8}, {5: 0.7}, {}, {4: 0.6}, {7: 0.4}]


def test_identities_of_a_sequence_worked_out_by_hand(scripted_model):
    """Frame 0: newcomers .9, .3 (below threshold) and .8; frame 1: the third falls to .08, cell 5 takes its slot.

    Frame 2: the first falls to .45 and says nothing; frame 3: cell 4 takes the slot of the one that had no identity;
    frame 4: a newcomer of .4 takes the slot of identity 2 and gets none.
    """
    objects, state = run_script(scripted_model, STAY, FOUND)
    expected = [[0, NONE, 1], [0, NONE, 2], [NONE, NONE, 2], [NONE, 3, 2], [NONE, 3, NONE]]
    np.testing.assert_array_equal(objects["track_id"][0], expected)
    new = [[True, True, True], [False, False, True], [False] * 3, [False, True, False], [False, False, True]]
    np.testing.assert_array_equal(objects["is_new"][0], new)
    np.testing.assert_allclose(objects["pres"][0, :3, 0, 0], [0.9, 0.891, 0.4455], atol=1e-4)
    np.testing.assert_array_equal(state["next_id"], [4])  # newcomers below the threshold use up no number


def test_lower_threshold_gives_identities_to_faint_objects(scripted_model):
    objects, state = run_script(scripted_model, STAY, FOUND, threshold=0.05)
    expected = [[0, 1, 2], [0, 1, 3], [0, 1, 3], [0, 4, 3], [0, 4, 5]]
    np.testing.assert_array_equal(objects["track_id"][0], expected)
    np.testing.assert_array_equal(state["next_id"], [6])


def test_newcomers_are_numbered_in_slot_order_and_cells_fill_slots_in_order(scripted_model):
    objects, _ = run_script(scripted_model, STAY[:1], [{8: 0.95, 3: 0.9, 6: 0.7}])
    np.testing.assert_array_equal(objects["track_id"], [[[0, 1, 2]]])
    np.testing.assert_allclose(objects["pres"][0, 0, :, 0], [0.9, 0.7, 0.95], atol=1e-4)  # cells 3, 6, 8


def test_no_identity_begins_once_the_prior_rolls_out(scripted_model):
    """Discovery is shut, however certain it is."""
    objects, state = run_script(scripted_model, STAY, [*FOUND[:3], {4: 0.99}, {7: 0.99}], rollout_from=3)
    np.testing.assert_array_equal(objects["track_id"][0, 3:], [[NONE, NONE, 2], [NONE] * 3])
    assert not np.any(objects["is_new"][0, 3:])
    np.testing.assert_array_equal(state["next_id"], [3])


def identities_by_rule(presence, is_new, threshold):
    """Specification 2.11 for one clip: walk over frames and slots."""
    ids, following, emitted = [NONE] * presence.shape[1], 0, []
    for t in range(len(presence)):
        emitted.append([NONE] * presence.shape[1])
        for slot in range(presence.shape[1]):
            if is_new[t, slot]:
                ids[slot] = NONE
            if presence[t, slot] > threshold:
                if is_new[t, slot]:
                    ids[slot], following = following, following + 1
                emitted[-1][slot] = ids[slot]
    return emitted, following


def test_identities_follow_the_rule_on_random_clips(model):
    video = tf.constant(scenes.moving_squares(batch=3, frames=6))
    outputs, state = model.unroll(video, seed=scenes.SEED)
    objects = {name: value.numpy() for name, value in outputs["objects"].items()}
    for b in range(3):
        ids, following = identities_by_rule(objects["pres"][b, ..., 0], objects["is_new"][b], 0.5)
        np.testing.assert_array_equal(objects["track_id"][b], ids)
        assert int(state["next_id"][b]) == following
    assert np.any(objects["is_new"][:, 1:]) and np.any(objects["track_id"] >= 0)
