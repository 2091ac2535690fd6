"""Which form of composition the renderer takes, and that the network does not change with it."""

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.models.silot import SILOT
from silot_tf.models.silot.rendering import Renderer
from tests.models.silot import scenes

FRAME_SHAPE = (42, 38)
SMALL = {"encoder_hidden": (16,), "decoder_hidden": (16,), "anchor": (14, 12), "num_slots": 5}


@pytest.mark.parametrize(
    ("options", "windows_on"),
    [
        ({}, {(48, 48): False, (72, 72): False, (96, 96): True, (96, 72): False, (210, 160): True}),
        ({"rendering": "window"}, {(48, 48): True, (210, 160): True}),
        ({"rendering": "image"}, {(48, 48): False, (210, 160): False}),
        ({"rendering": "window", "plain": True}, {(210, 160): False}),
    ],
)
def test_windows_are_for_frames_much_larger_than_the_largest_object(options, windows_on):
    renderer = SILOT(anchor=(48, 48), **options).renderer
    assert {shape: renderer.uses_windows(shape) for shape in windows_on} == windows_on


def test_renderer_that_does_not_know_the_largest_object_takes_no_windows():
    assert not Renderer().uses_windows((1000, 1000))
    with pytest.raises(UserError, match="largest_box None"):
        Renderer(rendering="window")
    with pytest.raises(UserError, match="rendering = 'windows'"):
        SILOT(rendering="windows")


def loss_and_gradients(model, video):
    batch = {"video": video, "frame_mask": tf.ones(video.shape[:2], tf.bool)}
    annealed = {"training_wheels": tf.constant(0.0), "count_log_odds": tf.constant(-4.0)}
    with tf.GradientTape() as tape:
        terms, outputs = model.loss_terms(batch, annealed, seed=scenes.SEED)
        loss = scenes.total(terms)
    return outputs["reconstruction"], loss, tape.gradient(loss, model.trainable_variables)


def test_frames_losses_and_gradients_of_the_network_do_not_depend_on_the_rendering():
    video = tf.constant(scenes.moving_squares(frame_shape=FRAME_SHAPE, frames=2))
    model = scenes.build(FRAME_SHAPE, **SMALL)
    results = []
    for rendering in ("window", "image"):
        model.renderer.rendering = rendering
        results.append(loss_and_gradients(model, video))
    (found, found_loss, found_gradients), (expected, expected_loss, expected_gradients) = results
    assert np.max(expected) > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(found_loss, expected_loss, rtol=2e-5)
    for a, b in zip(found_gradients, expected_gradients, strict=True):
        if b is not None:
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * max(1.0, np.max(np.abs(b))))


def test_weights_of_crops_run_on_any_larger_frame_with_more_slots():
    """Property 34, across the sizes where rendering and the reading of glimpses change form."""
    crops = scenes.build((24, 24), **SMALL)
    video = tf.constant(scenes.moving_squares(frame_shape=(90, 67), frames=1))
    shown = []
    for plain in (False, True):
        larger = SILOT(**SMALL | {"num_slots": 40}, plain=plain)
        larger.build_variables((24, 24, 3))
        larger.set_weights(crops.get_weights())
        outputs, _ = larger.unroll(video, seed=scenes.SEED)
        shown.append({"reconstruction": outputs["reconstruction"], "where": outputs["objects"]["where"]})
        assert larger.renderer.uses_windows((90, 67)) == (not plain)
    scenes.assert_equal_trees(*shown, atol=2e-5)


def test_sprites_are_what_the_decoder_makes_of_appearances_of_any_form():
    model = scenes.build(FRAME_SHAPE, **SMALL)
    what = np.random.default_rng(0).normal(0, 3, (2, 3, 5, model.what_size)).astype(np.float32)
    sprites = model.sprites(what)
    colour, opacity = model.renderer.decode(tf.reshape(what, [6, 5, -1]))
    rows, columns = model.glimpse_shape
    assert sprites.shape == (2, 3, 5, rows, columns, 4)
    np.testing.assert_allclose(sprites[..., :3], tf.reshape(colour, sprites[..., :3].shape), atol=1e-6)
    np.testing.assert_allclose(sprites[..., 3], tf.reshape(opacity, sprites.shape[:-1]), atol=1e-6)


def test_the_sprite_of_an_opaque_object_is_what_its_box_shows_over_black():
    """A box of as many pixels as the sprite has samples, so that nothing is interpolated."""
    model = scenes.build((24, 24), **SMALL | {"num_slots": 1}, alpha_shift=20.0, alpha_scale=0.0)
    rows, columns = model.glimpse_shape
    what = np.random.default_rng(0).normal(0, 3, (1, 1, model.what_size)).astype(np.float32)
    where = np.array([[[(3 + rows / 2) / 40, (20 + columns / 2) / 50, rows / 40, columns / 50]]], np.float32)
    one = np.ones((1, 1, 1), np.float32)
    frames, _ = model.renderer(what, one, one, where, frame_shape=(40, 50))
    sprite = model.sprites(what)[0, 0].numpy()
    assert sprite[..., 3].min() > 0.9999 and np.ptp(sprite[..., :3]) > 0.1
    np.testing.assert_allclose(frames[0, 3 : 3 + rows, 20 : 20 + columns], sprite[..., :3], atol=2e-4)
