"""What stands behind all objects of a video from a camera that does not move.

    FixedColour                  the same colour for all videos; black in all experiments of the SILOT paper
    ModeColour, MedianColour     one colour per video, read off its first frame
    RecordedImage                an image computed from data before training (`silot_tf.data.still_images`)
    LearnedColour, LearnedImage  trained with the rest

Models hand over the video piece by piece. What a background reads off the first frame it keeps in the state, so any
way of cutting a video into pieces gives the same images.
"""

import abc

import gin
import keras
import numpy as np
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.ops import still_colours


class Background(keras.layers.Layer):
    """Base of all backgrounds; itself black.

    `images` is called as such, not through Keras' `__call__`, which would wrap error messages in several lines.
    """

    def initial_state(self, batch_size) -> dict:
        """What is carried from piece to piece of a video: name -> tensor with leading dimension `batch_size`.

        Nothing here. Its shapes must not depend on the size of frames.
        """
        return {}

    def images(self, video, state: dict, frame, crop_offset):
        """Background images, and the state after this piece of the video.

        Args:
          video: `[B,T,H,W,3]` in [0, 1]; T, H and W are static.
          state: see `initial_state`.
          frame: `[B]` int, number of the first frame of this piece within its video.
          crop_offset: `[B,2]` (y, x) pixel of the frames' top-left corner inside the uncropped frames.

        Returns:
          images broadcastable to `[B,T,H,W,3]`, in [0, 1], or None for black, which is cheaper to compose; and the
          state.
        """
        return None, state

    def of_clips(self, video, crop_offset=None) -> tf.Tensor:
        """Background images, broadcastable to `[B,T,H,W,3]`, of clips `[B,T,H,W,3]` given from their first frame on.

        Args:
          video: in [0, 1].
          crop_offset: see `images`; None for uncropped frames.
        """
        video = tf.convert_to_tensor(video, tf.float32)
        size = tf.shape(video)[0]
        crop_offset = tf.zeros([size, 2]) if crop_offset is None else tf.cast(crop_offset, tf.float32)
        images, _ = self.images(video, self.initial_state(size), tf.zeros([size], tf.int32), crop_offset)
        return tf.zeros([1, 1, 1, 1, 3]) if images is None else images


@gin.register(module="layers")
class FixedColour(Background):
    """One colour for all videos.

    Args:
      colour: (red, green, blue), each in [0, 1].
    """

    def __init__(self, colour=(0.0, 0.0, 0.0), name=None):
        super().__init__(name=name)
        self.colour = tuple(float(value) for value in colour)
        if len(self.colour) != 3 or not all(0 <= value <= 1 for value in self.colour):
            raise UserError(
                f"layers.FixedColour.colour = {tuple(colour)}: expected (red, green, blue) in [0, 1]; divide by 255"
            )

    def images(self, video, state, frame, crop_offset):
        """See `Background.images`."""
        return (tf.reshape(tf.constant(self.colour), [1, 1, 1, 1, 3]) if any(self.colour) else None), state


class _ColourOfFirstFrame(Background, abc.ABC):
    """A colour read off the first frame of each video."""

    def initial_state(self, batch_size) -> dict:
        """The colour `[B,3]`; black before the first frame."""
        return {"colour": tf.zeros([batch_size, 3])}

    def images(self, video, state, frame, crop_offset):
        """See `Background.images`."""
        begins = tf.equal(frame, 0)

        def read():
            return tf.where(begins[:, None], self.colour_of(video[:, 0]), state["colour"])

        # Later pieces of a video need no sorting of pixels.
        colour = tf.cond(tf.reduce_any(begins), read, lambda: tf.identity(state["colour"]))
        colour = tf.ensure_shape(colour, state["colour"].shape)
        return colour[:, None, None, None], {"colour": colour}

    @abc.abstractmethod
    def colour_of(self, frames) -> tf.Tensor:
        """`[B,3]` of frames `[B,H,W,3]`."""


