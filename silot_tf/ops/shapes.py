"""Sizes and reshapings of tensors with the batch in front."""

import tensorflow as tf


def batch_size_of(video):
    """Number of clips, an int where it is known while tracing and a scalar tensor otherwise."""
    return video.shape[0] if video.shape[0] is not None else tf.shape(video)[0]


def merge_leading(value) -> tf.Tensor:
    """The first two axes made one, for example `[B,T,...]` to `[B * T,...]`."""
    return tf.reshape(value, [-1, *value.shape[2:]])
