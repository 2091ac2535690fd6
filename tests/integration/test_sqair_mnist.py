"""From data to report with every model of the SQAIR paper: likelihood, counting, addition, clips from the prior."""

import json

import cv2
import numpy as np
import pytest

from tests.integration import commands

pytestmark = pytest.mark.slow
MEASURED = {"bound", "weighted_log_likelihood", "weighted_kl", "elbo", "sample_kl", "effective_sample_size", "mota"}


def check(run_dir, *, frames, counted=True, labelled=True):
    """Results of a smoke run: the numbers are there and fit together, and the report shows them."""
    results = json.loads((run_dir / "results" / "metrics.json").read_text())
    for values in results["model"].values():
        assert set(values) >= MEASURED, set(values)
        assert ("weighted_count_accuracy" in values) == counted and ("addition_accuracy" in values) == labelled
        assert np.isfinite([values[name] for name in MEASURED - {"mota"}]).all()
        assert values["elbo"] <= values["bound"] + 1e-3
        difference = values["sample_log_likelihood"] - values["sample_kl"]
        assert values["elbo"] == pytest.approx(difference, abs=0.05 + 1e-4 * abs(difference))
    assert set(results["protocol"]) >= set(values) - {"sample_count_error", "sample_objects"}
    rows = commands.rows(run_dir / "evaluations.csv")
    assert all("bound" in row and "score" in row for row in rows) and len(rows) >= 2
    assert all(("weighted_count_accuracy" in row) == counted for row in rows)
    with np.load(run_dir / "results" / "prior.npz", allow_pickle=False) as made:
        assert made["video"].shape[:2] == (2, frames)
    page = (run_dir / "report" / "index.html").read_text()
    assert 'id="prior"' in page and "Validation: log p(x), bound" in page
    return results, page


def check_digits(run_dir, **settings):
    results, page = check(run_dir, frames=3, **settings)
    assert results["conditions"] == {"0 digits": 0, "1 digit": 1}
    assert "Reduced: ours are measured with 8 particles" in page and "6784.8" in page
    assert {path.name for path in (run_dir / "results" / "features").glob("*.npy")} == {
        f"{split}_{what}.npy" for split in ("training", "validation") for what in ("features", "targets")
    }


def test_sqair_on_moving_digits(tmp_path):
    check_digits(commands.run_smoke("sqair_mnist", tmp_path))


def test_air_on_moving_digits(tmp_path):
    check_digits(commands.run_smoke("sqair_mnist", tmp_path, name="sqair_mnist_air"))


def test_vrnn_on_moving_digits(tmp_path):
    check_digits(commands.run_smoke("sqair_mnist", tmp_path, name="sqair_mnist_vrnn"), counted=False)


def test_sqair_on_pedestrians(tmp_path):
    """People are bright blobs that walk to the right, once in a while, before a noisy grey wall."""
    random, folder = np.random.default_rng(0), tmp_path / "street"
    folder.mkdir()
    for t in range(160):
        frame = np.full((64, 96), 90, np.uint8) + random.integers(0, 6, (64, 96)).astype(np.uint8)
        for start in range(0, 160, 20):
            x = 3 * (t - start)
            if 0 <= x < 90:
                frame[22:42, x : x + 6] = 230
        cv2.imwrite(str(folder / f"{t:04d}.png"), frame)
    bindings = (f"data.Pedestrians.video = '{folder}'", "data.Pedestrians.ground_truth = None")
    flags = [f"--gin_param={binding}" for binding in bindings]
    run_dir = commands.run_smoke("sqair_mnist", tmp_path, *flags, name="sqair_pedestrians")
    results, page = check(run_dir, frames=3, labelled=False)
    assert results["conditions"] == {"1 pedestrian": 1} and "DukeMTMC" in page
