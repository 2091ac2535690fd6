"""Glimpses of frames, read in the way that is fastest for their size.

On small frames that is a product of weight matrices with the whole frame (`spatial_transformer.crop`), whose cost per
glimpse grows with the frame. On large ones, the four pixels around each sample are gathered, at a cost that does not.
Both read the same values; they want their frames in different layouts, made once for all glimpses of a frame.
"""

from typing import NamedTuple

import tensorflow as tf

from silot_tf.ops import spatial_transformer

GATHERED_FROM = 64  # pixels of the shorter side, from where on gathering is faster


class Rows(NamedTuple):
    """Frames read by products with weight matrices."""

    values: tf.Tensor  # `[..., H, C, W]`

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.values.shape[-3], self.values.shape[-1]

    def read(self, where, glimpse_shape, align_corners: bool = False) -> tf.Tensor:
        """Glimpses `[B,K,rows,C,columns]`; arguments of `spatial_transformer.crop`."""
        return spatial_transformer.crop(self.values, where, glimpse_shape, align_corners)


class RowsByDefinition(Rows):
    """Frames read sample by sample: the test oracle."""

    def read(self, where, glimpse_shape, align_corners: bool = False) -> tf.Tensor:
        """As `Rows.read`."""
        return spatial_transformer.crop_by_gather(self.values, where, glimpse_shape, align_corners)


class Pixels(NamedTuple):
    """Frames read by gathering pixels."""

    values: tf.Tensor  # `[..., H, W, C]`

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.values.shape[-3], self.values.shape[-2]

    def read(self, where, glimpse_shape, align_corners: bool = False) -> tf.Tensor:
        """As `Rows.read`."""
        height, width = self.frame_shape
        # A border of zeros stands for everything outside.
        bordered = tf.pad(self.values, [(0, 0), (1, 1), (1, 1), (0, 0)])
        frames, rows, columns, channels = tf.unstack(tf.shape(bordered))
        y, x, h, w = tf.unstack(where, axis=-1)
        row, below = _neighbours(y, h, glimpse_shape[0], height, align_corners)
        column, right = _neighbours(x, w, glimpse_shape[1], width, align_corners)
        row += (tf.range(frames) * rows)[:, None, None]
        first = row[:, :, :, None] * columns + column[:, :, None, :]
        pixels = tf.reshape(bordered, [-1, channels])
        corners = [tf.gather(pixels, first + step) for step in (0, 1, columns, columns + 1)]
        right, below = right[:, :, None, :, None], below[:, :, :, None, None]
        upper = corners[0] + (corners[1] - corners[0]) * right
        lower = corners[2] + (corners[3] - corners[2]) * right
        return spatial_transformer.rows_channels_columns(upper + (lower - upper) * below)


def readable(frames, by_definition: bool = False) -> Rows | Pixels:
    """Frames `[...,H,W,C]` in the layout in which their glimpses are read fastest; static H and W.

    Args:
      frames: float, any range.
      by_definition: read them sample by sample (test oracle).
    """
    if by_definition:
        return RowsByDefinition(spatial_transformer.rows_channels_columns(frames))
    if min(frames.shape[-3:-1]) < GATHERED_FROM:
        return Rows(spatial_transformer.rows_channels_columns(frames))
    return Pixels(frames)


def _neighbours(centre, size, samples, frame_size, align_corners):
    """Samples `[..., samples]` along one axis: number of the pixel before (0 is the border) and distance from it."""
    positions = spatial_transformer.glimpse_positions(centre, size, samples, frame_size, align_corners)
    positions = tf.clip_by_value(positions, -1.0, float(frame_size))
    before = tf.minimum(tf.floor(positions), frame_size - 1.0)
    # The maximum is for what becomes of NaN.
    return tf.maximum(tf.cast(before, tf.int32) + 1, 0), positions - before
