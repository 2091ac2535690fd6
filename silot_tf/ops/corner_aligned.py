"""The spatial transformer of attend-infer-repeat models: boxes as logits, corners of glimpse and box aligned.

Coordinates -1 and 1 are the centres of the first and the last pixel, of frames and of glimpses. Reading is
`glimpses.readable(frames).read(box, shape, align_corners=True)`; painting is its inverse, here. Both are products with
tent-shaped weights (see `spatial_transformer`), zero outside, fading over one pixel beyond the border.

A box here is (y, x, height, width) with `y = (shift_y + 1) / 2` and height `scale_y`, where shift and scale are the
coordinates of the box's centre and the ratio of sizes on the scale of -1 to 1.

Source: Kosiorek et al. 2018 (SQAIR), released code.
"""

import numpy as np
import tensorflow as tf

from silot_tf.ops.spatial_transformer import tent_weights

SMALLEST_SCALE = 1e-4  # release


def box_of(where) -> tf.Tensor:
    """Boxes `[..., 4]` of logits (scale-x, scale-y, shift-x, shift-y): scale by sigmoid, shift by tanh.

    Scales are at least `SMALLEST_SCALE`; the gradient passes through that floor.
    """
    scale, shift = tf.split(where, 2, axis=-1)
    scale, shift = tf.sigmoid(scale), tf.tanh(shift)
    scale += tf.stop_gradient(tf.maximum(scale, SMALLEST_SCALE) - scale)
    return tf.reverse(tf.concat([scale, (shift + 1.0) / 2.0], axis=-1), axis=[-1])


def where_of(box) -> np.ndarray:
    """Inverse of `box_of` in NumPy, logits `[..., 4]`; scale and shift are first kept 1e-4 away from their ends."""
    y, x, height, width = np.moveaxis(np.asarray(box, np.float64), -1, 0)
    scale = np.clip(np.stack([width, height], -1), 1e-4, 1 - 1e-4)
    shift = np.clip(2 * np.stack([x, y], -1) - 1, -1 + 1e-4, 1 - 1e-4)
    return np.concatenate([np.log(scale / (1 - scale)), np.arctanh(shift)], -1)


def box_in_frame(box, frame_shape) -> tf.Tensor:
    """Boxes in the convention of `silot_tf.contracts` (fractions of the frame, corners at pixels' edges).

    Height is `(H + 1) / H` of the scale: between the points where a painted glimpse has faded to one half, plus one.

    Source: boxes of SQAIR as SILOT's comparison draws them.
    """
    height, width = frame_shape
    return box * tf.constant([1.0, 1.0, (height + 1) / height, (width + 1) / width], box.dtype)


def paint_weights(centre, size, samples: int, frame_size: int) -> tf.Tensor:
    """Bilinear weights `[..., samples, frame_size]` of a glimpse's samples at the pixels of a frame, along one axis.

    Args:
      centre: `[...]` y or x of boxes.
      size: `[...]` height or width of boxes, positive.
      samples: of the glimpse.
      frame_size: pixels.
    """
    pixels = tf.constant(np.linspace(-1.0, 1.0, frame_size), centre.dtype)
    positions = (samples - 1) / 2 * ((pixels - (2.0 * centre - 1.0)[..., None]) / size[..., None] + 1.0)
    return tent_weights(positions, samples, samples_first=True)


def paint(glimpses, boxes, presence, frame_shape) -> tuple[tf.Tensor, tf.Tensor]:
    """Sums over slots of glimpses painted into frames, and of glimpses of ones.

    Args:
      glimpses: `[R,N,rows,C,columns]`.
      boxes: `[R,N,4]`, see `box_of`.
      presence: `[R,N]`, factors.
      frame_shape: (H, W).

    Returns:
      painted `[R,H,C,W]` and how much is painted, `[R,H,1,W]`; 1 inside of one box.
    """
    (height, width), (slots, rows, channels, columns) = frame_shape, glimpses.shape[1:]
    y, x, h, w = tf.unstack(boxes, axis=-1)
    row_weights = paint_weights(y, h, rows, height) * presence[..., None, None]
    column_weights = paint_weights(x, w, columns, width)
    # Columns slot by slot, then the rows of all slots at once: the product sums over slots.
    flat = tf.reshape(glimpses, [-1, rows * channels, columns])
    wide = tf.matmul(flat, tf.reshape(column_weights, [-1, columns, width]))
    wide = tf.reshape(wide, [-1, slots * rows, channels * width])
    painted = tf.matmul(tf.reshape(row_weights, [-1, slots * rows, height]), wide, transpose_a=True)
    cover = tf.matmul(tf.reduce_sum(row_weights, 2), tf.reduce_sum(column_weights, 2), transpose_a=True)
    return tf.reshape(painted, [-1, height, channels, width]), cover[:, :, None, :]
