import cv2
import numpy as np
import pytest
import tensorflow as tf

from silot_tf.data import video_choices
from silot_tf.ops import byte_resizing

SIZES = [
    ((48, 64), (48, 64)),
    ((48, 64), (24, 32)),  # blocks of 2x2 are rounded in a way of their own
    ((48, 64), (16, 32)),
    ((48, 64), (48, 32)),
    ((57, 76), (30, 64)),
    ((72, 96), (31, 53)),
    ((48, 64), (60, 68)),  # grows
    ((48, 64), (48, 128)),
    ((70, 49), (87, 85)),  # one side shrinks
    ((92, 49), (87, 85)),
    ((27, 98), (94, 46)),
]


def frames(size):
    generator = np.random.default_rng(size[0])
    noise = generator.integers(0, 256, (2, *size, 3), np.uint8)
    noise[1] = noise[1] // 128 * 255  # sums of such pixels are halves more often
    return noise


@pytest.mark.parametrize(("source", "size"), SIZES)
@pytest.mark.parametrize("compiled", [False, True])
def test_frames_are_resized_to_the_last_bit_as_own_videos_are(source, size, compiled):
    made = frames(source)
    expected = np.stack([video_choices.resize(frame, size) for frame in made])
    resize = tf.function(lambda video: byte_resizing.resize(video, size), jit_compile=compiled)
    found = resize(tf.constant(made))
    assert found.dtype == tf.uint8
    np.testing.assert_array_equal(found, expected)


def test_one_channel():
    made = frames((48, 64))[..., :1]
    expected = [cv2.resize(frame, (20, 30), interpolation=cv2.INTER_AREA)[..., None] for frame in made]
    np.testing.assert_array_equal(byte_resizing.resize(tf.constant(made), (30, 20)), expected)
