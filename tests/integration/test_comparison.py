"""SILOT's comparison with SQAIR, from the command line to the page that has both; a told number of objects included."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.integration import commands
from tests.integration.test_command_line import one_line

pytestmark = pytest.mark.slow


def compare(folder, *flags):
    return subprocess.run(
        [sys.executable, "-m", "reproduce.compare", *flags],
        cwd=folder, env=commands.environment(), capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    commands.run_smoke("scattered_mnist", folder, name="scattered_mnist_sqair")
    return folder


def test_smoke_experiment_is_told_the_count_beyond_its_slots(trained):
    results = json.loads((trained / "run" / "results" / "metrics.json").read_text())
    assert results["conditions"] == {"1 digit": 1, "2 digits": 2} and results["told_conditions"] == ["2 digits"]
    assert set(results["baselines"]) == {"connected_components"}
    for values in results["model"].values():
        assert {"ap", "mota", "count_error", "rollout_mota"} <= set(values) and values["clips"] == 4
    assert results["model"]["2 digits"]["count_error"] == 0
    with np.load(trained / "run" / "results" / "examples.npz", allow_pickle=False) as examples:
        shown = examples["pres"][examples["condition"] == "2 digits"]
        np.testing.assert_array_equal(shown.sum(-1), 2)
    page = (trained / "run" / "report" / "index.html").read_text()
    assert "was told how many objects there are under 2 digits" in page


def test_run_folders_alone_make_the_common_page(trained):
    record = json.loads((trained / "run" / "run.json").read_text())
    (trained / "other" / "results").mkdir(parents=True)
    (trained / "other" / "run.json").write_text(json.dumps(record | {"experiment": "another", "model": "Another"}))
    results = json.loads((trained / "run" / "results" / "metrics.json").read_text())
    results["model"] = {name: row | {"mota": 0.25} for name, row in results["model"].items()}
    (trained / "other" / "results" / "metrics.json").write_text(json.dumps(results))
    done = compare(trained, "--run_dirs=run,other", "--out=page", "--gin_param=Report.title='Both'")
    assert done.returncode == 0, done.stderr
    page = (trained / "page" / "index.html").read_text()
    assert "<h1>Both</h1>" in page and 'id="comparison"' in page and "<td>0.250</td>" in page
    assert "training runs of SQAIR and Another" in page


def test_mistakes_are_one_line(trained):
    (trained / "untested").mkdir()
    (trained / "untested" / "run.json").write_text("{}")
    for flags, complaint in (
        (("--run_dirs=run,untested", "--out=page"), "untested has no results"),
        (("--run_dirs=nowhere", "--out=page"), "nowhere holds no run"),
        (("--run_dirs=run",), "--out=FOLDER"),
        (("--run_dirs=run", "--out=page", "--gin_param=Report.titel='x'"), "titel"),
    ):
        assert complaint in one_line(compare(trained, *flags)), flags
