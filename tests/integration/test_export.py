"""A trained run becomes an export, by the command line; and everything that can be wrong with that."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.data import videos
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


@pytest.mark.slow
@pytest.mark.parametrize("view", ["foreground", "frames"])
def test_a_run_of_an_own_video_is_exported_for_frames_of_the_video(tmp_path, view):
    film = videos.write_file(tmp_path / "film.mkv", videos.frames())
    flags = [f"--video={film}", "--out=first", "--mode=train", "--gin_file=gin_configs/smoke/own_video.gin"]
    done = subprocess.run(
        [sys.executable, "-m", "reproduce.own_video", *flags, f"--gin_param=data.VideoChooser.view='{view}'"],
        cwd=tmp_path, env=commands.environment(), capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (tmp_path / "first").rename(tmp_path / "run")  # also the background is found in its new place
    film.unlink()
    done = export(tmp_path, "--run_dir=run", "--out=new")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "equals the live model" in done.stdout and "frames of 48x64" in done.stdout
    card = json.loads((tmp_path / "new" / "card.json").read_text())
    record = json.loads((tmp_path / "run" / "own_video.json").read_text())
    size = record["choices"]["working_size"]
    assert size != [48, 64] and f"inside, frames are resized to {size[0]}x{size[1]}" in done.stdout
    assert card["frame"]["shape"] == [48, 64, 3] and card["verification"]["equal"]
    assert card["preprocessing"]["view"] == view and card["preprocessing"]["working_size"] == size
    done = export(tmp_path, "--mode=verify", "--out=new", "--run_dir=run")
    assert done.returncode == 0 and "equals the live model" in done.stdout, done.stderr
    refused = one_line(export(tmp_path, "--run_dir=run", "--out=other", "--frame_shape=64,48"))
    assert "--frame_shape=64,48: the model was trained on frames of 48x64" in refused


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
