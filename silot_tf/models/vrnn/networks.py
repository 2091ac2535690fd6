"""Networks between frames, codes and latents, with ELU and Glorot-uniform kernels.

Source: SQAIR specification 7.2.
"""

import keras
import tensorflow as tf

from silot_tf.errors import UserError


class DenseStack(keras.layers.Layer):
    """Dense layers with ELU after each of `hidden`, then a linear one of `units` where that is given."""

    def __init__(self, hidden, units: int | None = None, name=None):
        super().__init__(name=name)
        self.dense_layers = [
            keras.layers.Dense(width, activation="elu", name=f"dense_{i}") for i, width in enumerate(hidden)
        ]
        if units is not None:
            self.dense_layers.append(keras.layers.Dense(units, name=f"dense_{len(hidden)}"))

    def call(self, inputs):
        """`[N, F]` to `[N, units]`."""
        for layer in self.dense_layers:
            inputs = layer(inputs)
        return inputs


class FrameCoder(keras.layers.Layer):
    """Codes of frames: convolutions with SAME padding where `channels` are given, then `hidden` dense layers."""

    def __init__(self, hidden, channels=(), strides=(), name=None):
        super().__init__(name=name)
        self.convolutions = [
            keras.layers.Conv2D(c, 3, s, padding="same", activation="elu", name=f"conv_{i}")
            for i, (c, s) in enumerate(zip(channels, strides, strict=True))
        ]
        self.dense = DenseStack(hidden, name="dense")

    def call(self, frames):
        """`[N,H,W,C]` to `[N, hidden[-1]]`."""
        for layer in self.convolutions:
            frames = layer(frames)
        return self.dense(tf.reshape(frames, [-1, frames.shape[1] * frames.shape[2] * frames.shape[3]]))


class FrameDecoder(keras.layers.Layer):
    """Mean frames from codes; the mirror image of `FrameCoder`, made for the frame size that it sees first.

    With convolutions: a dense layer to a coarse map of `seed_channels`, transposed convolutions (3x3) whose maps are
    cut to the sizes that the encoder has on its way, and a last convolution to the frame's channels. Without: dense
    layers.
    """

    def __init__(self, hidden, channels=(), strides=(), seed_channels: int = 16, name=None):
        super().__init__(name=name)
        self.hidden, self.channels, self.strides = tuple(hidden), tuple(channels), tuple(strides)
        self.seed_channels, self.frame_shape = seed_channels, None

    def prepare(self, frame_shape) -> None:
        """Create the layers for frames of (H, W, C), once.

        Raises:
          UserError: if they were created for another shape.
        """
        frame_shape = tuple(frame_shape)
        if self.frame_shape not in (None, frame_shape):
            raise UserError(
                f"this network draws frames of shape {self.frame_shape} and got clips with frames of shape "
                f"{frame_shape}; its weights belong to one size, so train and use it on frames of the same size"
            )
        if self.frame_shape is None:
            self.frame_shape = frame_shape
            (self._prepare_convolutions if self.channels else self._prepare_dense)()

    def _prepare_dense(self) -> None:
        height, width, channels = self.frame_shape
        self.dense = DenseStack(self.hidden, height * width * channels, name="dense")

    def _prepare_convolutions(self) -> None:
        sizes = [self.frame_shape[:2]]
        for stride in self.strides:
            sizes.append(tuple(-(-side // stride) for side in sizes[-1]))
        *self.sizes, self.coarse = sizes
        self.sizes = self.sizes[::-1]
        self.dense = DenseStack((*self.hidden, self.coarse[0] * self.coarse[1] * self.seed_channels), name="dense")
        self.transposed = [
            keras.layers.Conv2DTranspose(c, 3, s, padding="same", activation="elu", name=f"transposed_{i}")
            for i, (c, s) in enumerate(zip(self.channels[::-1], self.strides[::-1], strict=True))
        ]
        self.last = keras.layers.Conv2D(self.frame_shape[-1], 3, padding="same", name="last")

    def call(self, codes):
        """`[N, F]` to `[N,H,W,C]`, unbounded."""
        hidden = self.dense(codes)
        if not self.channels:
            return tf.reshape(hidden, [-1, *self.frame_shape])
        hidden = tf.reshape(hidden, [-1, *self.coarse, self.seed_channels])
        for layer, (height, width) in zip(self.transposed, self.sizes, strict=True):
            hidden = layer(hidden)[:, :height, :width]
        return self.last(hidden)
