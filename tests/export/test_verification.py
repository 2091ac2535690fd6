import ast
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from silot_tf.errors import UserError
from silot_tf.export import check, preprocessing, verification
from tests.export import fakes


def test_clips_come_from_a_video_where_frames_have_the_right_size():
    video = np.random.default_rng(0).uniform(size=(2, 4, *fakes.FRAME_SHAPE)).astype(np.float32)
    clips = verification.clips_for(video, fakes.FRAME_SHAPE)
    assert clips.shape == (3, verification.FRAMES, *fakes.FRAME_SHAPE) and clips.dtype == np.uint8
    np.testing.assert_array_equal(clips[0, :4], np.round(video[0] * 255))
    np.testing.assert_array_equal(clips[0, 4:8], np.round(video[0, ::-1] * 255))
    other = verification.clips_for(video, (24, 24, 3))
    assert other.shape == (3, verification.FRAMES, 24, 24, 3) and other.max() > 0
    small = preprocessing.Preprocessing(fakes.FRAME_SHAPE, None, None, {})
    enlarged = verification.clips_for(video, (40, 75, 3), small)
    np.testing.assert_array_equal(enlarged[:, :, ::2, [0, 3, 5, 8]], clips[:, :, :, [0, 1, 2, 3]])


def test_reference_starts_over_in_the_middle(model):
    arrays = verification.reference(model, verification.clips_for(None, fakes.FRAME_SHAPE), deterministic=False)
    for batch in (1, 3):
        resets = arrays[f"batch{batch}/reset"]
        assert resets.shape == (batch, verification.FRAMES) and (resets.sum(axis=1) == 1).all()
        assert not resets[:, 0].any()
        ids = arrays[f"batch{batch}/ids"]
        assert (ids[resets] <= 0).all() and ids.max() > 0  # counted from 0 again
        assert arrays[f"batch{batch}/predicted_boxes"].shape == (batch, verification.PREDICTED_FRAMES, fakes.SLOTS, 4)
    assert arrays["batch1/reconstruction"].shape == (1, verification.FRAMES, *fakes.FRAME_SHAPE)


def test_differences_are_told():
    shape = np.array(fakes.FRAME_SHAPE)
    boxes = np.full((1, 2, 3, 4), 10, np.float32)
    assert check.difference_of(np, boxes, boxes, shape, "boxes") == 0
    assert check.difference_of(np, boxes + np.float32(0.2), boxes, shape, "boxes") == pytest.approx(0.01, rel=1e-4)
    ids = np.array([[1, 2]], np.int32)
    assert check.difference_of(np, ids, ids + 1, shape, "ids") == 1
    assert check.difference_of(np, boxes, boxes[:, :1], shape, "boxes") == np.inf
    assert check.difference_of(np, boxes * np.nan, boxes, shape, "depth") == np.inf
    assert check.difference_of(np, ids, ids.astype(np.int64), shape, "ids") == np.inf


def test_no_place_is_named_where_all_is_equal():
    report = {"largest_difference": 0.0, "where": "batch 1, uint8, is_new", "compared": 52, "tolerance": 1e-5}
    assert verification.in_words(report) == "all 52 tensors are equal"
    told = verification.in_words(report | {"largest_difference": 2e-6})
    assert told == "largest difference 2.0e-06 of 52 tensors, in batch 1, uint8, is_new; tolerance 1e-05"


def test_the_check_stands_alone():
    """Only the standard library at the top; TensorFlow and NumPy inside; nothing of ours."""
    tree = ast.parse(pathlib.Path(check.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert names == {"json", "os", "pathlib", "sys", "numpy", "tensorflow"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


@pytest.mark.slow
def test_a_fresh_process_that_cannot_import_us_finds_the_export_equal(folder):
    report = verification.compare(folder)
    assert report["equal"] and report["largest_difference"] <= 1e-5 and report["imported"] == []
    assert report["compared"] > 40


@pytest.mark.slow
def test_another_model_is_found_out_with_exit_code_1(folder, model, tmp_path):
    other = fakes.build()
    other.gain.assign([0.7, 1.31])
    clips = verification.clips_for(None, fakes.FRAME_SHAPE)
    verification.write_reference(tmp_path, verification.reference(other, clips, deterministic=False))
    command = [sys.executable, "-I", str(folder / "check.py"), str(folder), str(tmp_path / "reference.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    report = json.loads(done.stdout.strip().splitlines()[-1])
    assert not report["equal"] and report["largest_difference"] > 1e-5


@pytest.mark.slow
def test_an_export_that_cannot_be_loaded_is_one_line(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "saved_model.pb").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be checked") as error:
        verification.compare(copy)
    assert "\n" not in str(error.value)
