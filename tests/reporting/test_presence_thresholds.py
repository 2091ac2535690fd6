"""Metrics at a second presence threshold in tables."""

from silot_tf.reporting.aggregation import Curve, Spread, is_counted
from silot_tf.reporting.tables import describe, metric_table


def test_a_second_threshold_is_named_after_the_metric():
    assert describe("mota_above_50").label == "MOTA, presence > .5" and describe("mota_above_50").higher_is_better
    assert describe("rollout_misses_above_05").label == "Misses, presence > .05"
    assert describe("pooled_idf1_above_50").label == "Pooled IDF1, presence > .5"


def test_counts_are_counts_at_every_threshold():
    assert is_counted("misses_above_50") and is_counted("rollout_switches_above_50")
    assert not is_counted("mota_above_50") and not is_counted("pooled_idf1_above_50")


def test_table_shows_the_second_threshold_beside_the_first():
    values = {name: Spread.of([value]) for name, value in {"ap": 0.5, "mota": 0.25, "mota_above_50": 0.75}.items()}
    curve = Curve("SILOT", ("SILOT",), False, {"a": 1.0}, {"a": values}, values, 1)
    table = metric_table([curve], "")
    assert table["keys"] == ["ap", "mota", "mota_above_50"]
    assert table["groups"][0]["rows"] == [("a", ["0.500", "0.250", "0.750"])]
