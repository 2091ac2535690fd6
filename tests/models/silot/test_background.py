"""Backgrounds behind the objects: what is shown, what is carried in the state, what is learned and saved."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.layers import backgrounds
from silot_tf.models.silot import SILOT
from silot_tf.training import checkpoints
from tests.models.silot import scenes

SIZE = 24  # pixels per side
COLOURS = np.array([[51, 102, 204], [200, 30, 90]], np.uint8)  # of the two clips


def as_read_from_data(image):
    """What a data pipeline makes of 8-bit values."""
    return np.asarray(image).astype(np.float32) / np.float32(255)


def build(background=None):
    """A small network without noise at evaluation, all of its weights but those of the background moved."""
    keras.utils.set_random_seed(0)
    model = SILOT(
        scenes.SLOTS, (24, 24), encoder_hidden=(8,), decoder_hidden=(8,), background=background, evaluation_noise=False
    )
    model.unroll(tf.zeros([1, 1, SIZE, SIZE, 3]), seed=scenes.SEED)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if background is None or all(variable is not v for v in background.variables):
            variable.assign_add(rng.normal(0, 0.05, variable.shape))
    return model


def still_image(rows=SIZE, columns=SIZE):
    return np.random.default_rng(5).integers(0, 256, (rows, columns, 3), np.uint8)


def recorded(folder, image):
    np.save(folder / "still.npy", image)
    return backgrounds.RecordedImage(str(folder / "still.npy"))


@pytest.fixture(scope="module")
def model():
    """Black."""
    return build()


@pytest.fixture(scope="module")
def mode_model():
    return build(backgrounds.ModeColour())


@pytest.fixture(scope="module")
def video():
    """Squares over a colour of its own in each of two clips."""
    black = scenes.moving_squares(frames=3, frame_shape=(SIZE, SIZE))
    return tf.constant(np.where(black == 0, as_read_from_data(COLOURS)[:, None, None, None], black))


@pytest.fixture(scope="module")
def empty(model, video):
    """Intermediate results of two frames in which the network finds nothing."""
    video, state = video[:, :2], model.initial_state(2)
    noise = model.draw_noise(video, state, scenes.SEED)
    noise["discovery"]["pres"] -= 1000.0
    stages, _ = model.unroll_stages(video, state, noise)
    return stages


def show(model, stages, background, video, crop_offset=None):
    """What is reconstructed over another background."""
    images = background.of_clips(video, crop_offset)
    return model.outputs(video, stages | {"background": images})["reconstruction"]


# ------------------------------------------------------------------------------------------------- what is shown


@pytest.mark.parametrize("kind", ["fixed", "mode", "median", "recorded"])
def test_empty_scene_is_reconstructed_perfectly(model, empty, tmp_path, kind):
    image = still_image() if kind == "recorded" else np.broadcast_to(COLOURS[0], (SIZE, SIZE, 3))
    background = {
        "fixed": lambda: backgrounds.FixedColour(COLOURS[0] / 255),
        "mode": backgrounds.ModeColour,
        "median": backgrounds.MedianColour,
        "recorded": lambda: recorded(tmp_path, image),
    }[kind]()
    frames = tf.tile(as_read_from_data(image)[None, None], [2, 2, 1, 1, 1])
    # Sprites with presence 0 are still averaged with the background, which costs a rounding.
    np.testing.assert_allclose(show(model, empty, background, frames), frames, atol=1e-6)


def test_crops_before_a_recorded_image_show_their_part_of_it(model, empty, tmp_path):
    image, offset = still_image(SIZE + 13, SIZE + 24), [[13, 2], [4, 24]]
    shown = show(model, empty, recorded(tmp_path, image), tf.zeros([2, 2, SIZE, SIZE, 3]), offset)
    for clip, (y, x) in zip(shown, offset, strict=True):
        expected = as_read_from_data(image[y : y + SIZE, x : x + SIZE])
        np.testing.assert_allclose(clip, np.broadcast_to(expected, clip.shape), atol=1e-6)


def test_every_video_shows_its_own_colour_and_objects_cover_it(mode_model, video):
    stages, _ = mode_model.unroll_stages(video, mode_model.initial_state(2), None)
    np.testing.assert_array_equal(stages["background"][:, 0, 0, 0], as_read_from_data(COLOURS))
    shown = mode_model.outputs(video, stages)["reconstruction"]
    assert np.max(np.abs(shown - stages["background"])) > 0.05


def test_one_colour_per_frame_is_composed_as_a_whole_image_of_it(model):
    rng = np.random.default_rng(0)
    draw = lambda *shape: tf.constant(rng.uniform(0.2, 0.8, shape), tf.float32)  # noqa: E731
    objects = {"what": draw(2, 3, 64), "pres": draw(2, 3, 1), "depth": draw(2, 3, 1), "where": draw(2, 3, 4)}
    colour = draw(2, 1, 1, 3)
    image = tf.tile(colour, [1, SIZE, SIZE, 1])
    found, expected = (model.renderer(**objects, frame_shape=(SIZE, SIZE), background=b)[0] for b in (colour, image))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_black_background_is_none(video):
    """So it is composed like none, bit for bit."""
    model = SILOT(background=backgrounds.FixedColour())
    assert model._background_of(video, model.initial_state(2)) == ({}, {})


# ------------------------------------------------------------------------------------------------- state and chunks


def test_state_has_an_entry_only_where_something_is_carried():
    plain = set(SILOT().initial_state(2))
    state = SILOT(background=backgrounds.ModeColour()).initial_state(2)
    assert set(state) == plain | {"background"} and tuple(state["background"]["colour"].shape) == (2, 3)
    assert set(SILOT(background=backgrounds.LearnedColour()).initial_state(2)) == plain


def test_chunks_show_the_background_of_the_whole_video(mode_model, video):
    """Though the later frames alone have another mode: something large covers them."""
    video = tf.concat([video[:, :1], tf.fill(video[:, 1:].shape, 0.9)], axis=1)
    whole, last = mode_model.unroll(video, seed=scenes.SEED)
    for cuts in ((0, 1, 3), (0, 1, 2, 3)):
        state, parts = None, []
        for start, stop in itertools.pairwise(cuts):
            outputs, state = mode_model.unroll(video[:, start:stop], state, seed=scenes.SEED)
            parts.append(outputs)
        joined = keras.tree.map_structure(lambda *values: tf.concat(values, axis=1), *parts)
        scenes.assert_equal_trees(joined, whole, rtol=1e-3, atol=1e-4)
        scenes.assert_equal_trees(state, last, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(last["background"]["colour"], as_read_from_data(COLOURS))


def test_video_that_begins_anew_gets_a_colour_of_its_own(mode_model, video):
    _, state = mode_model.unroll(video[:, :1], seed=scenes.SEED)
    state = mode_model.reset(state, tf.constant([False, True]))
    others = tf.reverse(video[:, 1:2], axis=[0])  # each row now shows what the other did
    stages, state = mode_model.unroll_stages(others, state, None)
    expected = as_read_from_data([COLOURS[0], COLOURS[0]])  # the first keeps its colour, the second has a new one
    np.testing.assert_array_equal(stages["background"][:, 0, 0, 0], expected)
    np.testing.assert_array_equal(state["background"]["colour"], expected)


# ------------------------------------------------------------------------------------------------- learning and saving


def test_learned_image_learns_with_the_rest_what_crops_show_of_it(video):
    background = backgrounds.LearnedImage((SIZE + 10, SIZE + 12))
    model = build(background)
    assert sum(v is background.logits for v in model.trainable_variables) == 1
    batch = {"video": video[:1, :1], "frame_mask": tf.ones([1, 1], tf.bool), "crop_offset": tf.constant([[7, 4]])}
    annealed = {"training_wheels": tf.constant(0.0), "count_log_odds": tf.constant(-4.0)}
    with tf.GradientTape() as tape:
        terms, _ = model.loss_terms(batch, annealed, seed=scenes.SEED)
        loss = tf.reduce_sum(terms["reconstruction"])
    gradient = np.asarray(tape.gradient(loss, background.logits.value))
    assert gradient.shape == (SIZE + 10, SIZE + 12, 3) and np.all(np.isfinite(gradient))
    shown = np.zeros(gradient.shape, bool)
    shown[7 : 7 + SIZE, 4 : 4 + SIZE] = True
    assert not np.any(gradient[~shown]) and np.mean(gradient[shown] != 0) > 0.8


def test_without_objects_the_learned_image_has_the_gradient_of_its_pixels(model, empty, video):
    """`d/dl` of the Bernoulli cross entropy with mean `sigmoid(10 l)` is `10 (mean - target)`."""
    background, video = backgrounds.LearnedImage(), video[:, :2]
    background.of_clips(video)
    with tf.GradientTape() as tape:
        shown = show(model, empty, background, video)
        loss = tf.reduce_sum(model.terms(video, empty, shown, tf.constant(-4.0))["reconstruction"])
    expected = 10 * np.sum(0.5 - video, axis=(0, 1))
    np.testing.assert_allclose(tape.gradient(loss, background.logits.value), expected, rtol=1e-4, atol=1e-3)


def test_learned_and_recorded_backgrounds_are_saved_with_the_weights(tmp_path):
    learned = SILOT(background=backgrounds.LearnedColour(name="background"))
    assert any(name.endswith("/background/logits") for name in checkpoints.named_variables(learned))
    image = SILOT(background=recorded(tmp_path, still_image()))
    assert any(v is image.background.image for v in checkpoints.named_variables(image).values())
    assert all(v is not image.background.image for v in image.trainable_variables)


# ------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("background", [backgrounds.ModeColour, keras.layers.Dense(3), (0.0, 0.0, 0.0)])
def test_class_without_brackets_and_other_layers_are_refused(background):
    with pytest.raises(UserError, match=r"background = .*expected None for black, or a layer"):
        SILOT(background=background)


def test_frames_larger_than_the_background_are_told_in_one_line(tmp_path):
    model = SILOT(background=recorded(tmp_path, still_image(20, SIZE)))
    with pytest.raises(UserError, match=r"20x24 pixels, the frames 24x24") as caught:
        model.build_variables((SIZE, SIZE, 3))
    assert "\n" not in str(caught.value)
