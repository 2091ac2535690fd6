"""Runs a video model over videos of any length, chunk after chunk with carried state, at constant memory."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from silot_tf.contracts import OBJECT_KEYS
from silot_tf.errors import UserError


class VideoStream:
    """A model that videos are sent through; every length of chunk is compiled once, for all videos.

    There are at most two lengths for videos of one frame size: `chunk_frames`, and 1 for what remains at the end.
    A video that is known to be shorter than a chunk goes through whole.

    Args:
      model: a built `VideoModel`.
      chunk_frames: frames per call of the model. Models that are not causal get whole videos.
      rollout_from: as in `VideoModel.unroll`.
      reconstruction: whether to compute and return reconstructions.
      object_keys: which entries of `objects` to return; what nobody reads is not computed. Without `where` there is
        `mask`, for models that give masks in place of boxes.
      jit_compile: whether XLA compiles the model.
    """

    def __init__(
        self,
        model,
        *,
        chunk_frames: int = 8,
        rollout_from: int | None = None,
        reconstruction: bool = False,
        object_keys: Sequence[str] = OBJECT_KEYS,
        jit_compile: bool = False,
    ):
        if chunk_frames < 1:
            raise UserError(f"chunk_frames is {chunk_frames}; expected a whole number of at least 1")

        def unroll(video, state, seed):
            outputs, state = model.unroll(video, state, seed=seed, training=False, rollout_from=rollout_from)
            objects = {key: outputs["objects"][key] for key in object_keys if key in outputs["objects"]}
            kept = {"objects": objects}
            if reconstruction:
                kept["reconstruction"] = outputs["reconstruction"]
            if "where" not in outputs["objects"]:
                kept["mask"] = outputs["mask"]
            return kept, state

        self._model = model
        self._chunk_frames = chunk_frames
        self._unroll = tf.function(unroll, jit_compile=jit_compile)

    def chunks(self, video, *, seed: tuple[int, int], crop_offset=None, object_count=None) -> Iterator[dict]:
        """Yields outputs (see `silot_tf.contracts`) of successive pieces of the video as NumPy arrays.

        Nothing is kept from one piece to the next but the model's state. The pieces join to what one `unroll` over
        the whole video gives, up to rounding.

        Args:
          video: `[B,T,H,W,C]`, or an iterable of frames `[B,H,W,C]` of any length, which is read as it is needed:
            float32 in [0, 1], or uint8, which is divided by 255.
          seed: of the model's noise, one for the whole video.
          crop_offset: as in `VideoModel.initial_state`.
          object_count: `[B]` numbers of objects, for models that are told them.

        Yields:
          `objects` with the entries asked for, `[B,n,K,...]`, and where asked for `reconstruction [B,n,H,W,C]`; n is
          `chunk_frames` until fewer frames are left, then 1.

        Raises:
          UserError: if frames are not `[B,H,W,C]` or change their shape, or if there is none.
        """
        seed, state = tf.constant(seed, tf.int32), None
        for chunk in self._pieces(video):
            if state is None:
                offset = None if crop_offset is None else tf.constant(crop_offset)
                told = {} if object_count is None else {"object_count": tf.constant(object_count, tf.int32)}
                state = self._model.initial_state(len(chunk), offset, **told)
            outputs, state = self._unroll(tf.constant(_to_float(chunk)), state, seed)
            yield tf.nest.map_structure(lambda tensor: tensor.numpy(), outputs)
        if state is None:
            raise UserError("the video has no frames; expected at least one")

    def outputs(self, video, *, seed: tuple[int, int], crop_offset=None, object_count=None) -> dict:
        """All pieces of `chunks` joined along time, for videos whose outputs fit into memory."""
        return join(self.chunks(video, seed=seed, crop_offset=crop_offset, object_count=object_count))

    def _pieces(self, video) -> Iterator[np.ndarray]:
        """The video in pieces of `chunk_frames` frames, then of single ones."""
        if not hasattr(video, "shape"):
            frames = _checked(video)
            size = self._chunk_frames if self._model.causal else None
            while chunk := list(itertools.islice(frames, size)):
                is_whole = size is None or len(chunk) == size
                for piece in [chunk] if is_whole else [[frame] for frame in chunk]:
                    yield np.stack(piece, axis=1)
            return
        if len(video.shape) != 5:
            raise UserError(f"the video is {tuple(video.shape)}; expected [B,T,H,W,C], or an iterable of [B,H,W,C]")
        length = video.shape[1]
        chunk = min(self._chunk_frames, length) if self._model.causal else length
        start = 0
        while start < length:
            size = chunk if start + chunk <= length else 1
            yield np.asarray(video[:, start : start + size])
            start += size


def join(chunks: Iterable[dict]) -> dict:
    """Outputs of successive pieces of a video as those of the whole video."""
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts, axis=1), *chunks)


def _checked(frames: Iterable) -> Iterator[np.ndarray]:
    """The frames as arrays, all of the shape of the first."""
    shape = None
    for number, frame in enumerate(frames):
        frame = np.asarray(frame)
        shape = shape or frame.shape
        if len(shape) != 4 or frame.shape != shape:
            expected = "[B,H,W,C]" if len(shape) != 4 else f"{shape} like the first"
            raise UserError(f"frame {number} of the video is {frame.shape}; expected {expected}")
        yield frame


def _to_float(video: np.ndarray) -> np.ndarray:
    if video.dtype == np.uint8:
        return video.astype(np.float32) / np.float32(255)
    return video.astype(np.float32, copy=False)
