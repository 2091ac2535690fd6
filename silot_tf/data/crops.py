"""Random crops of clips: where they lie, and what they leave of pictures and annotations.

A crop is the same window in all frames of its clip. Where it lies depends on a seed and on which crop of which clip
it is, and on nothing else, so that every epoch, a resumed training and an evaluation see the same crops.

Source: SILOT specification 5.1.
"""

import dataclasses

from silot_tf.data.checks import are_integers, require
from silot_tf.errors import UserError

# Boxes are float32 fractions of a frame, so edges are known to about 1e-4 pixel: what is thinner lies outside.
SMALLEST_VALID_SIDE = 1e-2  # pixels


@dataclasses.dataclass(frozen=True)
class Crops:
    """`per_clip` windows of `shape` (rows, columns) pixels in each clip.

    Args:
      shape: (rows, columns) in pixels.
      per_clip: crops of each clip.
      seed: 0 or more.

    Raises:
      UserError: if a number is out of range.
    """

    shape: tuple[int, int]
    per_clip: int = 1
    seed: int = 0

    def __post_init__(self):
        possible = are_integers(self.shape, 2) and min(self.shape) >= 1
        require(possible, "Crops.shape", self.shape, "(rows, columns) of at least 1 pixel")
        for name, value, least in (("per_clip", self.per_clip, 1), ("seed", self.seed, 0)):
            possible = are_integers([value]) and value >= least
            require(possible, f"Crops.{name}", value, f"an integer of at least {least}")

    def room(self, frame_size: tuple[int, int]) -> tuple[int, int]:
        """Largest (y, x) offset in frames of (rows, columns) pixels.

        Raises:
          UserError: if the frames are smaller than the crops.
        """
        room = tuple(int(frame) - side for frame, side in zip(frame_size, self.shape, strict=True))
        if min(room) < 0:
            raise UserError(
                f"crops of {self.shape[0]}x{self.shape[1]} pixels do not fit into frames of "
                f"{frame_size[0]}x{frame_size[1]}; choose a smaller crop shape, or record larger frames"
            )
        return room

    def offset(self, clip, number, frame_size: tuple[int, int]):
        """(y, x) of a crop's top-left pixel, `[2]` int32, uniform over all places inside the frame.

        Args:
          clip: integers that name the clip, scalar tensors or numbers.
          number: which crop of that clip.
          frame_size: (rows, columns) in pixels.
        """
        import tensorflow as tf

        from silot_tf.ops import seeds

        seed = seeds.fold([self.seed % 2**31, self.seed // 2**31 % 2**31], *clip, number)
        bits = tf.random.stateless_uniform([2], seed, minval=None, maxval=None, dtype=tf.uint32, alg=seeds.ALGORITHM)
        # The remainder is uniform up to one part in ten million, as frames have few rows and columns.
        places = tf.constant(self.room(frame_size), tf.int64) + 1
        return tf.cast(tf.cast(bits, tf.int64) % places, tf.int32)

    def cut_video(self, video, offset):
        """`[B,T,H,W,C]` clips cut to `[B,T,*shape,C]` at offsets `[B,2]`."""
        import tensorflow as tf

        rows = offset[:, :1] + tf.range(self.shape[0])
        columns = offset[:, 1:] + tf.range(self.shape[1])
        video = tf.gather(video, rows, axis=2, batch_dims=1)
        return tf.gather(video, columns, axis=3, batch_dims=1)

    def cut_boxes(self, boxes, present, offset, frame_size: tuple[int, int]):
        """Boxes in fractions of the crop, and which of them are left.

        Args:
          boxes: `[B,T,N,4]` (see `silot_tf.contracts`), fractions of the frame.
          present: `[B,T,N]` bool.
          offset: `[B,2]` int32.
          frame_size: (rows, columns) in pixels.

        Returns:
          boxes shifted and cut to the crop, 0 where nothing is left, and `[B,T,N]` bool. They are cut at 0 and at
          the crop's size in annotation pixels, as generated clips cut their boxes at the border of the frame.
        """
        import tensorflow as tf

        frame, crop = tf.constant(frame_size, tf.float32), tf.constant(self.shape, tf.float32)
        shift = tf.cast(offset, tf.float32)[:, None, None] + 0.5
        centre, half = boxes[..., :2] * frame - shift, boxes[..., 2:] * frame / 2
        low, high = (tf.clip_by_value(edge, 0.0, crop) for edge in (centre - half, centre + half))
        present = present & tf.reduce_all(high - low >= SMALLEST_VALID_SIDE, axis=-1)
        cut = tf.concat([((low + high) / 2 + 0.5) / crop, (high - low) / crop], axis=-1)
        return tf.where(present[..., None], cut, 0.0), present
