"""The whole way from the command line to a report, and what bad input gets."""

import json

import numpy as np
import pytest

from tests.integration import commands

FLAGS = (f"--gin_file={commands.GIN_FILE}",)


def one_line(process):
    """The error of a process that ended as bad input should, without log lines."""
    lines = [line for line in process.stderr.splitlines() if line and not line.startswith(("I1", "I0", "W1", "W0"))]
    assert process.returncode == 2, process.stderr
    assert "Traceback" not in process.stderr
    assert lines[-1].startswith("error: ") or "\n  " in process.stderr
    return process.stderr[process.stderr.index("error: ") :].strip()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which two seeds were trained, evaluated and reported with the default run folder."""
    folder = tmp_path_factory.mktemp("trained")
    done = commands.run(folder, *FLAGS, "--gin_param=Experiment.seeds=(0, 3)")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_one_line_trains_evaluates_and_reports_every_seed(trained):
    common = trained / "runs" / "scattered_mnist" / "integration_background"
    assert (common / "report" / "index.html").is_file()
    for seed in (0, 3):
        run_dir = common / f"seed{seed}"
        record = json.loads((run_dir / "run.json").read_text())
        assert (record["seed"], record["updates"], record["status"]) == (seed, 40, "evaluated")
        assert record["experiment"] == "scattered_mnist/integration_background" and record["model"] == "BackgroundOnly"
        assert set(record["hours"]) == {"train", "evaluate"} and record["finished"]
        assert "reproduce.scattered_mnist" in record["command"] and record["versions"]["tensorflow"]
        results = json.loads((run_dir / "results" / "metrics.json").read_text())
        assert set(results["conditions"]) == {"1 object", "2 objects"}
        assert set(results["baselines"]) == {"connected_components"}
        for name in ("config.gin", "operative_config.gin", "metrics.csv", "evaluations.csv", "results/config.gin"):
            assert (run_dir / name).stat().st_size > 100, name
        with np.load(run_dir / "results" / "examples.npz", allow_pickle=False) as examples:
            assert examples["condition"].tolist() == ["1 object", "2 objects"]
    losses = [commands.rows(common / f"seed{seed}" / "metrics.csv")[-1]["loss"] for seed in (0, 3)]
    assert losses[0] != losses[1]


@pytest.mark.slow
def test_the_same_line_again_changes_nothing(trained):
    run_dir = trained / "runs" / "scattered_mnist" / "integration_background" / "seed0"
    files = [run_dir / "metrics.csv", run_dir / "results" / "metrics.json"]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files[1:]] + [files[0].read_bytes()]
    done = commands.run(trained, *FLAGS, "--gin_param=Experiment.seeds=(0, 3)")
    assert done.returncode == 0, done.stderr
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files[1:]] + [files[0].read_bytes()] == before
    assert "is up to date" in done.stderr


@pytest.mark.slow
def test_the_run_folder_alone_is_enough_to_evaluate_and_report_again(trained):
    run_dir = trained / "runs" / "scattered_mnist" / "integration_background" / "seed3"
    before = json.loads((run_dir / "results" / "metrics.json").read_text())
    done = commands.run(trained, f"--run_dir={run_dir}", "--mode=evaluate")
    assert done.returncode == 0, done.stderr
    assert json.loads((run_dir / "results" / "metrics.json").read_text()) == before
    done = commands.run(trained, f"--run_dir={run_dir}", "--mode=report")
    assert done.returncode == 0, done.stderr
    assert (run_dir / "report" / "index.html").is_file()
    assert json.loads((run_dir / "run.json").read_text())["seed"] == 3


@pytest.mark.slow
def test_further_tests_can_be_made_of_a_finished_run(trained):
    run_dir = trained / "runs" / "scattered_mnist" / "integration_background" / "seed3"
    before = json.loads((run_dir / "results" / "metrics.json").read_text())
    further = f"--gin_file={commands.GIN_FILE.replace('background', 'further')}"
    done = commands.run(trained, f"--run_dir={run_dir}", "--mode=evaluate", further)
    assert done.returncode == 0, done.stderr
    assert json.loads((run_dir / "results" / "metrics.json").read_text()) == before
    document = json.loads((run_dir / "results" / "further" / "again.json").read_text())
    assert document["weights"]["global_step"] == 40 and set(document["model"]) == set(before["conditions"])
    for condition, scored in document["model"].items():
        assert scored["lengths"]["4"]["mota"] == before["model"][condition]["mota"]
        assert set(scored["lengths"]) == {"2", "4"} and len(scored["over_time"]["mota"]) == 4
    # Training goes on (here: is found finished) with tests that were not there when it began.
    done = commands.run(trained, *FLAGS, further, "--seed=3", f"--run_dir={run_dir}")
    assert done.returncode == 0, done.stderr
    assert "The same clips again" in (run_dir / "report" / "index.html").read_text()


@pytest.mark.slow
def test_another_configuration_in_a_run_folder_is_refused_with_the_difference(trained):
    run_dir = trained / "runs" / "scattered_mnist" / "integration_background" / "seed0"
    before = (run_dir / "config.gin").read_text()
    done = commands.run(
        trained, *FLAGS, "--gin_param=Trainer.clip_norm=3.0", "--gin_param=TrainingLoop.log_every=7",
        f"--run_dir={run_dir}",
    )  # fmt: skip
    message = one_line(done)
    assert "choose another folder" in message and "Trainer.clip_norm: 10.0 -> 3.0" in message
    assert "log_every" not in message  # cadences may change
    assert (run_dir / "config.gin").read_text() == before


@pytest.mark.slow
def test_a_finished_run_goes_on_when_more_updates_are_asked_for(trained):
    run_dir = trained / "runs" / "scattered_mnist" / "integration_background" / "seed3"
    more = "--gin_param=second/Stage.max_updates=20"
    done = commands.run(trained, f"--run_dir={run_dir}", "--mode=train", more)
    assert done.returncode == 0, done.stderr
    record = json.loads((run_dir / "run.json").read_text())
    assert record["updates"] == 44
    assert record["sessions"][-1]["configuration_changes"]
    assert "second/Stage.max_updates = 20" in (run_dir / "config.gin").read_text()


def test_an_unknown_mode_is_one_line(tmp_path):
    assert one_line(commands.run(tmp_path, "--mode=trian")) == (
        "error: --mode=trian is unknown; expected one of all, train, evaluate, report"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sed=1"], "Unknown command line flag 'sed'"),
        (["train"], "argument 'train' is not understood"),
        (["--seed=-1"], "--seed=-1 is out of range"),
        (["--data_dir=nowhere"], "--data_dir=nowhere is not a folder"),
        (["--gin_file=gin_configs/quick/nothing.gin"], "--gin_file=gin_configs/quick/nothing.gin does not exist"),
        (["--run_dir=nowhere", "--mode=report"], "nowhere holds no config.gin"),
    ],
)
def test_wrong_flags_are_told_before_anything_starts(tmp_path, flags, message):
    assert message in one_line(commands.run(tmp_path, *flags))
    assert not list(tmp_path.iterdir())


def test_a_misspelt_name_is_an_error_with_file_and_line(tmp_path):
    path = tmp_path / "mine.gin"
    path.write_text("training.Trainer.clip_norm = 10.0\ntraining.Trainer.clip_nrom = 5.0\n")
    message = one_line(commands.run(tmp_path, f"--gin_file={path}", "--run_dir=run"))
    assert "doesn't have a parameter named 'clip_nrom'" in message
    assert f'"{path}", line 2' in message
    assert "\n" not in message
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    message = one_line(commands.run(tmp_path, *FLAGS, "--run_dir=file/run"))
    assert message.startswith("error: cannot write file/run/config.gin: Not a directory")
    assert "\n" not in message


def test_help_explains_every_flag_and_starts_nothing(tmp_path):
    done = commands.run(tmp_path, "--help")
    assert done.returncode == 0
    for flag in ("gin_file", "gin_param", "run_dir", "data_dir", "seed", "mode"):
        assert f"--{flag}" in done.stdout
    assert "Scattered MNIST" in done.stdout and "The same line again continues" in done.stdout
