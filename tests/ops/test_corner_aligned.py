"""Reading and painting with aligned corners, against pixels and against a bilinear reference sample by sample."""

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.ops import corner_aligned, glimpses

SIDE, GLIMPSE = 50, 20


def exact_box(x, y):
    """Box that covers pixels x..x+19 and y..y+19 of a 50-pixel frame exactly."""
    s = 19 / 49
    centre = lambda first: (first / 24.5 - 1 + s + 1) / 2  # noqa: E731
    return tf.constant([[[centre(y), centre(x), s, s]]], tf.float32)


def read(frame, box, shape):
    found = glimpses.readable(tf.constant(frame, tf.float32)[None]).read(box, shape, align_corners=True)
    return np.swapaxes(found, -1, -2)[0]  # [K,rows,columns,C]


def bilinear(image, y, x):
    """Image [H,W] at one point, neighbours outside counting 0."""
    top, left = int(np.floor(y)), int(np.floor(x))
    total = 0.0
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                total += image[row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


@pytest.mark.parametrize(("x", "y"), [(0, 0), (30, 30), (7, 22)])
def test_box_on_pixels_reads_and_paints_those_pixels(x, y):
    frame = np.random.default_rng(0).random((SIDE, SIDE, 1), np.float32)
    glimpse = read(frame, exact_box(x, y), (GLIMPSE, GLIMPSE))[0, ..., 0]
    np.testing.assert_allclose(glimpse, frame[y : y + GLIMPSE, x : x + GLIMPSE, 0], atol=2e-5)
    sprite = tf.constant(glimpse[None, None, :, None, :])
    painted, cover = corner_aligned.paint(sprite, exact_box(x, y), tf.ones([1, 1]), (SIDE, SIDE))
    expected = np.zeros((SIDE, SIDE))
    expected[y : y + GLIMPSE, x : x + GLIMPSE] = glimpse
    np.testing.assert_allclose(painted[0, :, 0], expected, atol=2e-5)
    np.testing.assert_allclose(cover[0, :, 0], expected != 0, atol=2e-5)


def test_whole_frame_at_its_own_size_is_the_identity():
    frame = np.random.default_rng(1).random((9, 7, 2), np.float32)
    box = tf.constant([[[0.5, 0.5, 1.0, 1.0]]])
    np.testing.assert_allclose(read(frame, box, (9, 7))[0], frame, atol=1e-5)
    sprite = tf.constant(np.swapaxes(frame, 1, 2)[None, None])
    painted, cover = corner_aligned.paint(sprite, box, tf.ones([1, 1]), (9, 7))
    np.testing.assert_allclose(np.swapaxes(painted[0], 1, 2), frame, atol=1e-5)
    np.testing.assert_allclose(cover, 1.0, atol=1e-5)


def test_reading_and_painting_equal_the_definition_point_by_point():
    """Also for boxes that leave the frame and for the smallest ones."""
    rng = np.random.default_rng(2)
    where = rng.normal(0, 1.5, (6, 4))
    where[0, :2] = -20.0  # below the floor
    box = corner_aligned.box_of(tf.constant(where, tf.float32))
    frame, sprites = rng.random((15, 11, 1)), rng.random((6, 5, 4))
    found = read(frame, box[None], (5, 4))[..., 0]
    painted, cover = corner_aligned.paint(
        tf.constant(sprites[:, None, :, None, :], tf.float32), box[:, None], tf.ones([6, 1]), (15, 11)
    )
    for n in range(6):
        sx, sy = np.maximum(1 / (1 + np.exp(-where[n, :2])), 1e-4)
        tx, ty = np.tanh(where[n, 2:])
        for i, v in enumerate(np.linspace(-1, 1, 5)):
            for j, u in enumerate(np.linspace(-1, 1, 4)):
                expected = bilinear(frame[..., 0], 7 * (sy * v + ty + 1), 5 * (sx * u + tx + 1))
                assert abs(found[n, i, j] - expected) < 1e-5
        for i, v in enumerate(np.linspace(-1, 1, 15)):
            for j, u in enumerate(np.linspace(-1, 1, 11)):
                y, x = 2 * ((v - ty) / sy + 1), 1.5 * ((u - tx) / sx + 1)
                assert abs(painted[n, i, 0, j] - bilinear(sprites[n], y, x)) < 2e-3 if sx < 1e-3 else 1e-4
                assert abs(cover[n, i, 0, j] - bilinear(np.ones((5, 4)), y, x)) < 2e-3 if sx < 1e-3 else 1e-4


def test_smallest_scale_lets_the_gradient_through():
    where = tf.constant([-20.0, -20.0, 0.0, 0.0])
    with tf.GradientTape() as tape:
        tape.watch(where)
        scale = corner_aligned.box_of(where)[2]
    assert float(scale) == pytest.approx(1e-4)
    assert float(tape.gradient(scale, where)[1]) == pytest.approx(np.exp(-20.0), rel=1e-3)


def test_logits_of_boxes_invert():
    where = np.random.default_rng(3).normal(0, 1, (4, 4))
    box = corner_aligned.box_of(tf.constant(where))
    np.testing.assert_allclose(corner_aligned.where_of(box), where, atol=1e-9)


def test_boxes_are_drawn_as_in_the_comparison():
    """Height (H + 1) s, centre 0.5 H (t + 1) - 0.5, in coordinates in which pixel k has its centre at k."""
    from silot_tf.ops import boxes

    s, t, side = 0.3, 0.2, 48
    box = corner_aligned.box_in_frame(tf.constant([[(t + 1) / 2, (t + 1) / 2, s, s]], tf.float64), (side, side))
    top, bottom, *_ = boxes.to_edges(box, (side, side))[0]
    assert bottom - top == pytest.approx((side + 1) * s)
    assert (top + bottom) / 2 == pytest.approx(0.5 * side * (t + 1) - 0.5)
