"""Propagation and learned prior: properties 8-12 of the specification, section 9."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models.silot import scenes

RECORD = ("box", "position", "size_logit", "what", "depth_logit", "depth", "pres", "hidden")


@pytest.fixture(params=["model", "interacting_model"])
def variant(request):
    """Both attention variants in turn."""
    return request.getfixturevalue(request.param)


def advance(model, state=None, video=None, noise=True):
    """Stages of one frame from known objects, and the noise."""
    video = tf.constant(scenes.moving_squares(frames=1)) if video is None else video
    state = scenes.known_objects(model) if state is None else state
    if noise is True:
        noise = model.draw_noise(video, state, scenes.SEED)
    return model.unroll_stages(video, state, noise or None)[0]


def with_objects(state, **fields):
    return state | {"objects": state["objects"] | fields}


def test_what_probably_stays_loses_no_presence_where_that_is_asked_for():
    """Above the limit presence stays as it was, below it shrinks as always; nothing else about the object changes."""
    usual = scenes.shared()
    state = scenes.known_objects(usual)
    factor = advance(usual, state)["posterior"]["pres"][:, 0].numpy() / state["objects"]["pres"].numpy()
    limit = float(np.median(factor))
    lasting = scenes.build(stay_above=limit)
    found, expected = (advance(model, state)["posterior"] for model in (lasting, usual))
    new, before = found["pres"][:, 0].numpy(), state["objects"]["pres"].numpy()
    assert 0 < np.sum(factor > limit) < factor.size
    np.testing.assert_array_equal(new[factor > limit], before[factor > limit])
    np.testing.assert_allclose(new[factor < limit], (factor * before)[factor < limit], rtol=1e-5)
    for name in ("box", "what", "depth"):
        np.testing.assert_array_equal(found[name], expected[name])


def test_presence_never_rises_and_never_returns_from_zero(model):
    """Property 8."""
    state = scenes.known_objects(model)
    pres = state["objects"]["pres"] * tf.constant([1.0, 0.0, 1.0, 0.0])[None, :, None]
    stages = advance(model, with_objects(state, pres=pres))
    for branch in ("posterior", "prior_objects"):
        new = stages[branch]["pres"][:, 0].numpy()
        assert np.all(new <= pres)
        np.testing.assert_array_equal(new[:, [1, 3]], 0.0)
        assert np.all(new[:, [0, 2]] > 0)


def test_networks_that_give_zeros_leave_objects_where_they_are():
    """Property 9."""
    model = scenes.build()
    for part in (model.propagation, model.prior):
        for network in (part.where_head, part.what_from_glimpse, part.what_from_state, part.depth_head, part.pres_head):
            scenes.set_zero(network)
    scenes.set_zero(model.propagation.first_glimpse)
    state = scenes.known_objects(model)
    old, stages = state["objects"], advance(model, state, noise=False)
    gate = 0.730985
    for branch, stage in (("posterior", "propagation"), ("prior_objects", "prior")):
        new = {name: value[:, 0] for name, value in stages[branch].items()}
        for name in ("box", "position", "size_logit", "depth_logit"):
            np.testing.assert_allclose(new[name], old[name], atol=1e-6, err_msg=f"{branch} {name}")
        np.testing.assert_allclose(new["what"], gate * old["what"], atol=1e-5)
        np.testing.assert_allclose(new["pres"], old["pres"] / 2, atol=1e-6)
        for name in ("forget", "take", "keep"):
            np.testing.assert_allclose(stages[stage][name], gate, atol=1e-6)
        np.testing.assert_allclose(stages[stage]["what_std"], 0.538029, atol=1e-5)
        np.testing.assert_allclose(stages[stage]["where_std"], 1.0, atol=1e-6)
    for mask in ("first_mask", "second_mask"):
        np.testing.assert_allclose(stages["propagation"][mask], 0.73106, atol=1e-5)
    np.testing.assert_allclose(stages["propagation"]["first_box"][:, 0], old["box"], atol=1e-6)


def test_order_of_the_slots_does_not_matter(variant):
    """Property 10: permuted slots with permuted noise give permuted results."""
    order = [2, 0, 3, 1]
    state, video = scenes.known_objects(variant), tf.constant(scenes.moving_squares(frames=1))
    noise = variant.draw_noise(video, state, scenes.SEED)
    permuted_noise = dict(noise)
    for part in ("propagation", "prior"):
        permuted_noise[part] = {name: tf.gather(x, order, axis=2) for name, x in noise[part].items()}
    permuted_state = with_objects(state, **{k: tf.gather(v, order, axis=1) for k, v in state["objects"].items()})
    stages = advance(variant, state, video, noise)
    permuted = advance(variant, permuted_state, video, permuted_noise)
    for branch in ("posterior", "prior_objects"):
        for name in RECORD:
            expected = tf.gather(stages[branch][name], order, axis=2)
            np.testing.assert_allclose(permuted[branch][name], expected, atol=1e-5, err_msg=f"{branch} {name}")
    # What the cells see of the objects does not depend on the order either.
    np.testing.assert_allclose(permuted["attention"]["known"], stages["attention"]["known"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("variant_name", "feels"), [("model", False), ("interacting_model", True)])
def test_only_interacting_objects_feel_a_change_of_another(request, variant_name, feels):
    """Property 11; the changed object stands beside the first one."""
    model = request.getfixturevalue(variant_name)
    state = scenes.known_objects(model)
    objects = state["objects"]
    near = tf.concat([objects["box"][:, :1, :2] + 0.05, objects["box"][:, 1:2, 2:]], -1)
    box = tf.concat([objects["box"][:, :1], near, objects["box"][:, 2:]], axis=1)
    change = np.zeros((1, scenes.SLOTS, 1), np.float32)
    change[0, 1] = 1.0
    state = with_objects(state, box=box)
    changed = with_objects(state, box=box, what=objects["what"] + change, hidden_prior=objects["hidden_prior"] + change)
    before, after = advance(model, state), advance(model, changed)
    for branch in ("posterior", "prior_objects"):
        for name in RECORD:
            old, new = before[branch][name].numpy(), after[branch][name].numpy()
            differs = np.max(np.abs(new - old), axis=(0, 1, 3))
            assert differs[1] > 1e-6, (branch, name)
            assert (differs[0] > 1e-6) == feels, (branch, name)
            if not feels:
                np.testing.assert_array_equal(new[:, :, [0, 2, 3]], old[:, :, [0, 2, 3]])


def test_prior_does_not_look_at_the_frame(variant):
    """Property 12, first half."""
    first = advance(variant, video=tf.constant(scenes.moving_squares(frames=1)))
    second = advance(variant, video=tf.constant(scenes.moving_squares(frames=1, seed=9)))
    scenes.assert_equal_trees(second["prior"], first["prior"])
    scenes.assert_equal_trees(second["prior_objects"], first["prior_objects"])
    assert np.max(np.abs(second["posterior"]["what"] - first["posterior"]["what"])) > 1e-3


@pytest.mark.parametrize("black", [True, False])
def test_glimpse_masks_do_not_matter_on_a_black_frame(black):
    """Property 12, second half."""
    model = scenes.build()
    video = tf.zeros([2, 1, 36, 36, 3]) if black else tf.constant(scenes.moving_squares(frames=1))
    before = advance(model, video=video)
    bias = model.propagation.first_glimpse.dense_layers[-1].bias
    bias.assign_add(np.where(np.arange(4 + 2 * 196) < 4, 0.0, np.linspace(-3, 3, 4 + 2 * 196)))
    after = advance(model, video=video)
    assert np.max(np.abs(after["propagation"]["second_mask"] - before["propagation"]["second_mask"])) > 0.1
    if black:
        scenes.assert_equal_trees(after["posterior"], before["posterior"])
    else:
        assert np.max(np.abs(after["posterior"]["what"] - before["posterior"]["what"])) > 1e-4


def test_positions_move_with_boxes_and_keep_their_offset(model):
    state = scenes.known_objects(model)
    offset = tf.constant([[[2.0, 1.0]]])
    stages = advance(model, with_objects(state, position=state["objects"]["position"] + offset))
    for branch in ("posterior", "prior_objects"):
        found = stages[branch]["position"] - stages[branch]["box"][..., :2]
        np.testing.assert_allclose(found, tf.broadcast_to(offset[None], found.shape), atol=1e-5)


def test_networks_know_whether_a_glimpse_follows(model):
    """The flag pair behind the attended features, specification 2.6 and 2.8."""
    stages = advance(model)
    for part, flags in (("propagation", [1, 0]), ("prior", [0, 1])):
        base, attended = stages[part]["base"], stages[part]["attended"]
        np.testing.assert_array_equal(base[..., :-2], attended)
        np.testing.assert_array_equal(base[..., -2:], np.broadcast_to(flags, (*base.shape[:-1], 2)))


def test_posterior_and_prior_feed_each_their_own_recurrent_state(model):
    """Changing the prior's state changes nothing of the posterior, and the other way round."""
    state = scenes.known_objects(model)
    base = advance(model, state)
    for changed, branch, other in (
        ("hidden", "posterior", "prior_objects"),
        ("hidden_prior", "prior_objects", "posterior"),
    ):
        stages = advance(model, with_objects(state, **{changed: -state["objects"][changed]}))
        np.testing.assert_array_equal(stages[other]["hidden"], base[other]["hidden"])
        assert np.max(np.abs(stages[branch]["hidden"] - base[branch]["hidden"])) > 1e-3
