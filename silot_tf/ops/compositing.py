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
    boxes = tf.reshape(where, [-1, 4])
    paste = spatial_transformer.paste_by_gather if by_gather else spatial_transformer.Paste(boxes, frame_shape)

    def into_frame(sprites, channels):
        sprites = tf.reshape(sprites, [-1, rows, channels, columns])
        pasted = paste(sprites, boxes, frame_shape) if by_gather else paste(sprites)
        return tf.reshape(pasted, [-1, slots, height, *([channels] if channels > 1 else []), width])

    # Colour channels go before columns, as `paste` wants them.
    pasted_colour = into_frame(tf.transpose(colour, [0, 1, 2, 4, 3]), 3)
    pasted_alpha, pasted_importance = into_frame(alpha, 1), into_frame(importance, 1)
    if background is None:
        blend = _blend_by_definition if by_gather else _blend
        return tf.linalg.matrix_transpose(blend(pasted_alpha, pasted_importance, pasted_colour))

    covered = spatial_transformer.coverage(boxes, (rows, columns), frame_shape)
    covered = tf.reshape(covered, [-1, slots, height, width])
    opaque = pasted_importance * pasted_alpha
    weight = tf.reduce_sum(pasted_importance, axis=1)[:, :, None]
    total = tf.reduce_sum(opaque[:, :, :, None] * pasted_colour, axis=1)
    hidden = tf.reduce_sum(opaque * covered, axis=1)[:, :, None]
    return tf.linalg.matrix_transpose(average(weight, total, hidden, background))


def average(weight, total, hidden=None, background=None) -> tf.Tensor:
    """Average colours `[M,H,3,W]`, from sums over objects.

    Args:
      weight: `[M,H,1,W]` of the importance.
      total: `[M,H,3,W]` of importance times transparency times colour.
      hidden: `[M,H,1,W]` of importance times transparency times coverage: how much of the background is hidden; not
        needed over black.
      background: None for black, or broadcastable to `[M,H,W,3]`.
    """
    reached = weight > 0
    safe_weight = tf.where(reached, weight, tf.ones_like(weight))
    if background is None:
        return tf.where(reached, total / safe_weight, tf.zeros_like(total))
    background = tf.linalg.matrix_transpose(tf.convert_to_tensor(background))  # [..., H, 3, W]
    # As a change of the background: where sprites fade out, the division by a tiny weight then does no harm.
    return background + tf.where(reached, (total - background * hidden) / safe_weight, tf.zeros_like(total))


def _blend_by_definition(alpha, importance, colour) -> tf.Tensor:
    """Average colour over black, `[M,H,3,W]`, from pasted maps `[M,K,H,W]`, `[M,K,H,W]`, `[M,K,H,3,W]`."""
    weight = tf.reduce_sum(importance, axis=1)[:, :, None]
    return average(weight, tf.reduce_sum((importance * alpha)[:, :, :, None] * colour, axis=1))


@tf.custom_gradient
def _blend(alpha, importance, colour):
    """`_blend_by_definition` with its gradient written out.

    These are the largest tensors of the model; the automatic gradient makes twice the passes over them.
    """
    frames = _blend_by_definition(alpha, importance, colour)

    def gradient(upstream):
        weight = tf.reduce_sum(importance, axis=1)[:, :, None]
        to_total = average(weight, upstream)  # [M,H,3,W]
        to_weight = -tf.reduce_sum(to_total * frames, axis=2)  # [M,H,W]
        to_opaque = tf.reduce_sum(colour * to_total[:, None], axis=3)  # [M,K,H,W]
        to_colour = (importance * alpha)[:, :, :, None] * to_total[:, None]
        return importance * to_opaque, alpha * to_opaque + to_weight[:, None], to_colour

    return frames, gradient
