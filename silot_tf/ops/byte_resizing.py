"""Frames of bytes at another size, to the last bit as OpenCV's `resize` makes them; for graphs that have no OpenCV.

Frames are averaged where a side shrinks (`INTER_AREA`) and interpolated between pixels otherwise (`INTER_LINEAR`). The
network is trained on what OpenCV makes, which rounds to bytes: sums are taken in its order and type, since a sum that
ends just beside a half would be another byte.
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

_FRACTIONS = 11  # bits of the weights of linear interpolation, which is done in integers


def resize(frames, size: tuple[int, int]) -> tf.Tensor:
    """`[B,h,w,C]` uint8: frames at another size.

    Args:
      frames: `[B,H,W,C]` uint8, with H, W and C known.
      size: (h, w); frames that have it come back as they are.
    """
    source = tuple(frames.shape[1:3])
    size = tuple(size)
    if source == size:
        return tf.identity(frames)
    if all(new <= old for new, old in zip(size, source, strict=True)):
        return _averaged(frames, source, size)
    shrinks = any(new < old for new, old in zip(size, source, strict=True))
    return _interpolated(frames, _linear_taps(source, size, _between_where_one_side_grows if shrinks else _between))


def _averaged(frames, source, size) -> tf.Tensor:
    factors = [old / new for old, new in zip(source, size, strict=True)]
    if all(factor.is_integer() for factor in factors):
        return _whole_blocks(frames, size, [int(factor) for factor in factors])
    values = tf.cast(frames, tf.float32)
    for axis in (2, 1):  # columns first
        values = _weighted_sum(values, _area_taps(source[axis - 1], size[axis - 1]), axis, _as_float32)
    return _to_bytes(values)


def _as_float32(operation: Callable, *values) -> tf.Tensor:
    """Product or sum of two float32 tensors, rounded to float32, where compilers would fuse and not round products."""
    return tf.cast(operation(*(tf.cast(value, tf.float64) for value in values)), tf.float32)


def _whole_blocks(frames, size, factors) -> tf.Tensor:
    """Means of blocks of whole pixels: sums are integers; halves are rounded up in blocks of 2x2, else to even."""
    rows, columns = factors
    channels = frames.shape[-1]
    blocks = tf.reshape(tf.cast(frames, tf.int32), [-1, size[0], rows, size[1], columns, channels])
    sums = tf.reduce_sum(blocks, axis=[2, 4])
    if factors == [2, 2]:
        return tf.cast((sums + 2) // 4, tf.uint8)
    return _to_bytes(tf.cast(sums, tf.float32) * tf.constant(np.float32(1) / np.float32(rows * columns)))


def _area_taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions `[taps,new]` of the pixels that a new pixel covers, in their order, and the share of each in it."""
    factor = old / new
    found = []
    for place in range(new):
        begin = place * factor
        end = begin + factor
        width = min(factor, old - begin)
        first, last = math.ceil(begin), min(math.floor(end), old - 1)
        first = min(first, last)
        taps = []
        if first - begin > 1e-3:
            taps.append((first - 1, (first - begin) / width))
        taps += [(pixel, 1.0 / width) for pixel in range(first, last)]
        if end - last > 1e-3:
            taps.append((last, min(end - last, 1.0, width) / width))
        found.append(taps)
    return _table(found, np.float32)


def _linear_taps(source, size, place: Callable) -> list:
    """For rows and columns: positions `[2,new]` of the two pixels around each new one, weights in 2 ** -11.

    Args:
      source, size: (rows, columns) before and after.
      place: of the number of a new pixel and new / old, gives the first of the two pixels and the weight of the second.
    """
    found = []
    for axis, (old, new) in enumerate(zip(source, size, strict=True)):
        taps = []
        for number in range(new):
            pixel, share = place(number, new / old)
            if axis and not 0 <= pixel < old - 1:  # columns beyond the border have no share, rows repeat the border's
                pixel, share = min(max(pixel, 0), old - 1), np.float32(0)
            pair = ((pixel, np.float32(1) - share), (pixel + 1, share))
            taps.append([(min(max(p, 0), old - 1), np.round(w * np.float32(1 << _FRACTIONS))) for p, w in pair])
        found.append(_table(taps, np.int32))
    return found


def _between(number: int, ratio: float) -> tuple[int, np.float32]:
    exact = np.float32((number + 0.5) * (1 / ratio) - 0.5)
    pixel = math.floor(exact)
    return pixel, exact - np.float32(pixel)


def _between_where_one_side_grows(number: int, ratio: float) -> tuple[int, np.float32]:
    """What OpenCV takes for averaging where one side shrinks and the other grows, for both sides."""
    pixel = math.floor(number * (1 / ratio))
    share = np.float32((number + 1) - (pixel + 1) * ratio)
    return pixel, np.float32(0) if share <= 0 else share - np.float32(math.floor(share))


def _interpolated(frames, taps) -> tf.Tensor:
    """Integers, without the bits that OpenCV drops in between."""
    (row_places, row_weights), columns = taps
    values = _weighted_sum(tf.cast(frames, tf.int32), columns, 2)
    total = 0
    for places, weights in zip(row_places, row_weights, strict=True):
        row = tf.bitwise.right_shift(tf.gather(values, places, axis=1), 4)
        total += tf.bitwise.right_shift(row * tf.constant(weights[None, :, None, None]), 16)
    return tf.cast(tf.bitwise.right_shift(total + 2, 2), tf.uint8)


def _weighted_sum(values, taps, axis: int, compute: Callable = lambda operation, *values: operation(*values)):
    """Along an axis; one tap after the other, as OpenCV adds them. `compute` applies product and sum."""
    shape = [-1 if i == axis else 1 for i in range(4)]
    total = None
    for places, weights in zip(*taps, strict=True):
        part = compute(tf.multiply, tf.gather(values, places, axis=axis), tf.constant(weights.reshape(shape)))
        total = part if total is None else compute(tf.add, total, part)
    return total


def _table(found, dtype) -> tuple[np.ndarray, np.ndarray]:
    """Taps of every place as arrays `[taps,places]`; missing ones have weight 0."""
    count = max(len(taps) for taps in found)
    filled = np.array([[*taps, *[(taps[-1][0], 0)] * (count - len(taps))] for taps in found], np.float64)
    return filled[..., 0].T.astype(np.int32), filled[..., 1].T.astype(dtype)


def _to_bytes(values) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(tf.round(values), 0, 255), tf.uint8)
