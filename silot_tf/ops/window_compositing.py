"""Composition of sprites, each drawn only inside a window that its box can reach.

Gives the frames of `compositing.composite`, which keeps maps of whole frames for every object: its time and memory grow
with objects times pixels of the frame. Here they grow with objects times pixels of the largest object, plus the frame
once, which pays for frames of more than about 1.5 times the largest object per side.

All windows have the same size. They start at any row, but at a column that is a multiple of `BLOCK`, so that a row of
a window is a row of whole blocks of the frame. Adding all windows to the frame is then one sum over blocks of equal
number, in a fixed order; its gradient reads the same blocks back.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from silot_tf.ops import compositing, spatial_transformer

BLOCK = 8  # columns: smaller blocks mean narrower windows, larger ones fewer to add; 4 to 16 take about the same time


class _Windows(NamedTuple):
    """Windows of N sprites along one axis of the frame."""

    first: tf.Tensor  # `[N]` int32, number of the first block
    blocks: int  # of a window
    frame_blocks: int
    weights: tf.Tensor  # `[N, samples, pixels of a window]`, see `spatial_transformer.paste_weights`


def composite(colour, alpha, importance, where, frame_shape, largest_box, background=None) -> tf.Tensor:
    """Frames `[M,H,W,3]`, see `compositing.composite`.

    Args:
      colour, alpha, importance, where, frame_shape, background: see there.
      largest_box: (height, width) in pixels that no box exceeds; what lies farther from a box is not drawn.

    Source: SILOT specification 2.12.
    """
    slots, rows, columns = alpha.shape[1:4]
    height, width = frame_shape
    y, x, h, w = tf.unstack(tf.reshape(where, [-1, 4]), axis=-1)
    vertical = _windows(y, h, rows, height, largest_box[0], 1)
    horizontal = _windows(x, w, columns, width, largest_box[1], BLOCK)

    def paste(sprites, channels):
        sprites = tf.reshape(sprites, [-1, rows, channels, columns])
        return spatial_transformer.paste_with(vertical.weights, horizontal.weights, sprites)

    def into_frames(windows):
        return _add_to_frames(windows, vertical, horizontal, slots)[..., :width]

    pasted_importance, pasted_alpha = paste(importance, 1), paste(alpha, 1)
    # Colour channels go before columns, as `paste_with` wants them.
    pasted_colour = paste(tf.transpose(colour, [0, 1, 2, 4, 3]), 3)
    weight = into_frames(pasted_importance)
    total = into_frames(_product(pasted_importance, pasted_alpha, pasted_colour))
    hidden = None
    if background is not None:
        covered_rows, covered_columns = (tf.reduce_sum(axis.weights, axis=1) for axis in (vertical, horizontal))
        covered = covered_rows[:, :, None, None] * covered_columns[:, None, None, :]
        hidden = into_frames(pasted_importance * pasted_alpha * covered)
    return tf.linalg.matrix_transpose(compositing.average(weight, total, hidden, background))


def _windows(centre, size, samples, frame_size, largest, block) -> _Windows:
    """Windows along one axis that hold whatever boxes `[N]` of at most `largest` pixels can reach inside the frame."""
    frame_blocks = math.ceil(frame_size / block)
    reach = 1 + 1 / samples  # a sprite fades out half a sprite pixel beyond its box (specification 2.12)
    # One pixel more than can be touched: rounding may put the first one too far to the top or left.
    blocks = min(math.ceil((math.ceil(largest * reach) + block) / block), frame_blocks)
    first = tf.floor(frame_size * (centre - size * reach / 2) - 0.5)
    first = tf.cast(tf.clip_by_value(first, 0.0, float(frame_size)), tf.int32) // block
    # Windows lie inside the frame even if boxes do not. Clipped as integers, for what becomes of NaN.
    first = tf.clip_by_value(first, 0, frame_blocks - blocks)
    # Pixels come from one table, so that they are the very numbers that the other renderer uses.
    table = tf.constant(spatial_transformer.pixel_centres(frame_blocks * block, frame_size), centre.dtype)
    pixels = tf.gather(table, first[:, None] * block + tf.range(blocks * block))
    return _Windows(first, blocks, frame_blocks, spatial_transformer.paste_weights(centre, size, samples, pixels))


@tf.custom_gradient
def _product(importance, alpha, colour):
    """Product of maps `[N,P,1,Q]`, `[N,P,1,Q]`, `[N,P,3,Q]`; the automatic gradient makes more passes over them."""
    opaque = importance * alpha

    def gradient(upstream):
        to_opaque = tf.reduce_sum(colour * upstream, axis=2, keepdims=True)
        return alpha * to_opaque, importance * to_opaque, opaque * upstream

    return opaque * colour, gradient


def _add_to_frames(windows, vertical, horizontal, slots) -> tf.Tensor:
    """Sums `[M,H,C,W]` of windows `[M * slots, rows, C, columns]`; columns come in whole blocks."""
    rows, channels = windows.shape[1:3]
    objects = tf.shape(windows)[0]
    frames = windows.shape[0] // slots if windows.shape[0] is not None else objects // slots
    # Number of each block in frames laid out as [M,H,C,blocks].
    line = (tf.range(objects) // slots * vertical.frame_blocks + vertical.first)[:, None] + tf.range(rows)
    line = line[:, :, None] * channels + tf.range(channels)
    block = (line * horizontal.frame_blocks + horizontal.first[:, None, None])[..., None]
    block = tf.reshape(block + tf.range(horizontal.blocks), [-1])
    blocks_in_all = frames * vertical.frame_blocks * channels * horizontal.frame_blocks

    @tf.custom_gradient
    def add(values):
        return tf.math.unsorted_segment_sum(values, block, blocks_in_all), lambda upstream: tf.gather(upstream, block)

    sums = add(tf.reshape(windows, [-1, BLOCK]))
    return tf.reshape(sums, [-1, vertical.frame_blocks, channels, horizontal.frame_blocks * BLOCK])
