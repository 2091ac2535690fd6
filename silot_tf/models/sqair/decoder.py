"""From objects to frames: glimpses decoded, painted and added up, and the likelihood of what is seen.

Source: Kosiorek et al. 2018, section 3 and appendix; release.
"""

import math

import keras
import numpy as np
import tensorflow as tf

from silot_tf.layers.elu import Composite, EluMLP, fan_in_normal
from silot_tf.ops import corner_aligned

DECODERS = ("mlp", "convolution")
WRITTEN_OFFSET, WRITTEN_SCALE = -10.0, 20.0


class SubpixelGlimpse(Composite):
    """Glimpses from what vectors by convolutions that rearrange channels into space: 5x5 to 20x20 (CONV-SQAIR)."""

    def __init__(self, glimpse_shape, channels: int, name=None):
        """Args: `glimpse_shape`: sides must be multiples of 4; `channels`: C."""
        super().__init__(name=name)
        self.start = tuple(side // 4 for side in glimpse_shape)
        self.network = EluMLP((256, 32 * math.prod(self.start)), name="network")
        self.strides = (1, 2, 2)
        self.convolutions = [
            keras.layers.Conv2D(
                maps * r * r, 3, padding="same", activation="elu", kernel_initializer=fan_in_normal(), name=f"conv_{i}"
            )
            for i, (maps, r) in enumerate(zip((32, 64, 64), self.strides, strict=True))
        ]
        self.out = keras.layers.Conv2D(channels, 3, padding="same", kernel_initializer=fan_in_normal(), name="out")

    def call(self, what):
        """Glimpses `[R,rows,C,columns]` of `what [R,A]`."""
        image = tf.reshape(self.network(what), [-1, *self.start, 32])
        for layer, stride in zip(self.convolutions, self.strides, strict=True):
            image = layer(image)
            image = tf.nn.depth_to_space(image, stride) if stride > 1 else image
        return tf.stack(tf.unstack(self.out(image), axis=-1), axis=-2)


class AdditiveDecoder(Composite):
    """Frames as the sum of what objects paint, and a learned mean image where something is painted."""

    def __init__(
        self, kind: str, glimpse_shape, units: int, output_scale: float, output_std: float, mean_image: bool, name=None
    ):
        """Args: `kind`: one of `DECODERS`; others see `SQAIR`."""
        super().__init__(name=name)
        self.kind, self.glimpse_shape, self.units = kind, tuple(glimpse_shape), units
        self.output_std, self.has_mean_image = output_std, mean_image
        self.network, self.mean_image = None, None
        self.output_scale = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(output_scale), name="output_scale"
        )

    def build_for(self, frame_shape) -> None:
        """Create what depends on the frame (H, W, C), unless done."""
        if self.network is None:
            rows, columns = self.glimpse_shape
            if self.kind == "mlp":
                self.network = EluMLP((self.units, self.units), rows * frame_shape[2] * columns, name="network")
            else:
                self.network = SubpixelGlimpse(self.glimpse_shape, frame_shape[2], name="network")
            if self.has_mean_image:
                self.mean_image = self.add_weight(shape=tuple(frame_shape), initializer="zeros", name="mean_image")
        self.channels = frame_shape[2]

    def initialize_from_data(self, batches) -> None:
        """Start the mean image, if there is one, as the mean of all frames of contract batches."""
        if self.mean_image is None:
            return
        total, frames = 0.0, 0.0
        for batch in batches:
            mask = tf.cast(batch["frame_mask"], tf.float32)
            total += tf.einsum("bt,bthwc->hwc", mask, batch["video"])
            frames += tf.reduce_sum(mask)
        self.mean_image.assign(total / frames)

    def glimpses(self, what):
        """Glimpses `[R,rows,C,columns]` of `what [R,A]`, before their presence."""
        rows, columns = self.glimpse_shape
        return self.output_scale * tf.reshape(self.network(what), [-1, rows, self.channels, columns])

    def call(self, what, where, pres, frame_shape) -> dict:
        """Frames of objects.

        Args:
          what: `[R,N,A]`.
          where: `[R,N,4]` logits.
          pres: `[R,N,1]`.
          frame_shape: (H, W, C).

        Returns:
          `mean [R,H,C,W]` of the likelihood, and `painted [R,H,C,W]`, `written [R,H,1,W]` that it is made of, and
          `glimpses [R,N,rows,C,columns]`.
        """
        slots = what.shape[1]
        glimpses = self.glimpses(tf.reshape(what, [-1, what.shape[-1]]))
        glimpses = tf.reshape(glimpses, [-1, slots, *glimpses.shape[1:]])
        boxes = corner_aligned.box_of(where)
        painted, cover = corner_aligned.paint(glimpses, boxes, pres[..., 0], frame_shape[:2])
        written = tf.sigmoid(WRITTEN_OFFSET + WRITTEN_SCALE * cover)
        mean = painted
        if self.mean_image is not None:
            mean += written * tf.transpose(self.mean_image, [0, 2, 1])
        return {"mean": mean, "painted": painted, "written": written, "glimpses": glimpses}

    def log_likelihood(self, frames, mean):
        """Normal log-likelihood summed over pixels and channels; the last three axes of both are (H, C, W)."""
        pixels = math.prod(mean.shape[-3:])
        constant = -pixels * (math.log(self.output_std) + 0.5 * math.log(2 * math.pi))
        squares = tf.reduce_sum(tf.math.squared_difference(frames, mean), axis=[-3, -2, -1])
        return np.float32(constant) - squares * np.float32(0.5 / self.output_std**2)
