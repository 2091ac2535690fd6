"""Exported models for callers in Python: checked arguments, one line per mistake, no code of any model."""

import pathlib
from collections.abc import Mapping

import numpy as np

from silot_tf.errors import UserError
from silot_tf.export import card as cards
from silot_tf.export import names


class ExportedModel:
    """A SavedModel folder, opened.

    Args:
      folder: as written by `python -m reproduce.export_model`.

    Raises:
      UserError: if the folder holds no export, or files that were damaged or changed.

    Attributes:
      card: the content of `card.json`.
      frame_shape: (H, W, C) of the frames taken.
      num_slots: K, rows of the object table.
      appearance_size: A.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.card = cards.read(self.folder)
        cards.check_files(self.folder, self.card)
        import tensorflow as tf  # after the cheap checks

        self._tf = tf
        self._loaded = tf.saved_model.load(str(self.folder))  # to be kept: weights go with the object
        self._signatures = self._loaded.signatures
        self.frame_shape = tuple(self.card["frame"]["shape"])
        self.num_slots = self.card["model"]["slots"]
        self.appearance_size = self.card["model"]["appearance_size"]

    def initial_state(self, batch_size: int = 1) -> dict:
        """State before the first frame of `batch_size` streams: name -> tensor, to be handed to `step`."""
        if int(batch_size) < 1:
            raise UserError(f"initial_state: batch_size is {batch_size}; expected at least 1")
        return self._signatures["initial_state"](batch_size=self._tf.constant(int(batch_size)))

    def step(self, frame, state: Mapping | None = None, *, reset=None, seed=(0, 0), reconstruction: bool = False):
        """Objects of one frame of each stream, and the next state.

        Args:
          frame: `[B,H,W,C]`, uint8, or float32 in [0, 1].
          state: from `initial_state`, then from the step before.
          reset: `[B]` bool, streams that start over with this frame; None for none.
          seed: two whole numbers, the same for all frames of a stream.
          reconstruction: whether the model's explanation of the frame is wanted as well.

        Returns:
          the object table (see `card.json`) as NumPy arrays: `boxes [B,K,4]` (y, x, height, width in pixels),
          `presence`, `ids`, `is_new`, `depth` `[B,K]`, `appearance [B,K,A]`, where asked for `reconstruction`; and the
          state.

        Raises:
          UserError: for a frame of another size or type, a missing state, or batch sizes that do not agree.
        """
        self._check_state("step", state)
        frame = self._checked_frame(np.asarray(frame))
        batch = len(frame)
        reset = np.zeros(batch, bool) if reset is None else np.asarray(reset, bool).reshape(-1)
        streams = len(next(iter(state.values())))
        if not batch == len(reset) == streams:
            raise UserError(
                f"step got {batch} frames and {len(reset)} resets for a state of {streams} streams; expected the same "
                f"number: initial_state(batch_size={batch})"
            )
        name = ("step_uint8" if frame.dtype == np.uint8 else "step") + ("_with_reconstruction" * reconstruction)
        results = self._signatures[name](
            frame=self._tf.constant(frame),
            reset=self._tf.constant(reset),
            seed=self._tf.constant(seed, self._tf.int32),
            **state,
        )
        return _split(results, state)

    def predict(self, state: Mapping | None = None, frames: int = 1, *, seed=(0, 0), reconstruction: bool = False):
        """What the learned prior expects of the next `frames` frames, and the state after them.

        Arguments as for `step`. Returns the object tables as NumPy arrays with a dimension of time, `[B,frames,...]`,
        and the state.

        Raises:
          UserError: for a missing state, or no frame to predict.
        """
        self._check_state("predict", state)
        if int(frames) < 1:
            raise UserError(f"predict: frames is {frames}; expected the number of frames to predict, at least 1")
        results = self._signatures["predict" + "_with_reconstruction" * reconstruction](
            frames=self._tf.constant(int(frames)), seed=self._tf.constant(seed, self._tf.int32), **state
        )
        return _split(results, state)

    def merge(self, where, first: Mapping, second: Mapping) -> dict:
        """A state with the streams `where [B]` of `first`, and the others of `second`."""
        where = np.asarray(where, bool)
        return {
            name: self._tf.where(where.reshape([-1] + [1] * (len(value.shape) - 1)), value, second[name])
            for name, value in first.items()
        }

    def _check_state(self, function: str, state) -> None:
        wanted = [n for n in self.card["signatures"]["step"]["inputs"] if n.startswith(names.STATE_PREFIX)]
        if state is None:
            raise UserError(
                f"{function} was called without a state; expected state = exported.initial_state(batch_size=...) "
                "before the first frame, then the state that the step before returned"
            )
        if not isinstance(state, Mapping) or sorted(state) != sorted(wanted):
            given = sorted(state) if isinstance(state, Mapping) else type(state).__name__
            raise UserError(
                f"{function} got {given} for a state; expected the dictionary that initial_state or the step before "
                f"returned, with {wanted}"
            )

    def _checked_frame(self, frame: np.ndarray) -> np.ndarray:
        if frame.dtype not in (np.uint8, np.float32):
            whole = np.issubdtype(frame.dtype, np.integer)
            cure = "frame.astype(np.uint8) where values are 0 to 255" if whole else "frame.astype(np.float32)"
            raise UserError(f"step got frames of {frame.dtype}; expected uint8, or float32 in [0, 1]: {cure}")
        if frame.ndim != 4 or frame.shape[1:] != self.frame_shape:
            wanted = ",".join(map(str, self.frame_shape))
            raise UserError(
                f"step got frames of shape {list(frame.shape)}; expected [batch,{wanted}]: crop or resize them, or "
                "export with --frame_shape=HEIGHT,WIDTH"
            )
        low, high = names.FLOAT_RANGE
        # Not the other way round: nothing is true of NaN.
        if frame.dtype == np.float32 and not (frame.min(initial=0) >= low and frame.max(initial=0) <= high):
            raise UserError(
                f"step got float frames from {frame.min():g} to {frame.max():g}; expected 0 to 1: divide by 255, or "
                "hand them over as uint8"
            )
        return frame


def _split(results: Mapping, state: Mapping) -> tuple[dict, dict]:
    """Results that are not part of the state as arrays, and the state as tensors."""
    return {k: v.numpy() for k, v in results.items() if k not in state}, {k: results[k] for k in state}
