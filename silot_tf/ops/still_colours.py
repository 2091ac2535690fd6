"""One colour that stands for a whole frame: its most frequent colour, or the median of each channel."""

import tensorflow as tf


def mode_colour(frames, levels: int = 256) -> tf.Tensor:
    """The most frequent colour of every frame, `[B,3]`; of equally frequent ones the one of lowest red, green, blue.

    Colours count as equal when all channels round to the same of `levels` evenly spaced values. The result is the mean
    of the pixels that do, so with 256 levels colours of 8-bit frames come out exactly.

    Args:
      frames: `[B,H,W,3]` in [0, 1].
      levels: 2 to 256.
    """
    pixels = _pixels(frames)
    steps = tf.cast(tf.round(pixels * (levels - 1)), tf.int32)
    code = (steps[..., 0] * levels + steps[..., 1]) * levels + steps[..., 2]
    number, most_frequent = pixels.shape[1], _mode(code)
    rounded = tf.stack([most_frequent // levels**2, most_frequent // levels % levels, most_frequent % levels], axis=-1)
    rounded = tf.cast(rounded, tf.float32) / (levels - 1)
    chosen = tf.cast(tf.equal(code, most_frequent[:, None]), tf.float32)
    # Distances from the rounded colour are summed, not colours: for 8-bit frames they are exactly 0.
    distance = tf.where(chosen[..., None] > 0, pixels - rounded[:, None], tf.zeros([1, number, 3]))
    return rounded + tf.reduce_sum(distance, axis=1) / tf.reduce_sum(chosen, axis=1, keepdims=True)


def median_colour(frames) -> tf.Tensor:
    """The median of every channel of every frame, `[B,3]`: the mean of the two middle values of an even number.

    Args:
      frames: `[B,H,W,3]`.
    """
    pixels = _pixels(frames)
    number = pixels.shape[1]
    ordered = tf.sort(tf.linalg.matrix_transpose(pixels), axis=-1)
    return (ordered[..., (number - 1) // 2] + ordered[..., number // 2]) / 2


def _mode(values) -> tf.Tensor:
    """The most frequent value of every row of `[B,P]` int32, `[B]`; the smallest of equally frequent ones.

    Equal values stand together once sorted; the lengths of these runs are the counts. Shapes are static, so XLA can
    compile it.
    """
    ordered = tf.sort(values, axis=1)
    number = values.shape[1]
    begins = tf.concat([tf.zeros_like(ordered[:, :1], tf.bool), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    run = tf.cumsum(tf.cast(begins, tf.int32), axis=1)
    size = tf.shape(values)[0]
    row = tf.range(size)[:, None]
    length = tf.math.unsorted_segment_sum(tf.ones_like(run), run + row * number, size * number)
    longest = tf.argmax(tf.reshape(length, [-1, number]), axis=1, output_type=tf.int32)
    return tf.reduce_max(tf.where(run == longest[:, None], ordered, tf.zeros_like(ordered)), axis=1)


def _pixels(frames) -> tf.Tensor:
    """`[B,H,W,3]` to `[B,H*W,3]`; H and W are static."""
    return tf.reshape(frames, [-1, frames.shape[1] * frames.shape[2], frames.shape[3]])
