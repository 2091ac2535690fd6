"""A trained run becomes an export, by the command line; and everything that can be wrong with that."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.integration import commands


def export(folder, *flags):
    return subprocess.run(
        [sys.executable, "-m", "reproduce.export_model", *flags],
        cwd=folder, env=commands.environment(), capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


def one_line(done):
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    return lines[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder that holds `run`, the smoke experiment, trained and tested."""
    folder = tmp_path_factory.mktemp("trained")
    commands.run_smoke("scattered_mnist", folder)
    return folder


@pytest.mark.slow
def test_a_run_is_exported_verified_and_verified_again(trained):
    done = export(trained, "--run_dir=run", "--out=exports/first")
    assert done.returncode == 0, done.stderr
    assert "equals the live model" in done.stdout and "24x24" in done.stdout
    out = trained / "exports" / "first"
    assert [path.name for path in out.parent.iterdir()] == ["first"]
    card = json.loads((out / "card.json").read_text())
    assert card["verification"]["equal"] and card["verification"]["imported"] == []
    assert card["run"]["seed"] == 0 and card["weights"]["choice"] == "final" and card["versions"]["tensorflow"]
    assert "silot.SILOT" in card["configuration"] and "mota" in card["metrics"]["1 digit"]
    # The folder checks itself, without us.
    done = subprocess.run(
        [sys.executable, "-I", str(out / "check.py")], cwd="/", env={"PATH": os.environ["PATH"]}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # And against the live model, as it is now.
    done = export(trained, "--mode=verify", "--out=exports/first", "--run_dir=run")
    assert done.returncode == 0, done.stderr
    assert "equals the live model" in done.stdout


@pytest.mark.slow
def test_a_run_without_weights_is_refused_and_leaves_nothing(trained, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(trained / "run" / "config.gin", run)
    assert "is not trained" in one_line(export(tmp_path, "--run_dir=run", "--out=new"))
    (run / "checkpoints").mkdir()
    assert "holds no checkpoint; train first" in one_line(export(tmp_path, "--run_dir=run", "--out=new"))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--run_dir=run"], "--out is missing"),
        (["--out=new"], "--run_dir is missing"),
        (["--run_dir=nowhere", "--out=new"], "nowhere holds no config.gin"),
        (["--run_dir=run", "--out=old"], "--out=old exists"),
        (["--mode=verify", "--out=nowhere"], "--out=nowhere is not a folder"),
        (["--mode=check", "--out=new"], "--mode=check is unknown"),
        (["--run_dir=run", "--out=new", "--frame_shape=48"], "--frame_shape=48: expected HEIGHT,WIDTH"),
    ],
)
def test_wrong_flags_are_told_before_anything_starts(tmp_path, flags, message):
    (tmp_path / "old").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.gin").write_text("")
    assert message in one_line(export(tmp_path, *flags))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "run"]
