"""Roll-outs of the learned prior after one object was taken away or moved: what the model expects then.

The noise of such a roll-out is that of the roll-out of the same clip without the edit, so whatever differs is the
model's answer to the edit.
"""

from collections.abc import Mapping

import gin
import numpy as np
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.evaluation import tracks

PREFIX = "what_if_"
#: (object is removed, direction (y, x) of its shift) of every edit, in the order in which they are recorded.
EDITS = ((True, (0, 0)), (False, (-1, 0)), (False, (1, 0)), (False, (0, -1)), (False, (0, 1)))
_SHOWN = 0.5  # presence from which on an object is worth an edit


@gin.configurable(module="evaluation")
class WhatIf:
    """Records, for example clips, what the learned prior makes of an edited first frame.

    Args:
      objects: objects edited per clip, one at a time, those with the smallest ids; 0 records nothing.
      shift: how far objects are moved, in fractions of the frame; less where the box would leave the frame.
    """

    def __init__(self, objects: int = 3, shift: float = 0.15):
        if objects < 0 or not 0 < shift < 1:
            raise UserError(f"WhatIf has objects {objects} and shift {shift}; expected at least 0, and 0 < shift < 1")
        self.objects = objects
        self.shift = shift
        self._of = self._step = None

    def record(
        self, model, batch: Mapping, *, seed: tuple[int, int], rollout_from: int | None, clips: int | None = None
    ) -> dict[str, np.ndarray]:
        """Arrays `what_if_...` of the first E clips of a batch, as `results` describes them.

        Args:
          model: a built `VideoModel`.
          batch: contract batch; the model runs on all of it, so that every clip has the noise of its plain roll-out.
          seed: of the model's noise, that of the plain roll-out.
          rollout_from: first frame of the roll-outs. The state before it is edited.
          clips: E, None for all.

        Returns:
          {} where there is nothing to record: no roll-out, no objects wanted, or a model whose state cannot be edited.
        """
        if not (self.objects and rollout_from and model.causal and model.editable_state):
            return {}
        video = np.asarray(batch["video"], np.float32)
        offset = batch.get("crop_offset")
        state = model.initial_state(len(video), None if offset is None else tf.constant(offset))
        step, seed = self._compiled(model, rollout_from), tf.constant(seed, tf.int32)
        for t in range(rollout_from):
            outputs, state = step(tf.constant(video[:, t]), state, seed)
        objects = _fields(outputs)
        slots, ids, boxes = _first_objects(objects, self.objects)
        found = []
        for j in range(self.objects):
            if found and (ids[:clips, j] < 0).all():  # nothing to edit; the id says that these are no results
                found += found[: len(EDITS)]
                continue
            for removed, direction in EDITS:
                shift = _shift_inside(boxes[:, j], np.array(direction) * self.shift)
                chosen = (np.arange(objects["pres"].shape[1]) == slots[:, j, None]) & (ids[:, j, None] >= 0)
                edited = model.edit_state(
                    state,
                    video.shape[2:4],
                    remove=tf.constant(chosen & removed),
                    shift=tf.constant(np.where(chosen[..., None], shift[:, None], 0).astype(np.float32)),
                )
                rolled = self._roll_out(step, edited, video[:, rollout_from:], seed, slice(clips))
                shift = shift[:clips].astype(np.float32)
                found.append(rolled | {"shift": shift, "removed": np.full(len(shift), removed)})
        arrays = {name: _by_object([one[name] for one in found], self.objects) for name in found[0]}
        return {PREFIX + "object": ids[:clips], **{PREFIX + name: value for name, value in arrays.items()}}

    def _roll_out(self, step, state, video, seed, clips: slice) -> dict[str, np.ndarray]:
        """Field -> `[E,F,...]` of the frames of `video`."""
        frames = []
        for t in range(video.shape[1]):
            outputs, state = step(tf.constant(video[:, t]), state, seed)
            images = np.rint(255 * np.clip(np.nan_to_num(outputs["reconstruction"].numpy()[clips]), 0, 1))
            frame = {name: value[clips] for name, value in _fields(outputs).items()}
            frames.append(frame | {"reconstruction": images.astype(np.uint8)})
        return {name: np.stack([frame[name] for frame in frames], axis=1) for name in frames[0]}

    def _compiled(self, model, rollout_from: int):
        """One step of the model as a compiled function, kept for as long as the same one is asked for."""
        if self._of != (model, rollout_from):

            def step(frame, state, seed):
                return model.step(frame, state, seed=seed, training=False, rollout_from=rollout_from)

            self._of, self._step = (model, rollout_from), tf.function(step)
        return self._step


def _fields(outputs: Mapping) -> dict[str, np.ndarray]:
    """Field -> `[B,K,...]` of the outputs of one step, as they are recorded."""
    objects = outputs["objects"]
    boxes, pres = tracks.predicted_boxes(outputs)
    return {
        "boxes": boxes.astype(np.float32),
        "pres": pres.astype(np.float32),
        "depth": objects["depth"].numpy()[..., 0],
        "track_id": objects["track_id"].numpy(),
        "is_new": objects["is_new"].numpy(),
    }


def _first_objects(objects: Mapping, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slots `[B,J]`, ids `[B,J]` (-1: no such object) and boxes `[B,J,4]` of the objects with the smallest ids."""
    ids = np.where((objects["pres"] > _SHOWN) & np.isfinite(objects["boxes"]).all(-1), objects["track_id"], -1)
    ids = np.pad(ids, ((0, 0), (0, max(0, number - ids.shape[1]))), constant_values=-1)
    slots = np.argsort(np.where(ids < 0, np.iinfo(np.int32).max, ids), axis=1, kind="stable")[:, :number]
    boxes = objects["boxes"][np.arange(len(ids))[:, None], np.minimum(slots, objects["boxes"].shape[1] - 1)]
    return slots, np.take_along_axis(ids, slots, axis=1), boxes


def _shift_inside(boxes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """`wanted (y, x)` for every box `[B,4]`, shortened so that no box leaves the frame farther than it has."""
    centres, halves = boxes[:, :2], boxes[:, 2:] / 2
    target = np.clip(centres + wanted, halves, np.maximum(1 - halves, halves))
    shift = np.nan_to_num(target - centres)
    return np.where(shift * wanted > 0, np.sign(wanted) * np.minimum(np.abs(shift), np.abs(wanted)), 0.0)


def _by_object(values: list[np.ndarray], objects: int) -> np.ndarray:
    """`[E,J,V,...]` of one `[E,...]` per object and edit."""
    stacked = np.stack(values, axis=1)
    return stacked.reshape(stacked.shape[0], objects, len(EDITS), *stacked.shape[2:])
