"""From a video to tracks and a page, by the command line and the smoke configuration."""

import json
import os
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

from silot_tf.data import video_files
from silot_tf.evaluation import video_tracks
from tests.data import videos
from tests.integration import commands

pytestmark = pytest.mark.slow
WRITTEN = {
    "tracks.csv",
    "tracks_mot.txt",
    "annotated.mp4",
    "own_video.json",
    "background.png",
    "config.gin",
    "run.json",
}


def run(folder, *flags, code=0):
    command = [sys.executable, "-m", "reproduce.own_video", *flags]
    done = subprocess.run(
        command, cwd=folder, env=commands.environment(), capture_output=True, text=True, check=False, timeout=1800
    )
    assert done.returncode == code, done.stderr[-3000:]
    return done


def quickly(folder, *flags, **more):
    """With a model of one colour, whose tracks are empty: what is tested is everything around the model."""
    return run(folder, f"--gin_file={pathlib.Path(__file__).with_name('own_video.gin')}", *flags, **more)


def tracked(folder):
    return video_tracks.read_tracks(folder / "tracks.csv")


def test_a_film_becomes_tracks_and_a_page_and_other_films_follow(tmp_path):
    film = videos.write_file(tmp_path / "film.mp4", videos.frames(), codec="mp4v")
    (tmp_path / "gt.txt").write_text(videos.ground_truth())
    out = tmp_path / "out"
    done = quickly(tmp_path, f"--video={film}", "--out=out", "--ground_truth=gt.txt")
    assert "objects: usually" in done.stdout and "MOTA" not in done.stderr
    assert set(os.listdir(out)) >= WRITTEN and not (out / "frames.npy").exists()
    assert not [name for name in os.listdir(out) if name.endswith(".unfinished")]
    results = json.loads((out / "results" / "metrics.json").read_text())
    assert set(results["baselines"]) == {"connected_components", "connected_components_tuned"}
    assert {"mota", "idf1", "misses", "false_positives", "switches"} <= set(results["model"]["film.mp4, 16 frames"])
    with np.load(out / "results" / "examples.npz") as examples:  # for the page to explore
        shape = (*examples["video"].shape[:2], 2, 4)
        assert examples["truth_boxes"].shape == examples["baseline_connected_components_boxes"].shape == shape
    assert "Connected components" in (out / "report" / "explore.html").read_text()
    page = (out / "report" / "index.html").read_text()
    assert "film.mp4" in page and "Connected components" in page and "fresh clips" not in page
    assert len(commands.rows(out / "metrics.csv")) == 8

    # The same line again has nothing to train, and tracks as before.
    before = tracked(out)
    again = quickly(tmp_path, f"--video={film}", "--out=out", "--ground_truth=gt.txt")
    assert "objects: usually" not in again.stdout and len(commands.rows(out / "metrics.csv")) == 8
    np.testing.assert_array_equal(tracked(out).boxes, before.boxes)

    # Other frames of the same camera: nothing is measured or trained, choices and background are those of the training.
    longer = videos.write_folder(tmp_path / "longer", videos.frames(20))
    run(tmp_path, f"--video={longer}", "--out=other", "--mode=track", "--weights=out")
    other = tmp_path / "other"
    assert (other / "background.npy").read_bytes() == (out / "background.npy").read_bytes()
    record, first = (json.loads((folder / "own_video.json").read_text()) for folder in (other, out))
    assert record["choices"] == first["choices"] and record["frames"] == 20 and not (other / "checkpoints").exists()
    assert tracked(other).frame.max(initial=0) <= 20

    # Another film does not get into this folder.
    refused = quickly(tmp_path, f"--video={longer}", "--out=out", code=2)
    assert "holds the run of another video" in refused.stderr.splitlines()[-1]

    # Neither does another seed, which is told before anything is written.
    seeded = quickly(tmp_path, f"--video={film}", "--out=out", "--seed=3", code=2)
    assert "holds a run with seed 0, not 3" in seeded.stderr.splitlines()[-1] and not (out / "frames.npy").exists()

    # Bad ground truth and weights are told at once, in place of a long survey.
    (tmp_path / "bad.txt").write_text("1,1,5,5,9,9,1\n2,one,5,5,9,9,1\n")
    bad = quickly(tmp_path, f"--video={film}", "--out=fourth", "--ground_truth=bad.txt", code=2)
    assert "bad.txt, row 2" in bad.stderr and "objects: usually" not in bad.stdout
    bad = quickly(tmp_path, f"--video={film}", "--out=fourth", "--weights=longer", code=2)
    assert "is not a folder that own_video has trained in" in bad.stderr and "objects: usually" not in bad.stdout
    assert not (tmp_path / "fourth").exists()

    # Training goes on from these weights in a new folder.
    quickly(tmp_path, f"--video={longer}", "--out=third", "--weights=out", "--mode=train")
    assert "initial_weights" in (tmp_path / "third" / "config.gin").read_text()


def test_first_frames_of_real_cctv(tmp_path):
    folder = videos.pedestrians()
    frames = []
    for frame in video_files.open_video(folder / "video.mp4").frames():
        frames.append(frame)
        if len(frames) == 60:
            break
    videos.write_folder(tmp_path / "frames", frames)
    rows = (folder / "gt.txt").read_text().splitlines()
    (tmp_path / "gt.txt").write_text("\n".join(row for row in rows if int(row.split(",")[0]) <= 60) + "\n")
    done = run(
        tmp_path, "--gin_file=gin_configs/smoke/own_video.gin", "--video=frames", "--out=out", "--ground_truth=gt.txt"
    )
    assert "60 frames" in done.stdout
    results = json.loads((tmp_path / "out" / "results" / "metrics.json").read_text())
    # Of so few frames some persons leave a trace in the background; components still find more than they make up.
    fixed, tuned = (next(iter(results["baselines"][name].values())) for name in sorted(results["baselines"]))
    assert 0 < fixed["mota"] <= tuned["mota"] and fixed["ground_truth"] > 150
    assert len(tracked(tmp_path / "out").frame) > 0  # everything that the untrained network proposes
    capture = cv2.VideoCapture(str(tmp_path / "out" / "annotated.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 60
