import json
import math
import os

import numpy as np
import pytest

from silot_tf.errors import UserError
from silot_tf.evaluation import results

DOCUMENT = {
    "model": {"1 digit": {"ap": 0.5, "mota": math.nan}},
    "baselines": {"connected components": {"1 digit": {"ap": np.float64(0.25)}}},
    "conditions": {"1 digit": 1},
    "condition_label": "digits per frame",
    "protocol": {"ap": "how"},
}


def test_metrics_come_back_as_written(tmp_path):
    path = results.write_metrics(tmp_path, **DOCUMENT)
    assert path == tmp_path / "results" / "metrics.json"
    back = results.read_metrics(tmp_path)
    assert math.isnan(back["model"]["1 digit"].pop("mota"))
    expected = {**DOCUMENT, "model": {"1 digit": {"ap": 0.5}}}
    assert back == expected
    assert "NaN" not in path.read_text()


def test_examples_come_back_as_written_and_need_no_pickle(tmp_path):
    arrays = {
        "video": np.random.default_rng(0).random((1, 2, 3, 3, 3)).astype(np.float32),
        "rollout_from": np.array(3),
    }
    results.write_examples(tmp_path, arrays)
    back = results.read_examples(tmp_path)
    assert set(back) == set(arrays)
    for name, value in arrays.items():
        np.testing.assert_array_equal(back[name], value)
        assert back[name].dtype == value.dtype


def test_clips_of_conditions_with_fewer_objects_are_filled_up_with_empty_ones():
    parts = [
        {
            "pres": np.ones((2, 3, k)),
            "sprites": np.full((2, 3, k, 2, 5, 4), 7, np.uint8),
            "baseline_c_track_id": np.zeros((2, 3, k), np.int32),
            "condition": np.array([f"{k} digits"] * 2),
            "rollout_from": np.array(3),
        }
        for k in (1, 3)
    ]
    joined = results.join_examples(parts)
    assert joined["pres"].shape == (4, 3, 3) and joined["rollout_from"] == 3
    np.testing.assert_array_equal(joined["pres"][0, 0], [1, 0, 0])
    assert joined["sprites"].shape == (4, 3, 3, 2, 5, 4) and joined["sprites"].dtype == np.uint8
    np.testing.assert_array_equal(joined["sprites"][0, 0, :, 1, 4, 3], [7, 0, 0])
    np.testing.assert_array_equal(joined["baseline_c_track_id"][0, 0], [0, -1, -1])
    np.testing.assert_array_equal(joined["baseline_c_track_id"][3, 2], [0, 0, 0])
    assert joined["condition"].tolist() == ["1 digits"] * 2 + ["3 digits"] * 2


def test_missing_results_name_the_command(tmp_path):
    for read in (results.read_metrics, results.read_examples):
        with pytest.raises(UserError, match="--mode=evaluate"):
            read(tmp_path)


@pytest.mark.parametrize("text", ['{"model": {"a"', "[]", '{"model": {}}', "\xff\xfe"])
def test_damaged_metrics_are_refused_in_one_line(tmp_path, text):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "metrics.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"metrics\.json"):
        results.read_metrics(tmp_path)


def test_truncated_examples_are_refused(tmp_path):
    path = results.write_examples(tmp_path, {"video": np.zeros((4, 4))})
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match="damaged"):
        results.read_examples(tmp_path)


def test_failed_write_keeps_the_earlier_file_and_leaves_nothing_behind(tmp_path, monkeypatch):
    results.write_metrics(tmp_path, **DOCUMENT)
    before = (tmp_path / "results" / "metrics.json").read_text()
    with pytest.raises(TypeError):
        results.write_metrics(tmp_path, **{**DOCUMENT, "protocol": {"ap": object()}})

    results.write_examples(tmp_path, {"video": np.zeros(3)})
    with monkeypatch.context() as patch, pytest.raises(UserError, match="No space left"):
        patch.setattr(os, "fsync", _out_of_space)
        results.write_examples(tmp_path, {"video": np.ones(3)})
    assert (tmp_path / "results" / "metrics.json").read_text() == before
    np.testing.assert_array_equal(results.read_examples(tmp_path)["video"], np.zeros(3))
    assert sorted(os.listdir(tmp_path / "results")) == ["examples.npz", "metrics.json"]


def _out_of_space(handle):
    raise OSError(28, "No space left on device")


def test_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "results").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot write"):
        results.write_metrics(tmp_path, **DOCUMENT)


def test_file_is_plain_json(tmp_path):
    path = results.write_metrics(tmp_path, **DOCUMENT)
    assert json.loads(path.read_text())["model"]["1 digit"]["mota"] is None


FURTHER = {
    "title": "Longer clips",
    "description": "",
    "weights": {"global_step": 7},
    "frames": 3,
    "lengths": (2, 3),
    "trained_frames": None,
    "window": 2,
    "conditions": {"1 digit": 1},
    "condition_label": "digits per frame",
    "protocol": {"mota": "how"},
    "model": {"1 digit": {"lengths": {"2": {"ap": math.nan}}, "over_time": {"mota": np.array([math.nan, 1, 0.5])}}},
    "baselines": {},
}


def test_further_tests_come_back_by_name_with_gaps_as_none(tmp_path):
    assert results.read_further(tmp_path) == {}
    for name in ("longer", "larger"):
        results.write_further(tmp_path, name, FURTHER, {"video": np.zeros(2)})
    found = results.read_further(tmp_path)
    assert list(found) == ["larger", "longer"]
    assert found["longer"]["model"] == {
        "1 digit": {"lengths": {"2": {"ap": None}}, "over_time": {"mota": [None, 1, 0.5]}}
    }
    assert found["longer"]["lengths"] == [2, 3] and found["longer"]["weights"] == {"global_step": 7}
    assert sorted(path.name for path in (tmp_path / "results" / "further").iterdir()) == [
        "larger.json", "larger.npz", "longer.json", "longer.npz",
    ]  # fmt: skip


def test_examples_of_an_earlier_further_test_do_not_stay_beside_new_numbers(tmp_path):
    path = results.write_further(tmp_path, "longer", FURTHER, {"video": np.zeros(2)})
    assert path == results.further_path(tmp_path, "longer") and path.with_suffix(".npz").is_file()
    results.write_further(tmp_path, "longer", FURTHER, {})
    assert not path.with_suffix(".npz").exists()


@pytest.mark.parametrize("text", ['{"title": ', "[]", '{"title": "Longer"}'])
def test_damaged_further_tests_are_refused_in_one_line(tmp_path, text):
    path = results.write_further(tmp_path, "longer", FURTHER, {})
    path.write_text(text)
    with pytest.raises(UserError, match=r"longer\.json"):
        results.read_further(tmp_path)
