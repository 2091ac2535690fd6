"""Recorded, trained on crops, tested on whole frames with more slots, from the command line to the report."""

import json

import numpy as np
import pytest

from tests.integration import commands

pytestmark = [pytest.mark.slow, pytest.mark.atari]


def test_smoke_experiment_records_trains_on_crops_and_tests_on_whole_frames(tmp_path):
    run_dir = commands.run_smoke("atari", tmp_path)
    results = json.loads((run_dir / "results" / "metrics.json").read_text())
    assert results["conditions"] == {"Space Invaders": 3} and not results["baselines"]
    values = results["model"]["Space Invaders"]
    assert {"ap", "mota", "mota_above_50", "count_error", "rollout_mota", "rollout_mota_above_50"} <= set(values)
    assert values["clips"] == 2 and values["ground_truth"] > 100
    (training,) = {path for path in (run_dir / "examples").glob("*.npz") if "6" in path.stem}
    for path, slots, size in ((training, 3, (24, 24)), (run_dir / "results" / "examples.npz", 5, (195, 160))):
        with np.load(path, allow_pickle=False) as examples:
            assert examples["video"].shape[2:4] == size and examples["pres"].shape[2] == slots
    report = (run_dir / "report" / "index.html").read_text()
    assert "presence &gt; .5" in report and "table 1" in report and ".89" in report
