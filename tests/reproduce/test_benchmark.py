import math

import pytest

from reproduce import benchmark, measure, suites
from silot_tf.errors import UserError
from silot_tf.models.silot import SILOT
from silot_tf.models.silot.rendering import Renderer


@pytest.fixture
def suite():
    return suites.Suite(
        model=None, plain_model=lambda: None, reference_seconds={"train": 0.8}, reference="a like machine"
    )


def fake_result(case, seconds):
    return case | {
        "seconds": seconds,
        "fastest_seconds": seconds,
        "compile_seconds": 1.0,
        "gflop": 10.0,
        "gflop_per_second": 10.0 / seconds,
        "peak_memory_gb": 1.5,
        "call_memory_gb": 0.25,
        "matrix_product_rate": 100.0,
    }


def test_table_shows_ratios_to_the_reference_and_to_the_plain_kernels(suite):
    results = {case["name"]: fake_result(case, 0.4) for case in suite.cases()}
    results["train_plain"]["seconds"] = 1.0
    text = suite.table(results)
    training = next(line for line in text.splitlines() if line.startswith("training step  "))
    assert training.split()[-9:] == ["16", "0.4000", "0.8000", "0.50", "10.00", "25.0", "25%", "1.50", "1.0"]
    assert "plain kernels take 2.50 times as long" in text and "a like machine" in text


def test_growth_is_a_slope_in_log_log_coordinates(suite):
    results = {case["name"]: fake_result(case, 0.4) for case in suite.cases()}
    for slots in suite.slot_counts:
        results[f"slots_{slots}"]["seconds"] = 0.01 * slots**1.25
    assert "log-log slope 1.25" in suite.table(results)
    assert measure.slope((1, 2, 4), (3.0, 6.0, 12.0)) == pytest.approx(1.0)
    assert not math.isnan(measure.slope((1, 2, 4, 8), (1.0, 1.0, 1.0, 1.0)))


def test_table_without_growth_has_only_the_cases(suite):
    results = {case["name"]: fake_result(case, 0.4) for case in suite.cases(growth=False)}
    assert "log-log" not in suite.table(results)


def test_table_says_which_aims_were_reached_and_how_fast_the_machine_was():
    suite = suites.Suite(
        model=None, plain_model=None, frames=10, short_frames=3, aims={"train": 0.8, "inference": 0.3},
        memory_aims={"train": 1.4}, prefix="small_",
    )  # fmt: skip
    cases = suite.cases(growth=False)
    assert {case["name"] for case in cases} == {
        f"small_{name}" for name in ("train", "train_short", "inference", "frame", "frame_with_reconstruction")
    }
    results = {case["name"]: fake_result(case, 0.4) for case in cases} | {"train": fake_result(cases[0], 99.0)}
    lines = suite.table(results).splitlines()
    assert "training step, T 10, B 16: 0.4 s, aim 0.8 s: reached; 1.5 GB, aim 1.4 GB: not" in lines
    assert "inference on clips, T 10, B 16: 0.4 s, aim 0.3 s: not" in lines
    assert "this machine's matrix products meanwhile: 100 to 100 GFLOP/s" in lines
    assert [line.split()[2:4] for line in lines if line.startswith("training step ")] == [["10", "16"], ["3", "16"]]
    with pytest.raises(UserError, match="training"):
        suites.Suite(model=None, plain_model=None, aims={"training": 1.0})


def test_single_frames_may_be_those_of_another_model(monkeypatch):
    monkeypatch.setattr(measure, "matrix_product_rate", lambda repetitions: 1.0)
    made = []

    def model(name):
        return lambda: made.append(name) or small_model(2)

    suite = suites.Suite(model("clips"), None, model("frames"), frame_shape=(36, 48, 3), batch_size=1, frames=1)
    for name in ("inference", "frame"):
        suite.run(next(case for case in suite.cases() if case["name"] == name), 1)
    assert made == ["clips", "frames"]


def test_unknown_case_is_an_error(suite):
    with pytest.raises(UserError, match="--case=nothing"):
        benchmark._named([suite], "nothing")


@pytest.fixture
def large():
    constructor = lambda: None  # noqa: E731
    return suites.LargeFrames(
        {"window": constructor, "image": constructor}, {"window": constructor, "image": constructor}
    )


def test_large_frames_are_measured_with_every_rendering_and_grow_from_16_to_512_slots(large):
    cases = {case["name"]: case for case in large.cases()}
    assert {name for name in cases if "slots" not in name} == {
        f"large_{what}_{how}" for what in ("frame", "render") for how in ("window", "image")
    }
    assert all(case["slots"] == 128 for name, case in cases.items() if "slots" not in name)
    assert [case["frames"] for name, case in cases.items() if "render" in name] == [4, 4]
    assert [case["slots"] for name, case in cases.items() if "slots" in name] == [16, 32, 64, 128, 256, 512]


def test_table_of_large_frames_shows_renderings_side_by_side_and_the_slope(large):
    results = {case["name"]: fake_result(case, 0.05) for case in large.cases()}
    results["large_render_image"] |= {"seconds": 1.177, "call_memory_gb": 1.98}
    for slots in large.slot_counts:
        results[f"large_slots_{slots}"]["seconds"] = 0.002 * slots**0.5
    text = large.table(results)
    rendered = [line.split()[-6:] for line in text.splitlines() if line.startswith("rendering 4 frames")]
    assert rendered == [
        ["window", "0.0500", "10.00", "200%", "1.50", "250"],
        ["image", "1.1770", "10.00", "200%", "1.50", "1980"],
    ]
    assert "log-log slope 0.50" in text
    assert "slope" not in large.table({name: row for name, row in results.items() if "slots" not in name})


def test_small_case_of_each_kind_runs(monkeypatch):
    monkeypatch.setattr(measure, "matrix_product_rate", lambda repetitions: 1.0)
    large = suites.LargeFrames(
        {"window": lambda num_slots: small_model(num_slots)},
        {"window": lambda: Renderer((4, 4), (8,), rendering="window", largest_box=(12, 12))},
        slots=3,
        frame_shape=(36, 48, 3),
        rendered_frames=2,
        largest_box=(12, 12),
        slot_counts=(2,),
    )
    for name in ("large_render_window", "large_slots_2"):
        (case,) = (case for case in large.cases() if case["name"] == name)
        result = large.run(case, 1)
        assert result["seconds"] > 0 and result["gflop"] > 0 and result["call_memory_gb"] >= 0


def small_model(num_slots):
    return SILOT(num_slots, (12, 12), (4, 4), encoder_hidden=(8,), decoder_hidden=(8,), rendering="window")
