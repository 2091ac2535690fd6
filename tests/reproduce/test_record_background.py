import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.integration import commands
from tests.training import fakes


def run(folder, *flags):
    command = [sys.executable, "-m", "reproduce.record_background", *flags]
    return subprocess.run(
        command, cwd=folder, env=commands.environment(), capture_output=True, text=True, check=False, timeout=300
    )


def test_image_is_the_median_of_the_training_frames(tmp_path):
    done = run(tmp_path, f"--gin_file={commands.GIN_FILE}", "--clips=5", "--seed=3", "--output=still.png")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == f"background: {tmp_path / 'still.png'} (6x5 pixels)"
    assert os.listdir(tmp_path) == ["still.png"]
    frames = np.concatenate([fakes.batch_number(n, 1, seed=3)["video"][0] for n in range(5)])
    expected = np.percentile(np.round(frames * 255), 50, axis=0, method="inverted_cdf")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "still.png")), expected)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ((), "--gin_file is missing"),
        (("--gin_file=no_such.gin",), "no_such.gin does not exist"),
        ((f"--gin_file={commands.GIN_FILE}", "--output=still.jpg"), "ends in .png or .npy"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, flags, complaint):
    done = run(tmp_path, *flags)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not os.listdir(tmp_path)
