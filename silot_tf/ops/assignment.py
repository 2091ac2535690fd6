"""Exact assignment of few things to few others, inside graphs.

The least cost of giving columns to the first rows is known for every set of columns, one more row at a time; there are
2^N sets of N columns. For a dozen of them that is quick, and unlike the Hungarian method it has no branches.

Source: Held & Karp, A Dynamic Programming Approach to Sequencing Problems (1962), applied to assignment.
"""

import functools

import numpy as np
import tensorflow as tf

LARGEST = 12


def cheapest(cost) -> tf.Tensor:
    """The column of each row in the one-to-one assignment of least total cost, `[R,N,N] -> [R,N]` int32.

    Args:
      cost: `[R,N,N]` finite float; N static and at most `LARGEST`.

    Raises:
      ValueError: for more rows than that, or matrices that are not square.
    """
    size = cost.shape[-1]
    if size > LARGEST or cost.shape[-2] != size:
        raise ValueError(f"costs are {tuple(cost.shape)}; expected square matrices of at most {LARGEST} rows")
    without, impossible = _sets(size)
    least = tf.concat([tf.zeros_like(cost[:, 0, :1]), tf.repeat(cost[:, 0, :1] * 0 + np.inf, 2**size - 1, axis=1)], 1)
    choices = []
    for row in range(size):
        candidates = tf.gather(least, without, axis=1) + cost[:, row, None, :] + impossible
        choices.append(tf.argmin(candidates, axis=-1, output_type=tf.int32))
        least = tf.reduce_min(candidates, axis=-1)
    left = tf.fill([tf.shape(cost)[0]], 2**size - 1)
    columns = []
    for choice in reversed(choices):
        columns.append(tf.gather(choice, left, batch_dims=1))
        left -= tf.bitwise.left_shift(1, columns[-1])
    return tf.stack(columns[::-1], axis=1)


@functools.cache
def _sets(size: int) -> tuple[np.ndarray, np.ndarray]:
    """For every set of columns and every column, `[2^N,N]`: the set without it; and infinity where it has it not."""
    sets, column = np.arange(2**size)[:, None], 1 << np.arange(size)[None]
    contained = (sets & column) > 0
    return np.where(contained, sets ^ column, 0).astype(np.int32), np.where(contained, 0, np.inf).astype(np.float32)
