import numpy as np
import pytest
import tensorflow as tf

from silot_tf.ops.still_colours import median_colour, mode_colour


def frames_of_few_colours(seed=0, colours=5, shape=(3, 9, 11)):
    """8-bit frames `[B,H,W,3]` of a few colours."""
    rng = np.random.default_rng(seed)
    palette = rng.integers(0, 256, (colours, 3), np.uint8)
    return palette[rng.integers(0, colours, shape)]


def as_read_from_data(frames):
    """What a data pipeline makes of 8-bit frames."""
    return tf.cast(frames, tf.float32) / 255.0


def mode_by_counting(frame):
    """Most frequent colour of `[H,W,3]`, the first in the order of red, green, blue."""
    colours, counts = np.unique(frame.reshape(-1, 3), axis=0, return_counts=True)
    return colours[counts.argmax()]


@pytest.mark.parametrize("seed", range(4))
def test_mode_is_the_colour_that_counting_finds_exactly(seed):
    frames = frames_of_few_colours(seed)
    expected = np.stack([mode_by_counting(frame) for frame in frames])
    np.testing.assert_array_equal(mode_colour(as_read_from_data(frames)), as_read_from_data(expected))


def test_mode_counts_whole_colours_not_channels():
    """In each channel 1 is more frequent, but no colour has two ones."""
    colours = [[1, 0, 1], [1, 1, 0], [0, 1, 1], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(mode_colour(tf.constant([[colours]], tf.float32)), [[0, 0, 0]])


def test_of_equally_frequent_colours_the_first_in_order_of_red_green_blue_is_taken():
    colours = [[0.2, 0.4, 0.2], [0.4, 0.0, 0.0], [0.2, 0.2, 0.4]]
    np.testing.assert_allclose(mode_colour(tf.constant([[colours]])), [[0.2, 0.2, 0.4]], atol=1e-7)


def test_frames_of_one_colour_have_it():
    for value in (0, 1, 128, 255):
        frame = as_read_from_data(np.full((1, 4, 5, 3), value, np.uint8))
        np.testing.assert_array_equal(mode_colour(frame), frame[:, 0, 0])
        np.testing.assert_array_equal(median_colour(frame), frame[:, 0, 0])


def test_fewer_levels_find_a_noisy_background():
    """With noise no colour is seen twice, except the object's."""
    rng = np.random.default_rng(0)
    frame = np.array([0.5, 0.26, 0.76]) + rng.uniform(-0.03, 0.03, (1, 20, 20, 3))
    frame[:, 2:6, 2:6] = [0.9, 0.1, 0.1]
    frame = tf.constant(frame, tf.float32)
    np.testing.assert_allclose(mode_colour(frame), [[0.9, 0.1, 0.1]], atol=1e-6)
    np.testing.assert_allclose(mode_colour(frame, levels=5), [[0.5, 0.26, 0.76]], atol=0.01)


@pytest.mark.parametrize("shape", [(3, 9, 11), (2, 4, 6)])
def test_median_is_that_of_numpy(shape):
    frames = np.random.default_rng(1).random((*shape, 3), np.float32)
    expected = np.median(frames.reshape(shape[0], -1, 3), axis=1)
    np.testing.assert_allclose(median_colour(tf.constant(frames)), expected, rtol=1e-6)


@pytest.mark.parametrize("function", [mode_colour, median_colour])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_for_any_number_of_frames_gives_the_same(function, jit_compile):
    frames = as_read_from_data(frames_of_few_colours())
    signature = None if jit_compile else [tf.TensorSpec([None, *frames.shape[1:]])]
    compiled = tf.function(lambda frames: function(frames), input_signature=signature, jit_compile=jit_compile)
    for size in (1, 3):
        np.testing.assert_allclose(compiled(frames[:size]), function(frames[:size]), atol=1e-6)
