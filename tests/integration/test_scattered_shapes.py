"""Trained on crops, tested on whole frames with more slots, from the command line to the report."""

import json

import numpy as np
import pytest

from tests.integration import commands

pytestmark = pytest.mark.slow


def test_smoke_experiment_trains_on_crops_and_tests_on_whole_frames_with_more_slots(tmp_path):
    run_dir = commands.run_smoke("scattered_shapes", tmp_path)
    assert (run_dir / "report" / "index.html").is_file()
    results = json.loads((run_dir / "results" / "metrics.json").read_text())
    assert results["conditions"] == {"1 shape": 1, "3 shapes": 3} and results["condition_label"] == "shapes per frame"
    assert set(results["baselines"]) == {"connected_components"}
    for values in results["model"].values():
        assert {"ap", "mota", "count_error", "rollout_mota"} <= set(values) and values["clips"] == 4
    (training,) = {path for path in (run_dir / "examples").glob("*.npz") if "6" in path.stem}
    for path, slots, size in ((training, 3, 24), (run_dir / "results" / "examples.npz", 5, 36)):
        with np.load(path, allow_pickle=False) as examples:
            assert examples["video"].shape[2:] == (size, size, 3)
            assert examples["pres"].shape[2] == slots
