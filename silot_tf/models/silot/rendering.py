"""From selected objects to frames: appearance decoder, then importance-weighted composition.

Source: SILOT, section 3.5; specification 2.12.
"""

import gin
import keras
import tensorflow as tf

from silot_tf.layers.mlp import MLP
from silot_tf.models.silot.objects import squash
from silot_tf.ops import compositing


@gin.register(module="silot")
class Renderer(keras.layers.Layer):
    """Decodes sprites (colour and transparency) and composes them."""

    def __init__(
        self,
        sprite_shape=(14, 14),
        decoder_hidden=(128, 256),
        colour_scale: float = 2.0,
        alpha_scale: float = 0.1,
        alpha_shift: float = 5.0,
        temperature: float = 0.25,
        importance: str = "linear",
        plain: bool = False,
        name=None,
    ):
        """Args: `importance` is `"linear"` (authors' code) or `"softmax"` (the paper's text)."""
        super().__init__(name=name)
        formulas = {"linear": compositing.sprite_importance, "softmax": compositing.softmax_importance}
        if importance not in formulas:
            raise ValueError(f"Renderer.importance must be one of {sorted(formulas)}, found {importance!r}")
        self.importance = formulas[importance]
        self.sprite_shape, self.temperature, self.plain = tuple(sprite_shape), temperature, plain
        self.colour_scale, self.alpha_scale, self.alpha_shift = colour_scale, alpha_scale, alpha_shift
        self.decoder = MLP(decoder_hidden, sprite_shape[0] * sprite_shape[1] * 4, name="decoder")

    def decode(self, what):
        """Sprites of appearances `[M,K,A]`: colour `[M,K,rows,columns,3]` and opacity `[M,K,rows,columns]`."""
        slots = what.shape[1]
        logits = tf.reshape(self.decoder(tf.reshape(what, [-1, what.shape[-1]])), [-1, slots, *self.sprite_shape, 4])
        colour, opacity = tf.split(logits, [3, 1], axis=-1)
        opacity = squash(self.alpha_scale * opacity[..., 0] + self.alpha_shift)
        return squash(self.colour_scale * colour), opacity

    def call(self, what, pres, depth, where, frame_shape, background=None):
        """Frames `[M,H,W,3]`, and the sprites (see `decode`).

        Args:
          what: `[M,K,A]`; pres, depth: `[M,K,1]`; where: `[M,K,4]` in fractions of the frame.
          frame_shape: (H, W).
          background: None for black, or `[M,H,W,3]`-broadcastable.
        """
        colour, opacity = self.decode(what)
        alpha = opacity * pres[..., None]
        importance = self.importance(alpha, depth[..., None], self.temperature)
        frames = compositing.composite(colour, alpha, importance, where, frame_shape, background, by_gather=self.plain)
        return frames, (colour, opacity)
