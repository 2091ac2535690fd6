import numpy as np
import pytest
import tensorflow as tf

from silot_tf.ops import compositing

WHOLE = [0.5, 0.5, 1.0, 1.0]


def constant_sprites(colours, alphas, depths, size=14):
    """Sprites of constant colour, transparency and depth: the arguments of `composite` for one frame."""
    colour = np.tile(np.asarray(colours, np.float32)[None, :, None, None, :], (1, 1, size, size, 1))
    alpha = np.tile(np.asarray(alphas, np.float32)[None, :, None, None], (1, 1, size, size))
    depth = np.asarray(depths, np.float32)[None, :, None, None]
    return colour, alpha, compositing.sprite_importance(alpha, depth, 0.25)


@pytest.mark.parametrize("background", [None, np.array([0.2, 0.5, 0.9], np.float32)])
def test_absent_sprites_leave_exactly_the_background(background):
    """Property 18."""
    sprites = constant_sprites([[1, 1, 1]] * 3, [0] * 3, [0.2, 0.5, 0.9])
    where = np.array([[WHOLE, [0.3, 0.3, 0.4, 0.4], [0.9, 0.1, 0.5, 0.5]]], np.float32)
    if background is not None:
        background = np.broadcast_to(background, (1, 20, 20, 3))
    frame = compositing.composite(*sprites, where, (20, 20), background)
    np.testing.assert_allclose(frame, np.zeros((1, 20, 20, 3)) if background is None else background, atol=1e-7)


def test_stretched_white_sprite_fades_quadratically_at_its_edge():
    """Property 19."""
    sprites = constant_sprites([[1, 1, 1]], [1], [1])
    where = np.array([[[(10 + 14) / 48, (10 + 14) / 48, 28 / 48, 28 / 48]]], np.float32)
    frame = compositing.composite(*sprites, where, (48, 48))[0, :, 24, 0].numpy()
    np.testing.assert_allclose(frame[8:13], [0, 0.0625, 0.5625, 1, 1], atol=1e-5)


def test_sprite_of_its_own_size_is_copied_exactly():
    """Property 20."""
    alpha = np.random.default_rng(0).random((1, 1, 14, 14)).astype(np.float32)
    where = np.array([[[(3 + 7) / 48, (20 + 7) / 48, 14 / 48, 14 / 48]]], np.float32)
    importance = compositing.sprite_importance(alpha, np.float32(1), 0.25)
    frame = compositing.composite(np.ones((1, 1, 14, 14, 3), np.float32), alpha, importance, where, (48, 48))
    np.testing.assert_allclose(frame[0, 3:17, 20:34, 1], alpha[0, 0], atol=2e-5)
    assert float(tf.reduce_sum(frame)) == pytest.approx(3 * alpha.sum(), rel=1e-4)


def test_overlapping_opaque_sprites_average_by_depth():
    """Property 21."""
    colours = np.array([[1, 0, 0.5], [0, 1, 0.25]])
    sprites = constant_sprites(colours, [1, 1], [0.3, 0.6])
    frame = compositing.composite(*sprites, np.array([[WHOLE, WHOLE]], np.float32), (14, 14))
    expected = (0.3 * colours[0] + 0.6 * colours[1]) / 0.9
    np.testing.assert_allclose(frame[0, 7, 7], expected, atol=1e-6)


def test_absent_sprite_dims_a_present_one_by_its_floor():
    """Property 22."""
    colour, depth = np.array([0.8, 0.4, 0.2]), 0.5
    sprites = constant_sprites([colour, [1, 1, 1]], [1, 0], [depth, 0.9])
    where = np.array([[WHOLE, WHOLE]], np.float32)
    background = np.full((1, 14, 14, 3), 0.3, np.float32)
    frame = compositing.composite(*sprites, where, (14, 14), background)
    np.testing.assert_allclose(frame[0, 7, 7], (4 * depth * colour + 0.01 * 0.3) / (4 * depth + 0.01), atol=1e-5)


@pytest.mark.parametrize("with_background", [False, True])
def test_fast_form_equals_gather_form_in_values_and_gradients(with_background):
    rng = np.random.default_rng(1)
    colour, alpha = rng.random((2, 3, 6, 5, 3), np.float32), rng.random((2, 3, 6, 5), np.float32)
    importance = rng.random((2, 3, 6, 5), np.float32) + 0.01
    where = np.concatenate([rng.uniform(0, 1, (2, 3, 2)), rng.uniform(0.2, 0.9, (2, 3, 2))], -1).astype(np.float32)
    arguments = [tf.constant(value) for value in (colour, alpha, importance, where)]
    background = rng.random((2, 12, 10, 3), np.float32) if with_background else None
    weights = rng.random((2, 12, 10, 3), np.float32)
    results = []
    for by_gather in (False, True):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            frame = compositing.composite(*arguments, (12, 10), background, by_gather=by_gather)
            loss = tf.reduce_sum(frame * weights)
        results.append([frame, *tape.gradient(loss, arguments)])
        assert float(tf.reduce_min(frame)) >= 0 and float(tf.reduce_max(frame)) <= 1
    for fast, plain in zip(*results, strict=True):
        np.testing.assert_allclose(fast, plain, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("with_background", [False, True])
def test_gradients_equal_finite_differences(with_background):
    """Property 23."""
    rng = np.random.default_rng(2)
    colour, alpha = rng.random((1, 2, 4, 4, 3)), rng.random((1, 2, 4, 4))
    importance = rng.random((1, 2, 4, 4)) + 0.1
    where = np.array([[[0.47, 0.52, 0.63, 0.71], [0.38, 0.61, 0.83, 0.59]]])
    background, weights = rng.random((1, 9, 9, 3)), rng.random((1, 9, 9, 3))
    arguments = [colour, alpha, importance, where, background]

    def loss(*values):
        frame = compositing.composite(*values[:4], (9, 9), values[4] if with_background else None)
        return tf.reduce_sum(frame * weights)

    tensors = [tf.constant(value) for value in arguments[: 5 if with_background else 4]]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = loss(*tensors)
    gradients = tape.gradient(value, tensors)
    step = 1e-6  # float64; few kinks of the bilinear weights lie within it
    for i, gradient in enumerate(gradients):
        direction = rng.standard_normal(arguments[i].shape)
        forward, backward = (
            loss(*tensors[:i], tensors[i] + sign * step * direction, *tensors[i + 1 :]) for sign in (1, -1)
        )
        numeric = float(forward - backward) / (2 * step)
        assert np.sum(gradient * direction) == pytest.approx(numeric, rel=1e-5, abs=1e-5), i


def test_softmax_importance_ignores_transparent_pixels():
    alpha = np.array([0.0, 1.0], np.float32)
    np.testing.assert_allclose(
        compositing.softmax_importance(alpha, np.float32(0.5), 0.25), [0.0, np.exp(2.0)], rtol=1e-6
    )
