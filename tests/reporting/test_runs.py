import numpy as np
import pytest

from silot_tf.errors import UserError
from silot_tf.reporting.aggregation import Spread, model_curves
from silot_tf.reporting.examples import (
    Clip,
    read_examples,
    spread_over_conditions,
    training_examples,
)
from silot_tf.reporting.runs import configuration_differences, group_runs, read_log, read_run
from silot_tf.reporting.tables import duration, number, with_spread
from silot_tf.reporting.training_figures import column_title, lines_over_updates, section_of, timeline
from tests.reporting.synthetic import example_arrays, write_run


def test_log_columns_are_ordered_by_update_and_the_later_of_two_rows_counts(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("global_step,stage,loss,note\n1,warm,9,\n3,main,7,\n2,main,8,\n3,main,6,\n4,main,\n5,ma")
    log = read_log(path)
    np.testing.assert_array_equal(log["global_step"], [1, 2, 3])
    np.testing.assert_array_equal(log["loss"], [9, 8, 6])
    np.testing.assert_array_equal(log["stage"], [0, 1, 1])
    assert "note" not in log


def test_the_end_of_a_stage_and_the_beginning_of_the_next_are_both_kept(tmp_path):
    path = tmp_path / "evaluations.csv"
    path.write_text("stage,step,global_step,mota\n0,0,0,0.1\n0,10,10,0.3\n1,0,10,0.4\n1,5,15,0.5\n")
    log = read_log(path)
    np.testing.assert_array_equal(log["mota"], [0.1, 0.3, 0.4, 0.5])
    (single,) = lines_over_updates({"Model": [log]}, "mota", smooth=False)
    np.testing.assert_array_equal(single.mean, [0.1, 0.3, 0.4, 0.5])
    (double,) = lines_over_updates({"Model": [log, log]}, "mota", smooth=False)
    np.testing.assert_array_equal(double.x, [0, 10, 15])
    np.testing.assert_allclose(double.mean, [0.1, 0.4, 0.5])


def test_empty_cells_are_not_numbers(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss,late\n0,1,\n1,nan,4\n")
    log = read_log(path)
    np.testing.assert_array_equal(log["late"], [np.nan, 4])
    assert np.isnan(log["loss"][1])
    assert read_log(tmp_path / "none.csv") == {}


def test_a_folder_without_run_files_is_an_error(tmp_path):
    with pytest.raises(UserError, match="not a run folder"):
        read_run(tmp_path)


def test_updates_hours_and_gin_files_come_from_the_stamp_or_the_logs(tmp_path):
    run = read_run(write_run(tmp_path / "a", rows=5, info={"hours": 1.5}))
    assert run.updates == 400
    assert run.hours == {"in all": 1.5}
    assert run.gin_files == ["gin_configs/quick/example.gin"]
    assert read_run(write_run(tmp_path / "b", rows=5, info={"updates": 7})).updates == 7


def test_seeds_do_not_count_as_differences_of_configurations(tmp_path):
    runs = [read_run(write_run(tmp_path / str(seed), seed=seed, rows=2)) for seed in (0, 1)]
    assert configuration_differences(runs) == []
    (tmp_path / "1" / "config.gin").write_text("Trainer.batch_size = \\\n    8\n")
    runs[1] = read_run(tmp_path / "1")
    assert "1: Trainer.batch_size = 8" in configuration_differences(runs)


def test_spread_leaves_out_what_was_not_measured():
    values = [0.1, None, 0.4, float("nan"), 0.7]
    spread = Spread.of(values)
    np.testing.assert_allclose((spread.mean, spread.std), (np.mean([0.1, 0.4, 0.7]), np.std([0.1, 0.4, 0.7])))
    assert spread.count == 3
    assert Spread.of([]).count == 0


def test_over_all_conditions_counts_are_summed_and_rates_averaged(tmp_path):
    run = read_run(write_run(tmp_path / "run", rows=2))
    (curve,) = model_curves(group_runs([run]), {}, "Model")
    rows = run.results["model"].values()
    np.testing.assert_allclose(curve.overall["misses"].mean, sum(row["misses"] for row in rows))
    np.testing.assert_allclose(curve.overall["ap"].mean, np.mean([row["ap"] for row in rows]))
    run.results["model"]["all"] = {"ap": 0.123}
    (curve,) = model_curves(group_runs([run]), {}, "Model")
    assert curve.overall["ap"].mean == 0.123
    assert "all" not in curve.conditions


def test_training_lines_are_mean_and_std_over_seeds():
    logs = [{"step": np.array([0.0, 1, 2]), "loss": np.array([3.0, 2, np.nan])} for _ in range(2)]
    logs[1]["loss"] = np.array([5.0, 3, 1])
    (line,) = lines_over_updates({"Model": logs}, "loss")
    np.testing.assert_array_equal(line.x, [0, 1])
    np.testing.assert_allclose(line.mean, [4, 2.5])
    np.testing.assert_allclose(line.std, [np.std([3, 5]), np.std([2, 3])])
    assert len(line.threads) == 2


def test_a_single_run_is_smoothed_without_shifting_its_level():
    x = np.arange(600.0)
    (line,) = lines_over_updates({"Model": [{"step": x, "loss": 5 + (-1.0) ** x}]}, "loss")
    np.testing.assert_allclose(line.mean[20:-20], 5, atol=0.2)
    np.testing.assert_array_equal(line.threads[0][1], 5 + (-1.0) ** x)


def test_stage_boundaries_and_longer_clips_are_marked(tmp_path):
    run = read_run(write_run(tmp_path / "run", rows=31))
    marks = timeline([run])
    assert [text for _, text in marks.stages] == ["stage 1", "stage 2"]
    assert [text for _, text in marks.frames] == ["2 frames", "4", "6", "8"]
    boundary = run.log["global_step"][np.flatnonzero(np.diff(run.log["stage"]))[0] + 1]
    assert marks.stages[0][0] == boundary


@pytest.mark.parametrize(
    ("column", "section"),
    [
        ("loss", "loss"),
        ("term/propagation_static", "loss"),
        ("kl_what", "loss"),
        ("objects_on", "health"),
        ("objects_pres", "health"),
        ("gradient_norm", "health"),
        ("gradient_norm/discovery", "health"),
        ("gradient_noise", "schedules"),
        ("annealed/count_prior_log_odds", "schedules"),
        ("learning_rate", "schedules"),
        ("steps_per_second", "speed"),
        ("something", "other"),
    ],
)
def test_columns_find_their_section(column, section):
    assert section_of(column) == section


def test_columns_are_put_in_words():
    assert column_title("term/propagation_static") == "Propagation static"
    assert column_title("kl/what") == "KL: what"
    assert column_title("loss") == "Total loss"


def test_examples_are_read_as_written_and_padding_is_left_out(tmp_path):
    arrays = example_arrays(np.random.default_rng(0), ["a", "b"], frames=4, clips=3, size=16)
    mask = np.ones((3, 4), bool)
    mask[1, 3] = False
    np.savez(tmp_path / "e.npz", frame_mask=mask, **arrays)
    clips = read_examples(tmp_path / "e.npz").clips
    assert [len(clip.video) for clip in clips] == [4, 3, 4]
    assert [clip.condition for clip in clips] == ["a", "b", "a"]
    assert set(clips[0].views) == {"", "rollout_"}
    assert clips[0].rollout_from == 3
    np.testing.assert_array_equal(clips[1].video, arrays["video"][1, :3])
    np.testing.assert_array_equal(clips[1].views["rollout_"].objects.is_new, arrays["rollout_is_new"][1, :3])
    np.testing.assert_array_equal(clips[2].truth.pres, arrays["truth_present"][2])


def test_grey_float_clips_and_other_spellings_are_read(tmp_path):
    arrays = {
        "video": np.full((1, 2, 8, 8, 1), 0.5, np.float32),
        "posterior/reconstruction": np.full((1, 2, 8, 8, 1), 2.0, np.float32),
        "posterior/boxes": np.zeros((1, 2, 3, 4)),
        "posterior/pres": np.ones((1, 2, 3, 1)),
        "posterior/track_id": np.zeros((1, 2, 3), int),
        "posterior/is_new": np.zeros((1, 2, 3), bool),
    }
    np.savez(tmp_path / "00000700.npz", **arrays)
    examples = read_examples(tmp_path / "00000700.npz")
    assert examples.global_step == 700
    (clip,) = examples.clips
    assert clip.video.shape == (2, 8, 8, 3)
    assert (clip.video == 128).all()
    assert (clip.views[""].reconstruction == 255).all()
    assert clip.views[""].objects.pres.shape == (2, 3)
    assert clip.truth is None


@pytest.mark.parametrize("broken", ["no_video", "shapes", "pickle"])
def test_examples_that_do_not_fit_are_errors(tmp_path, broken):
    arrays = example_arrays(np.random.default_rng(0), ["a"], frames=4, clips=1, size=16)
    if broken == "no_video":
        del arrays["video"]
    elif broken == "shapes":
        arrays["is_new"] = arrays["is_new"][:, :2]
    else:
        arrays["video"] = np.array([{}], object)
    np.savez(tmp_path / "e.npz", **arrays)
    with pytest.raises(UserError, match=r"e\.npz"):
        read_examples(tmp_path / "e.npz")


def test_first_middle_and_last_examples_of_training_are_chosen(tmp_path):
    for step in (0, 5, 10, 40, 100):
        (tmp_path / f"step_{step}.npz").touch()
    assert [p.stem for p in training_examples(tmp_path)] == ["step_0", "step_10", "step_100"]
    assert training_examples(tmp_path / "none") == []


def test_clips_cover_the_conditions_before_repeating_one():
    clips = [Clip(np.zeros((1, 1, 1, 3)), None, {}, name, None) for name in "aaabbc"]
    assert [clip.condition for clip in spread_over_conditions(clips, 3)] == ["a", "b", "c"]
    assert [clip.condition for clip in spread_over_conditions(clips, 4)] == ["a", "a", "b", "c"]
    assert [clip.condition for clip in spread_over_conditions(clips, 2)] == ["a", "c"]
    assert [clip.condition for clip in spread_over_conditions(clips, 1)] == ["a"]
    assert spread_over_conditions(clips, 0) == []


def test_numbers_are_printed_for_people():
    assert number(1234567.0, 0) == "1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567"
    assert number(-0.25, 2) == "\N{MINUS SIGN}0.25"
    assert number(float("nan"), 2) == "\N{EN DASH}"
    assert with_spread(Spread.of([0.5]), 3) == "0.500"
    assert with_spread(Spread.of([0.4, 0.6]), 3) == "0.500 ± 0.100"
    assert with_spread(Spread.of([0.4, 0.4]), 3) == "0.400"
    assert [duration(h).replace("\N{NO-BREAK SPACE}", " ") for h in (0.005, 0.2, 5, 100)] == [
        "18 s",
        "12 min",
        "5.0 h",
        "4.2 days",
    ]
