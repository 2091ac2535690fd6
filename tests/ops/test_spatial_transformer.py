import numpy as np
import pytest
import tensorflow as tf

from silot_tf.ops import spatial_transformer as st


def random_boxes(rng, shape):
    centre, size = rng.uniform(-0.1, 1.1, (*shape, 2)), rng.uniform(0.05, 1.2, (*shape, 2))
    return np.concatenate([centre, size], -1).astype(np.float32)


def crop_by_loops(frame, box, glimpse_shape, align_corners):
    """The definition, sample by sample; frame [H,W,C], box (y, x, h, w)."""
    height, width, channels = frame.shape
    y, x, h, w = box
    result = np.zeros((*glimpse_shape, channels))
    for k in range(glimpse_shape[0]):
        for m in range(glimpse_shape[1]):
            if align_corners:
                row = (height - 1) / 2 * (h * (-1 + 2 * k / (glimpse_shape[0] - 1)) + (2 * y - 1) + 1)
                column = (width - 1) / 2 * (w * (-1 + 2 * m / (glimpse_shape[1] - 1)) + (2 * x - 1) + 1)
            else:
                row = height * (y + h * ((k + 0.5) / glimpse_shape[0] - 0.5)) - 0.5
                column = width * (x + w * ((m + 0.5) / glimpse_shape[1] - 0.5)) - 0.5
            for r in (int(np.floor(row)), int(np.floor(row)) + 1):
                for c in (int(np.floor(column)), int(np.floor(column)) + 1):
                    if 0 <= r < height and 0 <= c < width:
                        result[k, m] += (1 - abs(row - r)) * (1 - abs(column - c)) * frame[r, c]
    return result


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("read", [st.crop, st.crop_by_gather])
def test_crop_equals_sampling_one_by_one(read, align_corners):
    rng = np.random.default_rng(0)
    frame = rng.random((2, 9, 11, 3), np.float32)
    where = random_boxes(rng, (2, 4))
    found = np.swapaxes(read(st.rows_channels_columns(frame), where, (5, 4), align_corners), -1, -2)
    for b in range(2):
        for k in range(4):
            expected = crop_by_loops(frame[b], where[b, k], (5, 4), align_corners)
            np.testing.assert_allclose(found[b, k], expected, atol=2e-5)


def test_paste_and_its_gradients_equal_the_gather_form():
    rng = np.random.default_rng(1)
    sprites, where = tf.constant(rng.random((6, 5, 2, 7), np.float32)), tf.constant(random_boxes(rng, (6,)))
    weights = rng.random((6, 16, 2, 20)).astype(np.float32)
    results = []
    for paste in (lambda s, w: st.Paste(w, (16, 20))(s), lambda s, w: st.paste_by_gather(s, w, (16, 20))):
        with tf.GradientTape() as tape:
            tape.watch([sprites, where])
            value = paste(sprites, where)
            loss = tf.reduce_sum(value * weights)
        results.append([value, *tape.gradient(loss, [sprites, where])])
    for fast, plain in zip(*results, strict=True):
        np.testing.assert_allclose(fast, plain, atol=2e-3, rtol=1e-4)


def test_crop_gradient_equals_the_gather_form():
    rng = np.random.default_rng(2)
    frame = st.rows_channels_columns(rng.random((1, 12, 10, 3), np.float32))
    where = tf.constant(random_boxes(rng, (1, 5)))
    weights = rng.random((1, 5, 4, 3, 6)).astype(np.float32)
    gradients = []
    for read in (st.crop, st.crop_by_gather):
        with tf.GradientTape() as tape:
            tape.watch(where)
            loss = tf.reduce_sum(read(frame, where, (4, 6)) * weights)
        gradients.append(tape.gradient(loss, where))
    np.testing.assert_allclose(*gradients, atol=2e-3, rtol=1e-4)


def test_coverage_is_what_paste_makes_of_ones():
    rng = np.random.default_rng(3)
    where = random_boxes(rng, (4,))
    pasted = st.Paste(where, (10, 12))(tf.ones([4, 5, 1, 6]))[:, :, 0]
    np.testing.assert_allclose(st.coverage(where, (5, 6), (10, 12)), pasted, atol=1e-5)


def test_glimpse_of_a_pasted_sprite_is_the_sprite():
    """Property 24: box of glimpse size at an integer offset."""
    sprite = np.random.default_rng(4).random((1, 6, 3, 6)).astype(np.float32)
    where = np.array([[(4 + 3) / 20, (7 + 3) / 24, 6 / 20, 6 / 24]], np.float32)
    frame = st.Paste(where, (20, 24))(sprite)
    np.testing.assert_allclose(st.crop(frame, where[:, None], (6, 6))[:, 0], sprite, atol=1e-5)


def test_boxes_of_size_zero_touch_nothing_and_keep_gradients_finite():
    where = tf.constant([[0.5, 0.5, 0.0, 0.0], [0.37, 0.61, 4.5e-5, 4.5e-5]])
    with tf.GradientTape() as tape:
        tape.watch(where)
        pasted = st.Paste(where, (8, 8))(tf.ones([2, 4, 1, 4]))
        loss = tf.reduce_sum(pasted)
    assert np.all(np.isfinite(tape.gradient(loss, where)))
    np.testing.assert_array_equal(pasted[1], 0.0)
