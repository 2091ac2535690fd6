"""A video model without objects: one learned background, the floor under every reconstruction."""

import gin
import keras
import tensorflow as tf

from silot_tf.models.base import VideoModel


@gin.register(module="baselines")
class BackgroundImage(keras.layers.Layer):
    """A learned image (or one learned colour) in (0, 1).

    Args:
      per_pixel: an image of the frame's size, not one colour.
    """

    def __init__(self, per_pixel: bool = True, name=None):
        super().__init__(name=name)
        self.per_pixel = per_pixel

    def build(self, video_shape):
        """Create logits, 0 at the start: a grey of 1/2."""
        rows, columns, channels = video_shape[-3:]
        size = (rows, columns) if self.per_pixel else (1, 1)
        self.logits = self.add_weight(shape=(*size, channels), initializer="zeros", name="logits")

    def call(self, video):
        """Logits of the background, broadcast to the shape of `video [B,T,H,W,C]`."""
        return tf.broadcast_to(self.logits, tf.shape(video))


@gin.register(module="baselines")
class BackgroundOnly(VideoModel):
    """Explains every frame by one learned background; its single object slot is always empty.

    Args:
      per_pixel: learn an image, not one colour.
    """

    def __init__(self, per_pixel: bool = True, name=None):
        super().__init__(name=name or "background_only")
        self.background = BackgroundImage(per_pixel, name="background")

    def initial_state(self, batch_size, crop_offset=None) -> dict:
        """See `VideoModel`; nothing but the number of the frame."""
        return {"frame": tf.zeros([batch_size], tf.int32)}

    def unroll(self, video, state=None, *, seed, training=False, rollout_from=None) -> tuple[dict, dict]:
        """See `VideoModel`; frames are not looked at, so the roll-out is the same."""
        return self._unroll(video, state)[:2]

    def loss_terms(self, batch, annealed: dict, *, seed) -> tuple[dict, dict]:
        """See `VideoModel`: `reconstruction`, the Bernoulli cross entropy summed over pixels and channels."""
        outputs, _, logits = self._unroll(batch["video"], None)
        nats = tf.nn.sigmoid_cross_entropy_with_logits(labels=batch["video"], logits=logits)
        nats = tf.reduce_sum(nats, axis=[2, 3, 4]) * tf.cast(batch["frame_mask"], tf.float32)
        return {"reconstruction": nats}, outputs

    def _unroll(self, video, state):
        size, frames = tf.shape(video)[0], video.shape[1]
        if state is None:
            state = self.initial_state(size)
        logits = self.background(video)
        objects = {
            "where": tf.zeros([size, frames, 1, 4]),
            "what": tf.zeros([size, frames, 1, 1]),
            "depth": tf.zeros([size, frames, 1, 1]),
            "pres": tf.zeros([size, frames, 1, 1]),
            "track_id": tf.fill([size, frames, 1], -1),
            "is_new": tf.zeros([size, frames, 1], tf.bool),
        }
        outputs = {"reconstruction": tf.sigmoid(logits), "objects": objects}
        return outputs, {"frame": state["frame"] + frames}, logits
