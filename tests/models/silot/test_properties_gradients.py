"""Which weights learn, with and without training wheels: properties 13 and 37 of the specification, section 9."""

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.models.silot.objects import hold_back
from tests.models.silot import scenes

DEAD = "prior/what_from_glimpse/dense_0/kernel"  # its input is always zero


def gradients(model, wheels: float, frames: int) -> dict:
    """Gradient of the whole loss by variable path, zeros where there is none."""
    video = tf.constant(scenes.moving_squares(frames=frames))
    batch = {"video": video, "frame_mask": tf.ones(video.shape[:2], tf.bool)}
    annealed = {"training_wheels": tf.constant(wheels), "count_log_odds": tf.constant(-4.38)}
    with tf.GradientTape() as tape:
        terms, _ = model.loss_terms(batch, annealed, seed=scenes.SEED)
        loss = scenes.total(terms)
    found = tape.gradient(loss, model.trainable_variables, unconnected_gradients="zero")
    return {v.path.removeprefix("silot/"): g.numpy() for v, g in zip(model.trainable_variables, found, strict=True)}


def is_under(path, *networks):
    return any(path.startswith(f"{network}/") for network in networks)


@pytest.mark.parametrize("variant", ["model", "interacting_model"])
def test_training_wheels_stop_exactly_the_heads_of_where_depth_and_presence(request, variant):
    """Property 13, wheels on."""
    found = gradients(request.getfixturevalue(variant), wheels=1.0, frames=3)
    stopped = [f"{part}/{head}" for part in ("propagation", "prior") for head in ("where", "depth", "pres")]
    stopped += ["propagation/first_encoder", "discovery/depth", "discovery/pres"]
    partly = {  # last layers: outputs that learn
        "propagation/first_glimpse/dense_2": slice(4 + 196, None),  # the second mask, not the box and the first mask
        "discovery/where/dense_1": slice(8, None),  # what is passed to the next head, not the box
        "discovery/what/dense_1": slice(0, 128),  # not what is passed to depth and presence
    }
    for path, gradient in found.items():
        layer = path.rpartition("/")[0]
        if path == DEAD or is_under(path, *stopped):
            np.testing.assert_array_equal(gradient, 0.0, err_msg=path)
        elif layer in partly:
            learns = np.zeros(gradient.shape[-1], bool)
            learns[partly[layer]] = True
            np.testing.assert_array_equal(gradient[..., ~learns], 0.0, err_msg=path)
            assert np.any(gradient[..., learns]), path
        else:
            assert np.any(gradient), path
        assert np.all(np.isfinite(gradient)), path


@pytest.mark.parametrize("variant", ["model", "interacting_model"])
def test_every_weight_learns_without_training_wheels(request, variant):
    """Property 37 and the second half of 13, clips of three frames."""
    for path, gradient in gradients(request.getfixturevalue(variant), wheels=0.0, frames=3).items():
        assert np.all(np.isfinite(gradient)), path
        assert np.any(gradient) == (path != DEAD), path
        if path == "propagation/first_glimpse/dense_2/bias":
            box, first_mask, second_mask = np.split(gradient, [4, 4 + 196])
            assert np.all(box) and np.any(first_mask) and np.any(second_mask)


def test_recurrent_cell_of_the_prior_needs_three_frames_to_learn(model):
    """Property 37, exception: its state is first used at the third frame when every slot is filled at the first."""
    for path, gradient in gradients(model, wheels=0.0, frames=2).items():
        assert np.any(gradient) == (path != DEAD and not is_under(path, "prior/cell")), path


def test_wheels_hold_back_gradients_and_leave_values():
    value = tf.constant([1.0, -2.0])
    for wheels, passed in ((None, 1.0), (0.0, 1.0), (0.25, 0.75), (1.0, 0.0)):
        with tf.GradientTape() as tape:
            tape.watch(value)
            held = hold_back(value, None if wheels is None else tf.constant(wheels))
            loss = tf.reduce_sum(held * [3.0, 5.0])
        np.testing.assert_array_equal(held, value)
        np.testing.assert_allclose(tape.gradient(loss, value), [3.0 * passed, 5.0 * passed])