@gin.register(module="layers")
class ModeColour(_ColourOfFirstFrame):
    """The most frequent colour of each video's first frame.

    Args:
      levels: steps per channel in which colours count as equal, 2 to 256; fewer for noisy frames. The result is the
        mean of the pixels of the most frequent step.
    """

    def __init__(self, levels: int = 256, name=None):
        super().__init__(name=name)
        if not 2 <= levels <= 256:
            raise UserError(f"layers.ModeColour.levels = {levels}: expected 2 to 256 steps per colour channel")
        self.levels = levels

    def colour_of(self, frames):
        """See `still_colours.mode_colour`."""
        return still_colours.mode_colour(frames, self.levels)


@gin.register(module="layers")
class MedianColour(_ColourOfFirstFrame):
    """The median of each channel over each video's first frame."""

    def __init__(self, name=None):
        super().__init__(name=name)

    def colour_of(self, frames):
        """See `still_colours.median_colour`."""
        return still_colours.median_colour(frames)


@gin.register(module="layers")
class RecordedImage(Background):
    """An image that was computed from data before training; frames smaller than it are crops of it.

    The image is saved with the weights: a trained model keeps the one that it was trained with.

    Args:
      path: `.npy` file of an `[H,W,3]` array (uint8, or floats in [0, 1]), or an image file; of the size of uncropped
        frames.

    Raises:
      UserError: if there is no such file or it holds something else; by `images`, if frames are larger than the image.
    """

    def __init__(self, path: str = "", name=None):
        super().__init__(name=name)
        image = read_image(path)
        self._source = path
        self.image = self.add_weight(
            shape=image.shape, initializer=lambda shape, dtype=None: image, trainable=False, name="image"
        )

    def images(self, video, state, frame, crop_offset):
        """See `Background.images`."""
        cure = f"layers.RecordedImage.path = '{self._source}': record an image of uncropped frames"
        return cut(tf.convert_to_tensor(self.image), video.shape[2:4], crop_offset, cure)[:, None], state


class _Learned(Background, abc.ABC):
    """Trained logits, times a constant, through the logistic function."""

    def __init__(self, scale: float, name):
        super().__init__(name=name)
        if not scale > 0:
            raise UserError(f"layers.{type(self).__name__}.scale = {scale}: expected a positive factor on the logits")
        self.scale = scale

    @abc.abstractmethod
    def logits_for(self, video, crop_offset) -> tf.Tensor:
        """Log-odds of the images, broadcastable to `[B,T,H,W,3]`."""

    def images(self, video, state, frame, crop_offset):
        """See `Background.images`."""
        return tf.sigmoid(self.logits_for(video, crop_offset)), state


@gin.register(module="layers")
class LearnedColour(_Learned):
    """One trained colour `sigmoid(scale * logits)` for all videos, grey at the start.

    Args:
      scale: factor on the logits: how fast the colour learns.

    Source: SILOT specification 2.13 (authors' code, not used for results).
    """

    def __init__(self, scale: float = 10.0, name=None):
        super().__init__(scale, name)
        self.logits = self.add_weight(shape=(3,), initializer="zeros", name="logits")

    def logits_for(self, video, crop_offset):
        """See `_Learned.logits_for`."""
        return tf.reshape(self.scale * self.logits, [1, 1, 1, 1, 3])


