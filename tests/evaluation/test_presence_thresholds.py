"""Tracks scored at further presence thresholds."""

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.evaluation import aggregation, mot, tracks
from silot_tf.evaluation.aggregation import ObjectScores, SetMetrics
from silot_tf.evaluation.evaluator import Evaluator
from tests.evaluation.fakes import DriftingBoxes, corner_batch

SUFFIXED = ("mota", "idf1", "misses", "false_positives", "switches", "pooled_mota", "pooled_idf1")


def table(rows, truth) -> tracks.Frame:
    """A frame of predictions (place, presence, id) and true objects (place, id); places are far from each other."""
    box = lambda place: [0.0, 10.0, 20.0 * place, 20.0 * place + 10]  # noqa: E731
    return tracks.Frame(
        boxes=np.array([box(place) for place, *_ in rows]).reshape(-1, 4),
        confidence=np.array([pres for _, pres, _ in rows], float),
        track_id=np.array([i for *_, i in rows], int),
        truth_boxes=np.array([box(place) for place, _ in truth]).reshape(-1, 4),
        truth_id=np.array([i for _, i in truth], int),
    )


def test_faint_objects_are_scored_at_the_low_threshold_only():
    truth = [(0, 0), (1, 1)]
    clip = [
        table([(0, 0.9, 0), (1, 0.8, 1), (2, 0.3, 2)], truth),
        table([(0, 0.9, 0), (1, 0.4, 1), (2, 0.2, 2)], truth),
        table([(0, 0.5, 0), (1, 0.3, 1), (2, 0.1, 2)], truth),
    ]
    collected = SetMetrics(ObjectScores(presence_thresholds=(0.5, 0.35)))
    collected.add([clip])
    values = collected.result()
    assert values["mota"] == pytest.approx(1 - 3 / 6)
    assert (values["misses"], values["false_positives"]) == (0, 3)
    assert values["mota_above_50"] == pytest.approx(1 - 3 / 6)  # exactly the threshold is not above it
    assert (values["misses_above_50"], values["false_positives_above_50"]) == (3, 0)
    assert values["mota_above_35"] == pytest.approx(1 - 1 / 6)
    assert values["ap"] == values["pooled_ap"] and not any(name.startswith("ap_above") for name in values)


def test_scores_are_those_of_the_clips_without_the_faint_objects():
    rng = np.random.default_rng(0)
    clips = [
        [
            table(
                [(place, rng.random(), place) for place in rng.permutation(6)[:4]],
                [(place, place) for place in rng.permutation(6)[:3]],
            )
            for _ in range(5)
        ]
        for _ in range(3)
    ]
    kept = [
        [
            tracks.Frame(
                *(value[f.confidence > 0.5] for value in (f.boxes, f.confidence, f.track_id)), f.truth_boxes, f.truth_id
            )
            for f in clip
        ]
        for clip in clips
    ]
    expected = mot.track_counts(kept)
    assert mot.track_counts(tracks.above(clips, 0.5)) == expected
    values = aggregation.measure(clips, ObjectScores(presence_thresholds=(0.5,))).values
    assert values["mota_above_50"] == pytest.approx(expected.mota)
    assert values["mota"] == pytest.approx(mot.track_counts(clips).mota)


class Fading(DriftingBoxes):
    """Presence only falls, and ids are given above a threshold when an object is new, in the order of SILOT 2.11."""

    def __init__(self, threshold: float):
        super().__init__()
        self.threshold = threshold

    def unroll(self, video, state=None, *, seed, training=False, rollout_from=None):
        outputs, state = super().unroll(video, state, seed=seed, rollout_from=rollout_from)
        rng = np.random.default_rng(0)
        objects = outputs["objects"]
        shape = objects["track_id"].shape
        pres, is_new, ids = np.zeros(shape), np.zeros(shape, bool), np.full(shape, -1)
        for clip in range(shape[0]):
            identity, following = np.full(shape[2], -1), 0
            for t in range(shape[1]):
                for k in range(shape[2]):
                    is_new[clip, t, k] = t == 0 or rng.random() < 0.2
                    ceiling = 1 if is_new[clip, t, k] else pres[clip, t - 1, k]
                    pres[clip, t, k] = ceiling * (0.6 + 0.4 * rng.random())
                    if pres[clip, t, k] > self.threshold:
                        if is_new[clip, t, k]:
                            identity[k], following = following, following + 1
                        ids[clip, t, k] = identity[k]
        objects |= {"pres": tf.constant(pres[..., None], tf.float32), "is_new": tf.constant(is_new)}
        return outputs | {"objects": objects | {"track_id": tf.constant(ids, tf.int32)}}, state


def test_where_presence_never_rises_the_scores_are_those_of_ids_given_at_that_threshold():
    batch = corner_batch(np.random.default_rng(1), 3, 6)
    batch["track_id"] = np.broadcast_to(np.arange(3, dtype=np.int32), batch["track_id"].shape).copy()
    outputs, _ = DriftingBoxes().unroll(tf.constant(batch["video"]), seed=tf.constant([0, 0]))
    batch["boxes"][:] = outputs["objects"]["where"]
    low = Evaluator(rollout_from=None, further_presence_thresholds=(0.5,)).evaluate(Fading(0.05), [batch], seed=0)
    high = Evaluator(rollout_from=None).evaluate(Fading(0.5), [batch], seed=0)
    assert low["mota"] != high["mota"] and high["switches"] > 0
    for name in SUFFIXED:
        assert low[f"{name}_above_50"] == pytest.approx(high[name]), name


def test_every_metric_has_a_protocol_in_both_modes():
    evaluator = Evaluator(rollout_from=3, further_presence_thresholds=(0.5,))
    values = evaluator.evaluate(DriftingBoxes(), [corner_batch(np.random.default_rng(0), 1, 6)], seed=0)
    assert set(values) == set(evaluator.protocol)
    for prefix in ("", "rollout_"):
        assert {f"{prefix}{name}_above_50" for name in SUFFIXED} <= set(values)
    assert "above 0.5" in evaluator.protocol["mota_above_50"]


@pytest.mark.parametrize("thresholds", [(0,), (0.5, 1.0), (-0.1,)])
def test_impossible_thresholds_are_refused(thresholds):
    with pytest.raises(UserError, match="further_presence_thresholds"):
        Evaluator(further_presence_thresholds=thresholds)
