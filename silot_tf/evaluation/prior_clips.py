"""Clips that a model makes up from its prior, from the first frame on, for pictures."""

import gin
import numpy as np
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.evaluation import tracks


@gin.configurable(module="evaluation")
class PriorClips:
    """Draws clips from a model's prior; means of the pixels are kept, not noisy ones.

    Args:
      clips: how many.
      frames: of each; None for as many as the clips of the data set have.
    """

    def __init__(self, clips: int = 8, frames: int | None = None):
        if clips < 1 or (frames is not None and frames < 1):
            raise UserError(f"evaluation.PriorClips has clips {clips} and frames {frames}; expected at least 1 each")
        self.clips, self.frames = clips, frames

    def record(self, model, frames: int, frame_shape, *, seed: int) -> dict[str, np.ndarray]:
        """Arrays of E clips as `results.write_examples` takes them, with the frames made up as `video`.

        Args:
          model: a built `VideoModel`.
          frames: where the number of frames is not given.
          frame_shape: (H, W, C).
          seed: of the run.
        """
        number = self.frames or frames
        outputs = model.generate(self.clips, number, tuple(frame_shape), seed=tf.constant((seed, 1), tf.int32))
        outputs = tf.nest.map_structure(lambda value: np.asarray(value), outputs)
        where, pres = tracks.predicted_boxes(outputs)
        made = np.rint(255 * np.clip(outputs["reconstruction"], 0, 1)).astype(np.uint8)
        return {
            "video": made,
            "frame_mask": np.ones(made.shape[:2], bool),
            "reconstruction": made,
            "boxes": where.astype(np.float32),
            "pres": pres.astype(np.float32),
            "track_id": outputs["objects"]["track_id"],
            "is_new": outputs["objects"].get("is_new", np.zeros(pres.shape, bool)),
        }
