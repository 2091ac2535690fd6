import math

import pytest

from reproduce import benchmark, measure
from silot_tf.errors import UserError


@pytest.fixture
def suite():
    return measure.Suite(model=None, plain_model=None, reference_seconds={"train": 0.8}, reference="a like machine")


def fake_result(case, seconds):
    return case | {
        "seconds": seconds,
        "fastest_seconds": seconds,
        "compile_seconds": 1.0,
        "gflop": 10.0,
        "gflop_per_second": 10.0 / seconds,
        "peak_memory_gb": 1.5,
        "matrix_product_rate": 100.0,
    }


def test_table_shows_ratios_to_the_reference_and_to_the_plain_kernels(suite):
    results = {case["name"]: fake_result(case, 0.4) for case in suite.cases()}
    results["train_plain"]["seconds"] = 1.0
    text = benchmark.table(suite, results)
    training = next(line for line in text.splitlines() if line.startswith("training step  "))
    assert training.split()[-9:] == ["16", "0.4000", "0.8000", "0.50", "10.00", "25.0", "25%", "1.50", "1.0"]
    assert "plain kernels take 2.50 times as long" in text and "a like machine" in text


def test_growth_is_a_slope_in_log_log_coordinates(suite):
    results = {case["name"]: fake_result(case, 0.4) for case in suite.cases()}
    for slots in suite.slot_counts:
        results[f"slots_{slots}"]["seconds"] = 0.01 * slots**1.25
    assert "log-log slope 1.25" in benchmark.table(suite, results)
    assert benchmark._slope((1, 2, 4), (3.0, 6.0, 12.0)) == pytest.approx(1.0)
    assert not math.isnan(benchmark._slope((1, 2, 4, 8), (1.0, 1.0, 1.0, 1.0)))


def test_table_without_growth_has_only_the_cases(suite):
    results = {case["name"]: fake_result(case, 0.4) for case in suite.cases(growth=False)}
    assert "log-log" not in benchmark.table(suite, results)


def test_unknown_case_is_an_error(suite):
    with pytest.raises(UserError, match="--case=nothing"):
        benchmark._named(suite.cases(), "nothing")
