"""What is read from a frame as a whole, and from a glimpse.

Source: Kosiorek et al. 2018, appendix (networks), and release; the strided encoder is that of SILOT's comparison.
"""

import math

import keras
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.layers.convolution import GridEncoder
from silot_tf.layers.elu import Composite, EluMLP, Linear, fan_in_normal
from silot_tf.ops import corner_aligned

ENCODERS = ("mlp", "convolution", "strided")
MASK_HIDDEN = 128
SMALLEST_STD = 0.01


def split_normal(parameters, offset=0.0) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and standard deviation from the two halves of the last axis: std `softplus(raw + offset) + 0.01`."""
    mean, raw = tf.split(parameters, 2, axis=-1)
    return mean, tf.math.softplus(raw + offset) + SMALLEST_STD


def by_slot(values: dict | None, slots: int) -> list:
    """Values `[M,N,...]` by name as one dictionary of `[M,...]` per slot; None for each of them, if None."""
    if values is None:
        return [None] * slots
    columns = [tf.unstack(value, slots, axis=1) for value in values.values()]
    return [dict(zip(values, column, strict=True)) for column in zip(*columns, strict=True)]


def reader(frame, particles: int, glimpse_shape):
    """Function that reads glimpses of all particles: where logits `[M,S,4]` -> `[M * S,rows,C,columns]`.

    Args:
      frame: see `ops.glimpses.readable`, `[B,...]`.
      particles: K; rows of one video, or frame, are together in M = B * K.
      glimpse_shape: (rows, columns).
    """

    def read(where):
        boxes = corner_aligned.box_of(where)
        boxes = tf.reshape(boxes, [-1, particles * where.shape[1], 4])
        glimpses = frame.read(boxes, glimpse_shape, align_corners=True)
        return tf.reshape(glimpses, [-1, *glimpses.shape[2:]])

    return read


class SharedConvolutions(Composite):
    """Convolutions with ELU that serve frames and glimpses of CONV-SQAIR; features flattened, `[R, F]`."""

    def __init__(self, channels=(16, 32, 32, 64), strides=(2, 2, 1, 1), name=None):
        super().__init__(name=name)
        self.convolutions = [
            keras.layers.Conv2D(
                c, 3, s, padding="same", activation="elu", kernel_initializer=fan_in_normal(), name=f"conv_{i}"
            )
            for i, (c, s) in enumerate(zip(channels, strides, strict=True))
        ]

    def call(self, images):
        """Features `[R, F]` of images `[R,H,W,C]`."""
        for layer in self.convolutions:
            images = layer(images)
        return tf.reshape(images, [-1, math.prod(images.shape[1:])])


class FrameEncoder(Composite):
    """Features of whole frames for discovery, `[R,H,W,C] -> [R,F]`.

    Frames of another size than the first need other weights, except with `"strided"` within the same grid.
    """

    def __init__(self, kind: str, units: int, convolutions: SharedConvolutions | None, name=None):
        """Args: `kind`: one of `ENCODERS`; `units`: width; `convolutions`: for `"convolution"`."""
        super().__init__(name=name)
        self.kind, self.units, self.frame_shape = kind, units, None
        self.convolutions = convolutions
        if kind == "mlp":
            self.network = EluMLP((units, units), name="network")
        elif kind == "convolution":
            self.network = EluMLP((units,), name="network")
        else:
            self.network = GridEncoder(channels=(128,) * 6, name="network")

    def features(self, frame_shape) -> int:
        """F for frames of (H, W, C)."""
        if self.kind != "strided":
            return self.units
        return math.prod(self.network.grid_shape(frame_shape)) * 128

    def call(self, frames):
        """Features `[R, F]`."""
        shape = tuple(frames.shape[1:])
        if self.frame_shape is None:
            self.frame_shape = shape
        if shape != self.frame_shape:
            raise UserError(
                f"the network was built for frames of {self.frame_shape} (height, width, channels) and got {shape}; "
                "its encoder reads whole frames of one size: use the frame size of training (data.*.frame_shape)"
            )
        if self.kind == "convolution":
            frames = self.convolutions(frames)
        elif self.kind == "mlp":
            frames = tf.reshape(frames, [-1, math.prod(shape)])
        features = self.network(frames)
        return tf.reshape(features, [-1, math.prod(features.shape[1:])])


class GlimpseEncoder(Composite):
    """Appearance seen in a glimpse: mean and standard deviation of `what`; shared by discovery and propagation."""

    def __init__(self, glimpse_shape, what_size: int, units: int, masked: bool, convolutions=None, name=None):
        """Args: `masked`: whether an object's state may darken parts; `convolutions`: of CONV-SQAIR, or None."""
        super().__init__(name=name)
        self.glimpse_shape, self.convolutions = tuple(glimpse_shape), convolutions
        self.network = EluMLP((units,) if convolutions else (units, units), name="network")
        self.head = Linear(2 * what_size, name="head")
        self.mask_network = None
        if masked:
            self.mask_network = EluMLP((MASK_HIDDEN,), math.prod(self.glimpse_shape), bias=1.0, name="mask_network")

    def mask(self, state):
        """Factors `[R,rows,1,columns]` on glimpses by temporal states `[R,U]`, or None."""
        if self.mask_network is None:
            return None
        rows, columns = self.glimpse_shape
        return tf.reshape(tf.sigmoid(self.mask_network(state)), [-1, rows, 1, columns])

    def call(self, glimpse, mask=None):
        """(mean, standard deviation), `[R, A]` each, of glimpses `[R,rows,C,columns]`."""
        if mask is not None:
            glimpse = glimpse * mask
        if self.convolutions is not None:
            glimpse = self.convolutions(tf.stack(tf.unstack(glimpse, axis=-2), axis=-1))
        else:
            glimpse = tf.reshape(glimpse, [-1, math.prod(glimpse.shape[1:])])
        return split_normal(self.head(self.network(glimpse)))
