"""Importance-weighted composition of sprites over a background.

At each pixel the visible colour is the average of all sprites that touch it, weighted *linearly* by their importance
(not by its exponential, as the paper's text suggests; see the specification, D12).
"""

import tensorflow as tf

from silot_tf.ops import spatial_transformer

IMPORTANCE_FLOOR = 0.01  # authors' code: keeps absent sprites in the average with a tiny weight


def sprite_importance(alpha, depth, temperature: float) -> tf.Tensor:
    """Importance `max(alpha * depth / temperature, 0.01)` of sprite pixels (authors' code, used in all experiments)."""
    return tf.maximum(alpha * depth / temperature, IMPORTANCE_FLOOR)


def softmax_importance(alpha, depth, temperature: float) -> tf.Tensor:
    """Importance `alpha * exp(depth / temperature)`: the softmax over objects that the paper describes (section 3.5).

    Transparent pixels weigh nothing, so an absent object never dims another one.
    """
    return alpha * tf.exp(depth / temperature)


def composite(colour, alpha, importance, where, frame_shape, background=None, *, by_gather: bool = False) -> tf.Tensor:
    """Frames `[M,H,W,3]`: the importance-weighted average of all sprites, over the background.

    Per pixel, with bilinear values (0 outside) of importance I, transparency A, colour C and the background b:
    `sum_k I_k (A_k C_k + (1 - A_k) b) / sum_k I_k`, and b where no sprite reaches. Outside its box a sprite's colour
    fades to b, within half a sprite pixel.

    Args:
      colour: `[M,K,rows,columns,3]` in [0, 1].
      alpha: `[M,K,rows,columns]` in [0, 1], transparency times presence.
      importance: `[M,K,rows,columns]`, nonnegative.
      where: `[M,K,4]` boxes (y, x, height, width), fractions of the frame.
      frame_shape: (H, W).
      background: None for black, or broadcastable to `[M,H,W,3]`.
      by_gather: use the gather form of pasting (a test oracle, slower).

    Source: SILOT specification 2.12; authors' renderer.
    """
    slots, rows, columns = alpha.shape[1:4]
    height, width = frame_shape
    maps = tf.concat([alpha[..., None], importance[..., None], colour], axis=-1)
    maps = tf.reshape(tf.transpose(maps, [0, 1, 2, 4, 3]), [-1, rows, 5, columns])
    boxes = tf.reshape(where, [-1, 4])
    paste = spatial_transformer.paste_by_gather if by_gather else spatial_transformer.paste
    pasted = tf.reshape(paste(maps, boxes, frame_shape), [-1, slots, height, 5, width])
    pasted_alpha, pasted_importance, pasted_colour = tf.split(pasted, [1, 1, 3], axis=3)

    weight = tf.reduce_sum(pasted_importance, axis=1)  # [M,H,1,W]
    opaque_weight = pasted_importance * pasted_alpha
    total = tf.reduce_sum(opaque_weight * pasted_colour, axis=1)  # [M,H,3,W]
    reached = weight > 0
    safe_weight = tf.where(reached, weight, 1.0)
    if background is None:
        frames = tf.where(reached, total / safe_weight, 0.0)
    else:
        covered = spatial_transformer.coverage(boxes, (rows, columns), frame_shape)
        covered = tf.reshape(covered, [-1, slots, height, 1, width])
        background = tf.linalg.matrix_transpose(tf.convert_to_tensor(background))  # [..., H, 3, W]
        seen = tf.reduce_sum(pasted_importance - opaque_weight * covered, axis=1)
        frames = tf.where(reached, (total + background * seen) / safe_weight, background)
    return tf.linalg.matrix_transpose(frames)
