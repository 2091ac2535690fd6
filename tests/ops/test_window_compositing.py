"""Composition in windows against composition on whole frames, which has oracles of its own."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.ops import compositing, spatial_transformer, window_compositing

LARGEST = 12.0  # pixels
PROGRAM = """
import hashlib
import numpy as np, tensorflow as tf
from silot_tf.ops import window_compositing
from silot_tf.training import determinism

determinism.make_deterministic()
tf.config.threading.set_intra_op_parallelism_threads(2)
rng = np.random.default_rng(0)
maps = [rng.random((4, 40, 6, 5, *last), np.float32) for last in ((3,), (), ())]
boxes = np.concatenate([rng.random((4, 40, 2)), rng.random((4, 40, 2)) / 4], -1).astype(np.float32)
inputs = [tf.constant(value) for value in (*maps, boxes)]


@tf.function(autograph=False)
def compute():
    frames = window_compositing.composite(*inputs, (48, 48), (12, 12))
    return [frames, *determinism.gradients(tf.reduce_sum(frames**2), inputs)]


print(len({hashlib.md5(b"".join(value.numpy().tobytes() for value in compute())).hexdigest() for _ in range(60)}))
"""
NAMES = ("colour", "alpha", "importance", "where", "background")


def scene(frame_shape, frames=2, slots=9, seed=0, sprite_shape=(6, 5), dtype=np.float32):
    """Arguments of `composite` up to `where`: boxes inside, over every border, outside, empty and of full size."""
    rng = np.random.default_rng(seed)
    maps = (frames, slots, *sprite_shape)
    alpha = rng.random(maps) * rng.integers(0, 2, (frames, slots, 1, 1))  # some objects are absent
    importance = np.maximum(alpha * rng.random((frames, slots, 1, 1)) / 0.25, 0.01)
    sides = np.array(frame_shape)
    size = rng.uniform(0.05, 1.0, (frames, slots, 2)) * LARGEST
    size[:, 0] = LARGEST
    centre = rng.uniform(-0.05, 1.05, (frames, slots, 2)) * sides
    centre[:, 0], centre[:, 1], centre[:, 2] = (0, 0), sides, (0, sides[1])
    centre[:, 3], size[:, 3] = 0, 0  # an empty slot
    centre[:, 4] = sides + 3 * LARGEST  # far outside
    centre[:, 5] = -3 * LARGEST
    where = np.concatenate([centre / sides, size / sides], -1)
    return [tf.constant(value.astype(dtype)) for value in (rng.random((*maps, 3)), alpha, importance, where)]


def backgrounds(frame_shape, frames=2):
    rng = np.random.default_rng(5)
    return {"black": None, "image": rng.random((frames, *frame_shape, 3)), "colour": rng.random((frames, 1, 1, 3))}


def values_and_gradients(composite, arguments, background, weights):
    inputs = [*arguments, *([] if background is None else [tf.constant(background, arguments[0].dtype)])]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        frames = composite(*inputs[:4], inputs[4] if len(inputs) > 4 else None)
        loss = tf.reduce_sum(frames * tf.cast(weights, frames.dtype))
    return [frames, *tape.gradient(loss, inputs)]


def on_whole_frames(frame_shape, **options):
    return lambda *sprites: compositing.composite(*sprites[:4], frame_shape, sprites[4], **options)


def in_windows(frame_shape, largest=(LARGEST, LARGEST)):
    return lambda *sprites: window_compositing.composite(*sprites[:4], frame_shape, largest, sprites[4])


def assert_close(found, expected, tolerance):
    """Relative to the largest entry, where that is above 1."""
    for name, a, b in zip(("frames", *NAMES), found, expected, strict=False):
        assert np.all(np.isfinite(a)), name
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.max(np.abs(b))), err_msg=name)


@pytest.mark.parametrize("background", ["black", "image", "colour"])
@pytest.mark.parametrize("frame_shape", [(40, 48), (37, 51), (18, 20), (9, 60)])
def test_windows_give_the_same_frames_and_gradients(frame_shape, background):
    behind = backgrounds(frame_shape)[background]
    weights = np.random.default_rng(6).normal(size=(2, *frame_shape, 3))
    for seed in range(3):
        arguments = scene(frame_shape, seed=seed)
        found, expected = (
            values_and_gradients(form(frame_shape), arguments, behind, weights)
            for form in (in_windows, on_whole_frames)
        )
        assert_close(found, expected, 2e-5)


@pytest.mark.parametrize("background", ["black", "image"])
def test_in_double_precision_only_the_order_of_sums_differs(background):
    frame_shape = (40, 48)
    weights = np.random.default_rng(6).normal(size=(2, *frame_shape, 3))
    found, expected = (
        values_and_gradients(form, scene(frame_shape, dtype=np.float64), backgrounds(frame_shape)[background], weights)
        for form in (in_windows(frame_shape), on_whole_frames(frame_shape))
    )
    assert_close(found, expected, 1e-11)


def test_windows_agree_with_the_gather_form():
    frame_shape = (40, 48)
    found, expected = (
        values_and_gradients(form, scene(frame_shape), backgrounds(frame_shape)["image"], 1.0)
        for form in (in_windows(frame_shape), on_whole_frames(frame_shape, by_gather=True))
    )
    assert_close(found, expected, 2e-4)


@pytest.mark.parametrize("with_background", [False, True])
def test_gradients_equal_finite_differences(with_background):
    """Property 23, for a sprite over the border and two that overlap."""
    rng = np.random.default_rng(2)
    colour, alpha = rng.random((1, 3, 4, 4, 3)), rng.random((1, 3, 4, 4))
    importance = rng.random((1, 3, 4, 4)) + 0.1
    where = np.array([[[0.47, 0.52, 0.33, 0.31], [0.38, 0.61, 0.23, 0.19], [0.96, 0.02, 0.31, 0.27]]])
    background, weights = rng.random((1, 30, 26, 3)), rng.random((1, 30, 26, 3))
    arguments = [colour, alpha, importance, where, background][: 5 if with_background else 4]
    draw = in_windows((30, 26))

    def loss(*values):
        return tf.reduce_sum(draw(*values[:4], values[4] if with_background else None) * weights)

    tensors = [tf.constant(value) for value in arguments]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = loss(*tensors)
    step = 1e-6  # float64; few kinks of the bilinear weights lie within it
    for i, gradient in enumerate(tape.gradient(value, tensors)):
        direction = rng.standard_normal(arguments[i].shape)
        forward, backward = (
            loss(*tensors[:i], tensors[i] + sign * step * direction, *tensors[i + 1 :]) for sign in (1, -1)
        )
        numeric = float(forward - backward) / (2 * step)
        assert np.sum(gradient * direction) == pytest.approx(numeric, rel=1e-5, abs=1e-5), NAMES[i]


@pytest.mark.parametrize(("samples", "largest", "block"), [(14, 24.0, 1), (14, 24.0, 8), (2, 7.5, 1), (5, 3.0, 8)])
def test_windows_hold_every_pixel_that_a_box_reaches(samples, largest, block):
    rng = np.random.default_rng(3)
    frame_size, count = 61, 4000
    size = np.concatenate([np.full(count // 2, largest), rng.uniform(0, largest, count // 2)]) / frame_size
    # Half of the boxes start or end exactly between two pixels, or in the middle of one.
    centre = rng.uniform(-0.3, 1.3, count)
    centre[::2] = np.round(centre[::2] * frame_size * 2) / 2 / frame_size + size[::2] * (1 + 1 / samples) / 2
    centre, size = tf.constant(centre, tf.float32), tf.constant(size, tf.float32)
    windows = window_compositing._windows(centre, size, samples, frame_size, largest, block)
    inside = np.arange(windows.blocks * block) + windows.first.numpy()[:, None] * block < frame_size
    table = spatial_transformer.pixel_centres(frame_size, frame_size)
    whole = spatial_transformer.paste_weights(centre, size, samples, table)
    found = np.sum(windows.weights * inside[:, None], axis=2)
    np.testing.assert_allclose(found, np.sum(whole, axis=2), rtol=0, atol=1e-4)
    assert windows.blocks * block <= largest * (1 + 1 / samples) + 2 + 2 * block


def test_batch_may_be_unknown_and_the_function_compiled():
    frame_shape = (40, 48)
    draw = in_windows(frame_shape)
    expected = draw(*scene(frame_shape), None)
    specs = [tf.TensorSpec([None, *value.shape[1:]]) for value in scene(frame_shape)]
    unknown = tf.function(lambda *sprites: draw(*sprites, None), input_signature=specs, autograph=False)
    np.testing.assert_allclose(unknown(*scene(frame_shape)), expected, atol=1e-6)
    assert unknown(*scene(frame_shape, frames=5)).shape == (5, *frame_shape, 3)

    def loss(*sprites):
        frames = draw(*sprites, None)
        return frames, tf.gradients(tf.reduce_sum(frames**2), sprites)

    plain, compiled = (
        tf.nest.flatten(tf.function(loss, jit_compile=jit, autograph=False)(*scene(frame_shape)))
        for jit in (False, True)
    )
    assert_close(compiled, plain, 2e-5)


def test_the_same_bits_every_time_where_only_deterministic_operations_are_allowed():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "1", done.stderr[-2000:]


def test_boxes_that_are_no_numbers_leave_other_frames_alone():
    *sprites, where = scene((40, 48))
    wrong = tf.concat([tf.where(tf.range(9)[:, None] == 7, float("nan"), where[:1]), where[1:]], axis=0)
    found, expected = (in_windows((40, 48))(*sprites, boxes, None) for boxes in (wrong, where))
    np.testing.assert_array_equal(found[1], expected[1])
