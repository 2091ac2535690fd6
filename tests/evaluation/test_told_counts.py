"""What evaluation tells models that ask for it, and how sure models are of what they show."""

import numpy as np
import tensorflow as tf

from silot_tf.evaluation import detection, tracks
from silot_tf.evaluation.evaluator import Evaluator
from tests.evaluation.fakes import SLOTS, DriftingBoxes, corner_batch


class Counting(DriftingBoxes):
    """Is told how many objects there are, and shows so many."""

    is_told_count = True

    def initial_state(self, batch_size, crop_offset=None, object_count=None):
        count = tf.fill([batch_size], -1) if object_count is None else object_count
        return super().initial_state(batch_size, crop_offset) | {"count": count}

    def one_frame(self, frame, state, seed, rollout_from):
        count = state["count"]
        outputs, state = super().one_frame(frame, state, seed, rollout_from)
        shown = tf.range(SLOTS)[None] < count[:, None]
        outputs["objects"]["pres"] = tf.cast(shown, tf.float32)[..., None]
        return outputs, state | {"count": count}


def test_numbers_of_objects_are_told_clip_by_clip():
    """Also in the last batch, which is filled up; the number is the largest of a clip's frames."""
    batch = corner_batch(np.random.default_rng(0), clips=3, frames=4)
    batch["present"][0, :, 1:] = False
    batch["present"][1, :3, 2] = False
    small = {name: value[2:] for name, value in batch.items()}
    evaluator = Evaluator(rollout_from=None, chunk_frames=2)
    found = evaluator.evaluate(Counting(), [batch, small], seed=0)
    annotated = [batch["present"][b].sum(1) for b in range(3)] + [small["present"][0].sum(1)]
    shown = [numbers.max() for numbers in annotated]
    errors = [np.abs(s - n).mean() for s, n in zip(shown, annotated, strict=True)]
    assert np.isclose(found["count_error"], np.mean(errors))


def test_precision_orders_predictions_by_confidence_where_there_is_one():
    boxes = np.array([[[[0.2, 0.2, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2]]]], np.float32)
    objects = {"where": boxes, "pres": np.ones((1, 1, 2, 1)), "track_id": np.array([[[0, 1]]])}
    batch = {
        "video": np.zeros((1, 1, 20, 20, 1), np.float32),
        "frame_mask": np.ones((1, 1), bool),
        "boxes": boxes[:, :, :1],
        "present": np.ones((1, 1, 1), bool),
        "track_id": np.zeros((1, 1, 1), np.int32),
    }
    for confidence, expected in (([0.9, 0.4], 1.0), ([0.4, 0.9], 0.5)):
        shown = objects | {"confidence": np.array(confidence)[None, None, :, None]}
        clips = tracks.clips_from({"objects": shown}, batch)
        assert np.all(clips[0][0].confidence == 1)  # objects are counted by presence
        assert np.isclose(detection.average_precision(detection.detections_of(clips), (0.5,))[0], expected)
