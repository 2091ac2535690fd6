"""A video model without objects: one learned background, the floor under every reconstruction."""

import gin
import tensorflow as tf

from silot_tf.layers.backgrounds import LearnedColour, LearnedImage
from silot_tf.models.base import VideoModel


@gin.register(module="baselines")
class BackgroundOnly(VideoModel):
    """Explains every frame by one learned background; its single object slot is always empty.

    Args:
      per_pixel: learn an image, not one colour.
      frame_shape: (rows, columns) of uncropped frames, for training on crops; None for the frames of training.
    """

    def __init__(self, per_pixel: bool = True, frame_shape=None, name=None):
        super().__init__(name=name or "background_only")
        if per_pixel:
            self.background = LearnedImage(frame_shape, scale=1.0, name="background")
        else:
            self.background = LearnedColour(scale=1.0, name="background")

    def initial_state(self, batch_size, crop_offset=None) -> dict:
        """See `VideoModel`; nothing but the number of the frame and where crops lie."""
        offset = tf.zeros([batch_size, 2]) if crop_offset is None else tf.cast(crop_offset, tf.float32)
        return {"frame": tf.zeros([batch_size], tf.int32), "crop_offset": offset}

    def unroll(self, video, state=None, *, seed, training=False, rollout_from=None) -> tuple[dict, dict]:
        """See `VideoModel`; frames are not looked at, so the roll-out is the same."""
        size, frames = tf.shape(video)[0], video.shape[1]
        if state is None:
            state = self.initial_state(size)
        images, _ = self.background.images(video, {}, state["frame"], state["crop_offset"])
        objects = {
            "where": tf.zeros([size, frames, 1, 4]),
            "what": tf.zeros([size, frames, 1, 1]),
            "depth": tf.zeros([size, frames, 1, 1]),
            "pres": tf.zeros([size, frames, 1, 1]),
            "track_id": tf.fill([size, frames, 1], -1),
            "is_new": tf.zeros([size, frames, 1], tf.bool),
        }
        outputs = {"reconstruction": tf.broadcast_to(images, tf.shape(video)), "objects": objects}
        return outputs, state | {"frame": state["frame"] + frames}

    def loss_terms(self, batch, annealed: dict, *, seed) -> tuple[dict, dict]:
        """See `VideoModel`: `reconstruction`, the Bernoulli cross entropy summed over pixels and channels."""
        video = batch["video"]
        state = self.initial_state(tf.shape(video)[0], batch.get("crop_offset"))
        outputs, _ = self.unroll(video, state, seed=seed)
        # From logits, which is exact where the images are nearly black or white.
        logits = tf.broadcast_to(self.background.logits_for(video, state["crop_offset"]), tf.shape(video))
        nats = tf.nn.sigmoid_cross_entropy_with_logits(labels=video, logits=logits)
        nats = tf.reduce_sum(nats, axis=[2, 3, 4]) * tf.cast(batch["frame_mask"], tf.float32)
        return {"reconstruction": nats}, outputs
