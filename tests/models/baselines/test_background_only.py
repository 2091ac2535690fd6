import numpy as np
import pytest
import tensorflow as tf

from silot_tf import contracts
from silot_tf.models.baselines.background_only import BackgroundOnly

SEED = (0, 0)


def build(per_pixel=True):
    model = BackgroundOnly(per_pixel)
    model.build_variables((4, 5, 3))
    return model


def batch(frames=3):
    video = np.random.default_rng(0).random((2, frames, 4, 5, 3), np.float32)
    return {"video": tf.constant(video), "frame_mask": tf.ones([2, frames], tf.bool)}


@pytest.mark.parametrize(("per_pixel", "shape"), [(True, (4, 5, 3)), (False, (3,))])
def test_the_only_weights_are_an_image_or_a_colour(per_pixel, shape):
    assert [tuple(v.shape) for v in build(per_pixel).trainable_variables] == [shape]


def test_outputs_follow_the_contract_and_hold_no_objects():
    outputs, state = build().unroll(batch()["video"], seed=SEED)
    contracts.check_outputs(outputs)
    assert not np.any(outputs["objects"]["pres"])
    assert np.all(np.asarray(outputs["objects"]["track_id"]) == -1)
    assert np.asarray(state["frame"]).tolist() == [3, 3]
    np.testing.assert_allclose(outputs["reconstruction"], 0.5)


def test_loss_is_the_bernoulli_cross_entropy_of_the_reconstruction():
    model = build()
    model.variables[0].assign(np.random.default_rng(1).normal(size=(4, 5, 3)))
    terms, outputs = model.loss_terms(batch(), {}, seed=SEED)
    x, y = batch()["video"].numpy().astype(np.float64), outputs["reconstruction"].numpy().astype(np.float64)
    expected = -(x * np.log(y) + (1 - x) * np.log(1 - y)).sum((2, 3, 4))
    np.testing.assert_allclose(terms["reconstruction"], expected, rtol=1e-5)


def test_the_best_image_is_the_mean_of_the_frames():
    model = build()
    mean = batch()["video"].numpy().mean((0, 1))
    model.variables[0].assign(np.log(mean / (1 - mean)))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(model.loss_terms(batch(), {}, seed=SEED)[0]["reconstruction"])
    np.testing.assert_allclose(tape.gradient(total, model.variables[0].value), 0, atol=1e-5)


def test_step_by_step_equals_the_whole_clip():
    model = build()
    video = batch()["video"]
    whole, _ = model.unroll(video, seed=SEED)
    state, frames = model.initial_state(2), []
    for t in range(3):
        outputs, state = model.step(video[:, t], state, seed=SEED)
        frames.append(outputs["reconstruction"])
    np.testing.assert_array_equal(np.stack(frames, 1), whole["reconstruction"])
