import pytest

from silot_tf.reporting import figures
from silot_tf.reporting.report import Report
from tests.reporting.synthetic import write_run

TITLE = "Example experiment"


@pytest.fixture(autouse=True)
def coarse_plots(monkeypatch):
    monkeypatch.setattr(figures, "DPI", 40)


@pytest.fixture(scope="session")
def three_runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return [write_run(root / f"run-{seed}", seed=seed, training_clips=seed == 0) for seed in range(3)]


@pytest.fixture(scope="session")
def page(three_runs, tmp_path_factory):
    """Path of one full report on three seeds, with every section."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "DPI", 40)
        report = Report(
            title=TITLE,
            summary="Rings drift through small frames.",
            citation="Somebody, Somewhere 2020",
            citation_url="https://example.org/paper",
            reduced_note="Smaller than published.",
            targets=("scattered_mnist", "atari"),
            goals={"mota": 0.5, "count_error": 0.0},
        )
        return report.write(three_runs, tmp_path_factory.mktemp("report"))
