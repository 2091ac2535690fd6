"""Examples for agents, on a few hundred frames of a real game with a model that is no model."""

import importlib.util
import re
import subprocess
import sys

import cv2
import pytest

from tests.export import fakes
from tests.integration import commands

pytest.importorskip("ale_py")

pytestmark = [pytest.mark.slow, pytest.mark.atari]

FRAME_SHAPE = (210, 160, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return fakes.export(tmp_path_factory.mktemp("exports") / "atari", fakes.build(FRAME_SHAPE), FRAME_SHAPE)


def run(script, cwd, *flags):
    return subprocess.run(
        [sys.executable, "-m", f"reproduce.{script}", *flags],
        cwd=cwd, env=commands.environment(), capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


def test_a_game_is_stepped_counted_and_filmed(folder, tmp_path):
    done = run(
        "step_atari", tmp_path, f"--export={folder}", "--game=space_invaders", "--frames=300", "--video=boxes.mp4"
    )
    assert done.returncode == 0, done.stderr
    assert "300 frames" in done.stdout and re.search(r"objects per frame: \d+\.\d on average", done.stdout)
    assert re.search(r"frames per second, game and model: \d+\.\d", done.stdout)
    video = cv2.VideoCapture(str(tmp_path / "boxes.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 300 and video.get(cv2.CAP_PROP_FRAME_HEIGHT) == 420
    assert [path.name for path in tmp_path.iterdir()] == ["boxes.mp4"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--export is missing"),
        (["--export=nowhere"], "nowhere holds no card.json"),
        (["--export={folder}", "--game=SpaceInvader2"], "is unknown to ale-py"),
        (["--export={folder}", "--crop=0,0,100,100"], "frames of 100x100 pixels come in, the export takes 210x160"),
        (["--export={folder}", "--crop=0,0,100"], "--crop=0,0,100: expected TOP,LEFT,HEIGHT,WIDTH"),
    ],
)
def test_what_is_wrong_is_one_line(folder, tmp_path, flags, message):
    done = run("step_atari", tmp_path, *(flag.format(folder=folder) for flag in flags), "--frames=2")
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert message in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("skrl") is None, reason="needs the extra 'agents'")
def test_an_agent_learns_from_the_table(folder, tmp_path):
    done = run("train_agent", tmp_path, f"--export={folder}", "--frames=128", "--rollout=16")
    assert done.returncode == 0, done.stderr
    moved = re.search(r"4 updates; weights of the policy moved by up to (\d\.\d+)", done.stdout)
    assert moved and float(moved[1]) > 0
    assert not list(tmp_path.iterdir())


def test_an_agent_without_its_library_is_told_what_to_install(folder, tmp_path):
    if importlib.util.find_spec("skrl") is not None:
        pytest.skip("the extra 'agents' is installed")
    done = run("train_agent", tmp_path, f"--export={folder}")
    assert done.returncode == 2 and "pip install 'silot_tf[agents]'" in done.stderr
