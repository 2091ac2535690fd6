"""From selected objects to frames: appearance decoder, then importance-weighted composition.

Source: SILOT, section 3.5; specification 2.12.
"""

import gin
import keras
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.layers.mlp import MLP
from silot_tf.models.silot.objects import squash
from silot_tf.ops import compositing, window_compositing

RENDERINGS = ("auto", "image", "window")
WINDOWS_FROM = 1.5  # largest objects per side of a frame, from where on windows are faster


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
        rendering: str = "auto",
        largest_box=None,
        name=None,
    ):
        """Build the decoder.

        Args:
          sprite_shape: (rows, columns) in samples.
          decoder_hidden: hidden widths of the decoder.
          colour_scale, alpha_scale, alpha_shift: of the decoder's logits (specification 2.12).
          temperature: lambda of the importance.
          importance: `"linear"` (authors' code) or `"softmax"` (the paper's text).
          plain: compose by gathers (test oracle).
          rendering: `"image"` keeps maps of the whole frame for every object; `"window"` draws each object only where
            its box can reach, which costs less on large frames; `"auto"` takes windows for frames of more than 1.5
            times the largest box per side. All give the same frames.
          largest_box: (height, width) in pixels that no box exceeds; None if unknown, which rules windows out.
        """
        super().__init__(name=name)
        if rendering not in RENDERINGS or (rendering == "window" and largest_box is None):
            raise UserError(
                f"rendering = {rendering!r} with largest_box {largest_box}: expected one of {RENDERINGS}, "
                "and the height and width in pixels of the largest box for 'window'"
            )
        formulas = {"linear": compositing.sprite_importance, "softmax": compositing.softmax_importance}
        if importance not in formulas:
            raise ValueError(f"Renderer.importance must be one of {sorted(formulas)}, found {importance!r}")
        self.importance = formulas[importance]
        self.sprite_shape, self.temperature, self.plain = tuple(sprite_shape), temperature, plain
        self.colour_scale, self.alpha_scale, self.alpha_shift = colour_scale, alpha_scale, alpha_shift
        self.rendering = rendering
        self.largest_box = None if largest_box is None else tuple(float(side) for side in largest_box)
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
        maps = (colour, alpha, importance, where, frame_shape)
        if self.uses_windows(frame_shape):
            frames = window_compositing.composite(*maps, self.largest_box, background)
        else:
            frames = compositing.composite(*maps, background, by_gather=self.plain)
        return frames, (colour, opacity)

    def uses_windows(self, frame_shape) -> bool:
        """Whether objects are drawn in windows on frames of (H, W) pixels."""
        if self.plain or self.rendering == "image" or self.largest_box is None:
            return False
        ratios = [side / largest for side, largest in zip(frame_shape[:2], self.largest_box, strict=True)]
        return self.rendering == "window" or min(ratios) > WINDOWS_FROM
