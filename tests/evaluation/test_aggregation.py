import math

import numpy as np
import pytest

from silot_tf.evaluation import aggregation, counting, detection, mot
from tests.evaluation.scenes import frame, random_clip, square


def test_batch_values_are_averaged_by_size_and_pooled_values_are_computed_once():
    rng = np.random.default_rng(3)
    clips = [random_clip(rng) for _ in range(5)]
    collected = aggregation.SetMetrics()
    collected.add(clips[:4], {"mse": 1.0})
    collected.add(clips[4:], {"mse": 2.0})
    values = collected.result()

    def precision(part):
        return detection.metrics(detection.detections_of(part))["ap"]

    assert values["ap"] == pytest.approx((4 * precision(clips[:4]) + precision(clips[4:])) / 5)
    assert values["pooled_ap"] == pytest.approx(precision(clips))
    first, second = mot.track_counts(clips[:4]), mot.track_counts(clips[4:])
    assert values["mota"] == pytest.approx((4 * first.mota + second.mota) / 5)
    assert values["pooled_mota"] == pytest.approx(mot.track_counts(clips).mota)
    assert values["pooled_mota"] != pytest.approx(values["mota"])
    assert values["misses"] == first.misses + second.misses
    assert values["mse"] == pytest.approx(6 / 5) and values["clips"] == 5
    assert values["count_error"] == pytest.approx(counting.metrics(clips)["count_error"])


def test_one_batch_makes_both_protocols_equal():
    collected = aggregation.SetMetrics()
    collected.add([random_clip(np.random.default_rng(0)) for _ in range(3)])
    values = collected.result()
    assert values["ap"] == values["pooled_ap"] and values["mota"] == values["pooled_mota"]


def test_thresholds_of_the_scores_are_used():
    clip = [frame([(0, 10, 0, 5)], truth=[square(0, 0)])]
    collected = aggregation.SetMetrics(aggregation.ObjectScores((0.4, 0.6), matching_iou=0.6))
    collected.add([clip])
    values = collected.result()
    assert values["ap"] == 0.5 and values["ap_40"] == 1 and values["ap_60"] == 0 and values["mota"] == -1


def test_nothing_added_gives_nothing():
    assert aggregation.SetMetrics().result() == {}


def test_not_a_number_is_passed_on_and_absence_is_not():
    values = aggregation.weighted_mean([(1, {"a": 1.0, "b": math.nan}), (3, {"b": 1.0})])
    assert values["a"] == 1 and math.isnan(values["b"])


def test_shares_of_true_objects_are_not_defined_for_a_set_without_any():
    """One batch of it with objects is enough to define them."""
    empty, some = [frame([square(0, 0)])], [frame([square(0, 0)], truth=[square(0, 0)])]
    collected = aggregation.SetMetrics()
    collected.add([empty], {"mse": 1.0})
    values = collected.result()
    for name in ("ap", "ap_50", "mota", "idf1", "pooled_mota", "pooled_ap_50", "count_error_relative"):
        assert math.isnan(values[name]), name
    assert (values["count_error"], values["mse"], values["false_positives"], values["clips"]) == (1, 1, 1, 1)
    collected.add([some])
    values = collected.result()
    assert (values["pooled_mota"], values["mota"], values["ap_50"]) == (0, 0.5, 0.5)
