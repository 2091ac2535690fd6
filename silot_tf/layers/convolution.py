"""Convolutional networks whose output is a grid of cells, and the padding that centres fields on cells."""

import math

import gin
import keras
import numpy as np
import tensorflow as tf


def grid_padding(frame_size: int, receptive_field: int, cell_size: int) -> tuple[int, int, int]:
    """Cells, and zero padding before and after, along one axis of a frame.

    Args:
      frame_size: pixels along this axis.
      receptive_field: pixels seen by one output cell.
      cell_size: pixels between neighbouring output cells.

    Returns:
      (cells, before, after) so that a network with VALID padding gives exactly `ceil(frame_size / cell_size)` cells,
      each field centred on its cell (up to half a pixel).

    Source: SILOT specification 2.2.
    """
    cells = math.ceil(frame_size / cell_size)
    before = receptive_field // 2 - cell_size // 2
    after = receptive_field + (cells - 1) * cell_size - frame_size - before
    return cells, before, after


def cell_indices(rows: int, columns: int) -> np.ndarray:
    """(row, column) of every grid cell, row-major, `[rows * columns, 2]` float32."""
    indices = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    return np.stack(indices, axis=-1).reshape(-1, 2).astype(np.float32)


@gin.register(module="layers")
class GridEncoder(keras.layers.Layer):
    """Convolutions from frames to one feature vector per grid cell, after one zero padding of the frame.

    Source: SILOT specification 2.2 (backbone; the last layer is linear, D1).
    """

    def __init__(
        self,
        kernels=(4, 4, 4, 1, 1, 1),
        strides=(3, 2, 2, 1, 1, 1),
        channels=(128, 128, 128, 128, 128, 64),
        name=None,
    ):
        """Args: `kernels`, `strides`, `channels`: one entry per layer (square kernels, in pixels)."""
        super().__init__(name=name)
        if not len(kernels) == len(strides) == len(channels):
            raise ValueError("GridEncoder: kernels, strides and channels must have the same length")
        self.receptive_field, self.cell_size = 1, 1
        for kernel, stride in zip(kernels, strides, strict=True):
            self.receptive_field += (kernel - 1) * self.cell_size
            self.cell_size *= stride
        self.convolutions = [
            keras.layers.Conv2D(
                c,
                k,
                s,
                padding="valid",
                activation="relu" if i < len(channels) - 1 else None,
                name=f"conv_{i}",
            )
            for i, (k, s, c) in enumerate(zip(kernels, strides, channels, strict=True))
        ]

    def grid_shape(self, frame_shape) -> tuple[int, int]:
        """(rows, columns) of cells for a frame of (H, W, ...) pixels."""
        return tuple(grid_padding(size, self.receptive_field, self.cell_size)[0] for size in tuple(frame_shape)[:2])

    def call(self, frames):
        """Features `[N, rows, columns, channels[-1]]` of frames `[N,H,W,C]`."""
        padding = [grid_padding(size, self.receptive_field, self.cell_size)[1:] for size in frames.shape[1:3]]
        hidden = tf.pad(frames, [(0, 0), *padding, (0, 0)])
        for layer in self.convolutions:
            hidden = layer(hidden)
        return hidden


@gin.register(module="layers")
class ConvolutionStack(keras.layers.Layer):
    """Convolutions with SAME padding on a grid, ReLU between layers, linear output."""

    def __init__(self, channels, kernel: int = 3, name=None):
        """Args: `channels`: outputs per layer; `kernel`: side of the square kernels."""
        super().__init__(name=name)
        self.convolutions = [
            keras.layers.Conv2D(
                c,
                kernel,
                padding="same",
                activation="relu" if i < len(channels) - 1 else None,
                name=f"conv_{i}",
            )
            for i, c in enumerate(channels)
        ]

    def call(self, grid):
        """Grid `[N, rows, columns, channels[-1]]`."""
        for layer in self.convolutions:
            grid = layer(grid)
        return grid