@gin.register(module="layers")
class LearnedImage(_Learned):
    """One trained image `sigmoid(scale * logits)` for all videos, grey at the start; smaller frames are crops of it.

    Args:
      frame_shape: (rows, columns) of uncropped frames; None for the size of the frames that it is built with, which is
        right when training is not on crops.
      scale: factor on the logits: how fast the image learns.

    Raises:
      UserError: by `images`, if frames are larger than the image.
    """

    def __init__(self, frame_shape=None, scale: float = 10.0, name=None):
        super().__init__(scale, name)
        if frame_shape is not None and (len(frame_shape) < 2 or min(frame_shape[:2]) < 1):
            raise UserError(
                f"layers.LearnedImage.frame_shape = {tuple(frame_shape)}: expected (rows, columns) in pixels"
            )
        self.frame_shape = frame_shape

    def build(self, video_shape):
        """Create the logits."""
        rows, columns = (self.frame_shape or video_shape[2:])[:2]
        self.logits = self.add_weight(shape=(rows, columns, 3), initializer="zeros", name="logits")

    def logits_for(self, video, crop_offset):
        """See `_Learned.logits_for`."""
        if not self.built:
            self.build(video.shape)
        cure = "bind layers.LearnedImage.frame_shape to the size of uncropped frames"
        return cut(self.scale * self.logits, video.shape[2:4], crop_offset, cure)[:, None]


def cut(image, frame_shape, crop_offset, cure: str) -> tf.Tensor:
    """The parts of an image that crops show, `[B,H,W,C]`, or `[1,H,W,C]` where frames have the size of the image.

    Args:
      image: `[rows,columns,C]`, of uncropped frames.
      frame_shape: (H, W) of the crops.
      crop_offset: `[B,2]` (y, x) pixel of the crops' top-left corners.
      cure: what to do about an image that is too small; end of the error message.

    Raises:
      UserError: if crops are larger than the image.
      InvalidArgumentError: if a crop ends outside the image (not checked under XLA).
    """
    (height, width), (rows, columns) = frame_shape, image.shape[:2]
    if height > rows or width > columns:
        raise UserError(
            f"the background image has {rows}x{columns} pixels, the frames {height}x{width}; expected an image at "
            f"least as large as the frames: {cure}"
        )
    offset = tf.cast(tf.round(crop_offset), tf.int32)
    too_far = f"a crop of {height}x{width} pixels ends outside the background image of {rows}x{columns} pixels; {cure}"
    inside = (offset >= 0) & (offset <= tf.constant([rows - height, columns - width]))
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(inside), [too_far])]):
        offset = tf.identity(offset)
    if (height, width) == (rows, columns):
        return image[None]
    pixel = (offset[:, 0, None] + tf.range(height)) * columns  # [B,H]
    pixel = pixel[:, :, None] + (offset[:, 1, None] + tf.range(width))[:, None]  # [B,H,W]
    return tf.gather(tf.reshape(image, [rows * columns, -1]), pixel)


def read_image(path: str) -> np.ndarray:
    """Image `[H,W,3]` float32 in [0, 1] from a `.npy` file (uint8, or floats in [0, 1]) or an image file.

    Raises:
      UserError: if there is no such file, or it holds no such image.
    """
    cure = "expected a .npy file or an image file: make one with python -m reproduce.record_background"
    if not path:
        raise UserError(f"layers.RecordedImage.path is not bound; {cure}")
    try:
        if str(path).endswith(".npy"):
            image = np.load(path, allow_pickle=False)
        else:
            from PIL import Image  # not at the top: only this background needs it

            with Image.open(path) as opened:
                image = np.asarray(opened.convert("RGB"))
    except FileNotFoundError as error:
        raise UserError(f"background image {path} does not exist; {cure}") from error
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"background image {path} cannot be read ({error}); {cure}") from error
    if image.ndim != 3 or image.shape[-1] != 3 or min(image.shape) < 1 or image.dtype.kind not in "uf":
        raise UserError(
            f"background image {path} is {image.dtype} of shape {image.shape}; expected [rows, columns, 3], uint8 or "
            "floats in [0, 1]"
        )
    # Exactly what a data pipeline makes of 8-bit frames, so that a still video can be matched to the bit.
    image = image.astype(np.float32) / np.float32(255) if image.dtype.kind == "u" else image.astype(np.float32)
    if not (np.all(image >= 0) and np.all(image <= 1)):
        raise UserError(f"background image {path} has values outside [0, 1]: divide by 255, or save it as uint8")
    return image
