"""Own videos: mistakes on the command line (one line, status 2, nothing written), and what is bound for a video."""

import os
import subprocess
import sys

import gin
import pytest

from reproduce import video_runs
from silot_tf import configuration
from silot_tf.data import video_choices
from silot_tf.layers import backgrounds
from tests.data import videos
from tests.integration import commands


def run(folder, *flags):
    command = [sys.executable, "-m", "reproduce.own_video", *flags]
    environment = commands.environment() | {"SILOT_TF_DATA_DIR": str(folder / "none")}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
    )


@pytest.fixture
def folder(tmp_path):
    """A working folder with a film, a text file, and a folder that holds something else."""
    videos.write_file(tmp_path / "film.mkv", videos.frames())
    (tmp_path / "words.mp4").write_text("no video " * 1000)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("important")
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--video=film.mkv",), "--out is missing"),
        (("--out=out",), "--video is missing"),
        (("--video=film.mkv", "--out=out", "--mode=fly"), "--mode=fly is unknown"),
        (("--video=none.mp4", "--out=out"), "none.mp4 does not exist"),
        (("--video=words.mp4", "--out=out"), "words.mp4 is not a video"),
        (("--video=film.mkv", "--out=other"), "--out=other exists and holds something else"),
        (("--video=film.mkv", "--out=words.mp4"), "--out=words.mp4 is a file"),
        (("--video=film.mkv", "--out=out", "--gin_file=no_such.gin"), "no_such.gin does not exist"),
    ],
)
def test_mistakes_are_told_in_one_line_before_tensorflow_starts(folder, flags, complaint):
    before = sorted(os.listdir(folder))
    done = run(folder, *flags)
    assert done.returncode == 2 and complaint in done.stderr and done.stderr.startswith("error: "), done.stderr
    assert len(done.stderr.splitlines()) == 1 and sorted(os.listdir(folder)) == before
    assert os.listdir(folder / "other") == ["thesis.tex"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--mode=track",), "nothing to track with"),
        (("--weights=other",), "not a folder that own_video has trained in"),
        (("--ground_truth=gt.txt",), "row 2: frame 99 is outside of the video, whose frames are 1 to 16"),
        (("--gin_param=data.VideoChooser.view='sideways'",), "data.VideoChooser.view"),
    ],
)
def test_mistakes_found_later_leave_nothing_either(folder, flags, complaint):
    (folder / "gt.txt").write_text("1,1,5,5,5,5\n99,1,5,5,5,5\n")
    before = sorted(os.listdir(folder))
    done = run(folder, "--video=film.mkv", "--out=out", *flags)
    assert done.returncode == 2 and complaint in done.stderr, done.stderr[-2000:]
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize(
    ("background", "view", "kind"),
    [
        ("median", "foreground", type(None)),
        ("mog2", "difference", backgrounds.FixedColour),
        ("median", "frames", backgrounds.RecordedImage),
        ("none", "frames", type(None)),
    ],
)
def test_the_model_has_the_background_of_what_it_sees(tmp_path, background, view, kind, request):
    found = video_choices.Survey(2, (48, 64), [videos.still()] * 2, 1.0)
    chooser = video_choices.VideoChooser(background=background, view=view, object_size=(12, 8), objects_per_frame=3)
    choices = chooser.choose(found)
    video_runs.write_background(tmp_path, video_choices.resize(videos.still(), choices.working_size))
    lines = video_runs.bindings(choices, tmp_path, ("One.",))
    configuration.load(["gin_configs/own_video/quick.gin"], lines)
    request.addfinalizer(gin.clear_config)
    model = gin.get_configurable("silot.SILOT")()
    assert isinstance(model.background, kind) and model.num_slots == 12
