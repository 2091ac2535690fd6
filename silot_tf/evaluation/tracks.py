"""From contract dictionaries to per-frame tables of boxes and ids.

Every metric about objects reads the tables made here, so that coordinates, validity and thresholds are
settled once, here.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

from silot_tf.ops import boxes as box_ops

# Boxes travel as float32 fractions of the frame, which moves an edge by up to 1e-5 pixel. Annotated boxes,
# and those of connected components, lie on whole and half pixels, where overlaps of exactly 1/2 do occur:
# rounding to this grid brings them back, and the strict and the inclusive IoU threshold mean what they say.
EDGE_GRID = 2.0**-14  # pixels
# For models that give masks instead of boxes: a pixel belongs to the object that covers it by more than this.
MASK_THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True)
class Frame:
    """One annotated frame: predicted and true boxes with their ids.

    Attributes:
      boxes: `[P,4]` float64 (top, bottom, left, right) in annotation pixels, predictions with presence > 0,
        slot order.
      confidence: `[P]` float64 presence in (0, 1].
      track_id: `[P]` int64, -1 where the prediction is not tracked (presence at or below the model's
        threshold).
      truth_boxes: `[G,4]` float64, valid annotations in the same convention.
      truth_id: `[G]` int64.
      score: `[P]` float64 order of predictions in average precision; None for `confidence`.
    """

    boxes: np.ndarray
    confidence: np.ndarray
    track_id: np.ndarray
    truth_boxes: np.ndarray
    truth_id: np.ndarray
    score: np.ndarray | None = None

    @functools.cached_property
    def overlaps(self) -> np.ndarray:
        """Intersection over union of predictions and truth, `[P,G]` float64."""
        return box_ops.iou_matrix(self.boxes, self.truth_boxes)


#: The frames of one clip that count, in order of time.
Clip = list[Frame]


def clips_from(outputs: Mapping, batch: Mapping, first_frame: int = 0) -> list[Clip]:
    """One `Clip` per video of a batch.

    Args:
      outputs: see `silot_tf.contracts`; only `objects` (and `mask`, for models without boxes) are read.
        Arrays or tensors.
      batch: see `silot_tf.contracts`, with annotations.
      first_frame: frames before this one are left out (prior roll-out is judged from the switch on).

    Frames whose `frame_mask` is False are left out.

    Source: SILOT specification 1.2 (annotation frame), 6.1 (predictions), 6.2 (hypotheses).
    """
    video = batch["video"]
    image_shape = tuple(int(side) for side in video.shape[2:4])
    where, pres = predicted_boxes(outputs)
    score = outputs["objects"].get("confidence")
    score = pres if score is None else np.asarray(score, np.float64)[..., 0]
    edges = edges_of(where, image_shape)
    track_id = np.asarray(outputs["objects"]["track_id"], np.int64)
    counted = np.array(batch["frame_mask"], bool)
    counted[:, :first_frame] = False

    present = np.asarray(batch["present"], bool)
    truth_edges = edges_of(np.asarray(batch["boxes"]), image_shape)
    truth_id = np.asarray(batch["track_id"], np.int64)
    clips = []
    for b in range(counted.shape[0]):
        clip = []
        for t in np.flatnonzero(counted[b]):
            chosen, valid = pres[b, t] > 0, present[b, t]
            clip.append(
                Frame(
                    boxes=edges[b, t, chosen],
                    confidence=pres[b, t, chosen],
                    track_id=track_id[b, t, chosen],
                    truth_boxes=truth_edges[b, t, valid],
                    truth_id=truth_id[b, t, valid],
                    score=score[b, t, chosen],
                )
            )
        clips.append(clip)
    return clips


def above(clips: Sequence[Clip], threshold: float) -> list[Clip]:
    """The clips with ids taken from all objects whose presence is `threshold` or less.

    Where presence never rises, these are the tracks of a model that gives ids from that threshold on, up to the
    numbering of ids.
    """

    def untracked(frame: Frame) -> Frame:
        return dataclasses.replace(frame, track_id=np.where(frame.confidence > threshold, frame.track_id, -1))

    return [[untracked(frame) for frame in clip] for clip in clips]


def edges_of(where, image_shape) -> np.ndarray:
    """`[..., 4]` edges in annotation pixels, on `EDGE_GRID`, of contract boxes (fractions of the frame)."""
    return np.round(box_ops.to_edges(where, image_shape) / EDGE_GRID) * EDGE_GRID


def predicted_boxes(outputs: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Boxes `[B,T,K,4]` (fractions of the frame) and presence `[B,T,K]` (float64) of a model's outputs.

    Models that give masks instead of boxes get the tight box around the pixels that a mask covers by more
    than `MASK_THRESHOLD`; objects without such a pixel get presence 0.
    """
    objects = outputs["objects"]
    pres = np.asarray(objects["pres"], np.float64)[..., 0]
    if "where" in objects:
        return np.asarray(objects["where"]), pres
    covered = np.asarray(outputs["mask"]) > MASK_THRESHOLD
    top, bottom = _extent(covered.any(axis=-1))
    left, right = _extent(covered.any(axis=-2))
    edges = np.stack([top, bottom, left, right], axis=-1) - 0.5
    where = box_ops.from_edges(edges, covered.shape[-2:])
    return where, np.where(covered.any(axis=(-2, -1)), pres, 0.0)


def _extent(occupied: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the first True and one past the last along the last axis (0 and the length if none is)."""
    length = occupied.shape[-1]
    return np.argmax(occupied, axis=-1), length - np.argmax(occupied[..., ::-1], axis=-1)
