"""Runs a video model over annotated clips, as it is and in prior roll-out, and scores its outputs."""

import itertools
from collections.abc import Callable, Iterable, Mapping

import gin
import numpy as np
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.evaluation import aggregation, detection, mot, protocol, reconstruction, sprites, tracks
from silot_tf.evaluation.streaming import VideoStream

ROLLOUT_PREFIX = "rollout_"
_OBJECT_KEYS = ("where", "depth", "pres", "confidence", "track_id", "is_new")


@gin.configurable(module="evaluation")
class Evaluator:
    """Metrics of a model on batches of clips; knows models only by `VideoModel` and the contracts.

    Clips longer than `chunk_frames` are streamed in chunks with carried state. In roll-out mode frames from
    `rollout_from` on come from the learned prior without looking at the frames; metrics of that mode use
    these frames only, track ids are assigned over the whole clip.

    Args:
      rollout_from: first frame of the prior roll-out, None to leave this mode out.
      chunk_frames: frames per call of the model. Models that are not causal always get whole clips.
      batch_size: clips per batch; the one who makes the batches reads it here. It is part of the protocol,
        since metrics are averaged over batches.
      detection_thresholds: IoU thresholds of average precision.
      matching_iou: smallest IoU of a match in MOTA and IDF1.
      further_presence_thresholds: score tracks also without the objects whose presence does not exceed these, each in
        (0, 1); names of these metrics end in `_above_50` for 0.5. A model whose own threshold is higher gains nothing.
      jit_compile: whether XLA compiles the model.

    Source: SILOT specification 4 (roll-out) and 6 (metrics).
    """

    def __init__(
        self,
        rollout_from: int | None = 3,
        chunk_frames: int = 8,
        batch_size: int = 16,
        detection_thresholds: tuple[float, ...] = detection.DEFAULT_THRESHOLDS,
        matching_iou: float = mot.DEFAULT_IOU,
        further_presence_thresholds: tuple[float, ...] = (),
        jit_compile: bool = False,
    ):
        for name, value in (("chunk_frames", chunk_frames), ("batch_size", batch_size)):
            if value < 1:
                raise UserError(f"Evaluator.{name} is {value}; expected a whole number of at least 1")
        if rollout_from is not None and rollout_from < 1:
            raise UserError(f"Evaluator.rollout_from is {rollout_from}; expected a frame number >= 1, or None for none")
        further = tuple(further_presence_thresholds)
        if not all(0 < threshold < 1 for threshold in further):
            raise UserError(
                f"Evaluator.further_presence_thresholds is {further}; expected numbers between 0 and 1, as a tuple"
            )
        self.rollout_from = rollout_from
        self.chunk_frames = chunk_frames
        self.batch_size = batch_size
        self.scores = aggregation.ObjectScores(tuple(detection_thresholds), matching_iou, further)
        self._jit_compile = jit_compile
        self._model = None
        self._streams: dict[int | None, VideoStream] = {}

    @property
    def protocol(self) -> dict[str, str]:
        """Metric -> one sentence that says how it is computed, with the numbers of this evaluator."""
        return protocol.describe(self.scores, self.rollout_from, self.batch_size)

    def evaluate(
        self,
        model,
        batches: Iterable[Mapping],
        *,
        seed: int,
        max_batches: int | None = None,
        on_batch: Callable[[int], None] | None = None,
        on_clips: Callable[[str, list[tracks.Clip]], None] | None = None,
    ) -> dict[str, float]:
        """Metric -> value; those of the roll-out carry the prefix `rollout_`.

        The names are those of `protocol`.

        Args:
          model: a built `VideoModel`.
          batches: contract batches with annotations. Batches smaller than the first are filled up for the
            model (not for the metrics), so that it is compiled once.
          seed: number from which the noise of every batch is derived; the same seed gives the same result.
          max_batches: stop after so many batches.
          on_batch: called with the number of batches done after each one, for progress displays.
          on_clips: called with the prefix of a mode and the tables of a batch in that mode, for further measures.

        Raises:
          UserError: no batch came, or clips are too short for the roll-out.
        """
        modes = self._modes()
        collected = {prefix: aggregation.SetMetrics(self.scores) for prefix, _ in modes}
        model_batch_size = None
        number = -1
        for number, batch in enumerate(itertools.islice(batches, max_batches)):
            batch = {key: np.asarray(value) for key, value in batch.items()}
            self._check_length(batch)
            model_batch_size = model_batch_size or len(batch["video"])
            for prefix, rollout_from in modes:
                outputs = self._outputs(model, batch, (seed, number), rollout_from, model_batch_size)
                first_frame = rollout_from or 0
                clips = tracks.clips_from(outputs, batch, first_frame)
                collected[prefix].add(clips, reconstruction.metrics(outputs, batch, first_frame))
                if on_clips is not None:
                    on_clips(prefix, clips)
            if on_batch is not None:
                on_batch(number + 1)
        if number < 0:
            raise UserError("evaluation got no clips; expected at least one batch: check the number of test clips")
        return {
            prefix + name: value for prefix, metrics in collected.items() for name, value in metrics.result().items()
        }

    def example_clips(
        self, model, batch: Mapping, seed: int, clips: int | None = None, *, with_sprites: bool = True
    ) -> dict[str, np.ndarray]:
        """Arrays of the first `clips` clips of a batch for pictures, as `results.write_examples` takes them.

        Args:
          model: a built `VideoModel`.
          batch: contract batch with annotations; the model runs on all of it, so that a batch of the size
            used in `evaluate` needs no new compilation.
          seed: as in `evaluate`; a first batch gets the noise that it has there.
          clips: how many clips to return, None for all.
          with_sprites: also `sprites`, of models that have them.
        """
        batch = {key: np.asarray(value) for key, value in batch.items()}
        self._check_length(batch)
        arrays = {
            "video": batch["video"],
            "frame_mask": batch["frame_mask"],
            "truth_boxes": batch["boxes"],
            "truth_present": batch["present"],
            "truth_track_id": batch["track_id"],
        }
        for prefix, rollout_from in self._modes():
            outputs = self._outputs(model, batch, (seed, 0), rollout_from, len(batch["video"]))
            where, pres = tracks.predicted_boxes(outputs)
            arrays[f"{prefix}reconstruction"] = outputs["reconstruction"]
            arrays[f"{prefix}boxes"] = where.astype(np.float32)
            arrays[f"{prefix}pres"] = pres.astype(np.float32)
            arrays[f"{prefix}depth"] = outputs["objects"]["depth"][..., 0]
            arrays[f"{prefix}track_id"] = outputs["objects"]["track_id"]
            arrays[f"{prefix}is_new"] = outputs["objects"].get("is_new", np.zeros(pres.shape, bool))
            if with_sprites and model.has_sprites:
                what = outputs["objects"]["what"]
                arrays[f"{prefix}sprites"] = sprites.record(model, what[:clips], pres[:clips])
        arrays = {key: value[:clips] for key, value in arrays.items()}
        if self.rollout_from is not None:
            arrays["rollout_from"] = np.array(self.rollout_from)
        return arrays

    def _modes(self) -> list[tuple[str, int | None]]:
        posterior = [("", None)]
        return posterior if self.rollout_from is None else [*posterior, (ROLLOUT_PREFIX, self.rollout_from)]

    def _check_length(self, batch: Mapping) -> None:
        missing = [key for key in ("boxes", "present", "track_id") if key not in batch]
        if missing:
            raise UserError(f"evaluation needs annotated clips; the batch lacks {missing}")
        frames = batch["video"].shape[1]
        if self.rollout_from is not None and frames <= self.rollout_from:
            raise UserError(
                f"Evaluator.rollout_from={self.rollout_from} leaves nothing of clips of {frames} frames; "
                f"bind it below {frames}, or to None to leave the roll-out out"
            )

    def _outputs(self, model, batch: Mapping, seed: tuple[int, int], rollout_from, model_batch_size: int) -> dict:
        """NumPy outputs of whole clips: `reconstruction`, `objects` and, where there are no boxes, `mask`."""
        offset = batch.get("crop_offset")
        outputs = self._stream(model, rollout_from).outputs(
            _fill_up(batch["video"], model_batch_size),
            seed=seed,
            crop_offset=None if offset is None else _fill_up(offset, model_batch_size),
            object_count=_fill_up(_object_count(batch), model_batch_size) if model.is_told_count else None,
        )
        return tf.nest.map_structure(lambda array: array[: len(batch["video"])], outputs)

    def _stream(self, model, rollout_from) -> VideoStream:
        """The compiled model, kept for as long as the same one is evaluated."""
        if self._model is not model:
            self._model, self._streams = model, {}
        if rollout_from not in self._streams:
            self._streams[rollout_from] = VideoStream(
                model,
                chunk_frames=self.chunk_frames,
                rollout_from=rollout_from,
                reconstruction=True,
                object_keys=(*_OBJECT_KEYS, "what") if model.has_sprites else _OBJECT_KEYS,
                jit_compile=self._jit_compile,
            )
        return self._streams[rollout_from]


def _object_count(batch: Mapping) -> np.ndarray:
    """Largest number of objects in a frame of each clip, `[B]`."""
    present = np.asarray(batch["present"], bool) & np.asarray(batch["frame_mask"], bool)[..., None]
    return present.sum(axis=2).max(axis=1).astype(np.int32)


def _fill_up(array: np.ndarray, size: int) -> np.ndarray:
    """`array` with its last row repeated up to `size` rows (unchanged when it has as many)."""
    missing = max(size - len(array), 0)
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array
