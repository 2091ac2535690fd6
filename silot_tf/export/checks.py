"""Checks inside of exported graphs, so that they go with the SavedModel: what came, what is expected, what to do.

XLA leaves all of them out, as it does with every `Assert`; so has the StableHLO module none.
"""

import tensorflow as tf

from silot_tf.export import names


def frame(frame, frame_shape) -> tf.Tensor:
    """A frame `[B,H,W,C]` of any type that is as it has to be; the graph fails with a sentence for any other.

    Args:
      frame: as it came.
      frame_shape: (H, W, C) expected. Floats are expected in `names.FLOAT_RANGE`.
    """
    # TensorFlow believes what a signature says about shapes and would take the check for settled; so they are hidden.
    frame = tf.compat.v1.placeholder_with_default(frame, shape=None)
    shape = tf.shape(frame)
    sides = tf.concat([shape, [-1] * 4], axis=0)[1:4]  # also of frames with too few dimensions
    wanted = ",".join(map(str, frame_shape))
    message = (
        f"step takes frames of shape [batch,{wanted}]; crop or resize them, or export again with "
        "--frame_shape=HEIGHT,WIDTH. Found frames of shape"
    )
    right = tf.logical_and(tf.equal(tf.size(shape), 4), tf.reduce_all(tf.equal(sides, list(frame_shape))))
    with tf.control_dependencies([tf.debugging.Assert(right, [message, shape], summarize=8)]):
        frame = tf.ensure_shape(tf.identity(frame), [None, *frame_shape])
    if not frame.dtype.is_floating:
        return frame
    least, most = tf.reduce_min(frame), tf.reduce_max(frame)
    message = (
        "step takes float frames with values from 0 to 1; divide them by 255, or hand them over as uint8 (step_uint8). "
        "Found values from, to"
    )
    low, high = names.FLOAT_RANGE
    inside = tf.logical_and(least >= low, most <= high)  # False for NaN
    with tf.control_dependencies([tf.debugging.Assert(inside, [message, least, most])]):
        return tf.identity(frame)


def same_batch(frame, reset, state) -> tf.Operation:
    """Fails where batch sizes differ, which broadcasting would hide."""
    sizes = tf.stack([tf.shape(value)[0] for value in (frame, reset, state)])
    message = "frame, reset and state have batch sizes that differ; get a state from initial_state(batch_size=...):"
    return tf.debugging.Assert(tf.reduce_all(sizes == sizes[0]), [message, sizes])
