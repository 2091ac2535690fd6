import html.parser
import json
import pathlib
import re

import gin
import numpy as np
import pytest

import silot_tf
from silot_tf.errors import UserError
from silot_tf.reporting.published import read_targets
from silot_tf.reporting.report import Report
from silot_tf.reporting.runs import read_run
from silot_tf.reporting.summary import notices
from tests.reporting.conftest import TITLE
from tests.reporting.synthetic import CONDITIONS, write_run

ROOM = pathlib.Path(silot_tf.__file__).parent / "reporting"
BASE_CONFIG = pathlib.Path(silot_tf.__file__).parents[1] / "gin_configs" / "base" / "report.gin"


class Page(html.parser.HTMLParser):
    """Elements, text and open tags of a page."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.elements, self.words, self.open = [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img", "source", "br", "input", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["script"]):
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))

    def count(self, tag, css_class):
        return sum(t == tag and css_class in (a.get("class") or "").split() for t, a in self.elements)


def test_page_needs_no_other_file_and_no_network(page):
    parsed = Page(page)
    assert parsed.open == []
    for tag, attributes in parsed.elements:
        assert tag not in ("script", "iframe", "object", "embed", "base", "form")
        for name in ("src", "srcset", "poster", "data", "action", "background"):
            assert attributes.get(name, "data:").startswith("data:")
        address = attributes.get("href", "#")
        links = ("https://example.org/paper", "explore.html")
        assert address.startswith(("#", "data:")) or (tag == "a" and address in links)
    source = page.read_text()
    assert "url(" not in source
    assert "@import" not in source
    policy = next(a["content"] for t, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


def test_every_claim_has_a_row(page):
    parsed = Page(page)
    targets = read_targets(("scattered_mnist", "atari"))
    assert parsed.count("tr", "claim") == len(targets) > 10
    for target in targets:
        assert target.claim in parsed.text
        assert target.source in parsed.text
    recorded = json.loads((page.parent / "metrics.json").read_text())["claims"]
    assert {c["claim"] for c in recorded} == {t.claim for t in targets}


def test_spread_over_seeds_is_numpy_mean_and_std(page, three_runs):
    tables = [json.loads((run / "results" / "metrics.json").read_text())["model"] for run in three_runs]
    recorded = json.loads((page.parent / "metrics.json").read_text())
    model = next(curve for curve in recorded["curves"] if not curve["baseline"])
    for condition in CONDITIONS:
        for metric in ("ap", "mota", "count_error", "rollout_mota"):
            values = [table[condition][metric] for table in tables]
            entry = model["conditions"][condition][metric]
            np.testing.assert_allclose(entry["mean"], np.mean(values), rtol=1e-12)
            np.testing.assert_allclose(entry["std"], np.std(values), rtol=1e-9)
            assert entry["runs"] == 3
    means = [np.mean([table[c]["mota"] for c in CONDITIONS]) for table in tables]
    np.testing.assert_allclose(model["overall"]["mota"]["mean"], np.mean(means), rtol=1e-12)
    np.testing.assert_allclose(model["overall"]["mota"]["std"], np.std(means), rtol=1e-9)
    shown = f"{np.mean(means):.3f} ± {np.std(means):.3f}"
    assert shown in Page(page).text


def test_page_says_what_was_run(page, three_runs):
    text = Page(page).text
    stamp = json.loads((three_runs[0] / "run.json").read_text())
    for words in (
        TITLE,
        "3 training runs of Example Tracker (seeds 0, 1 and 2)",
        "5 900 updates each",
        "Smaller than published.",
        stamp["command"],
        "gin_configs/quick/example.gin",
        "tensorflow 2.21.0",
        "Example CPU, 2 cores",
        stamp["commit"],
        "Trainer.learning_rate = 0.0001",
        "digits per frame",
        "CLEAR-MOT, IoU at least .5",
    ):
        assert words in text


def test_plots_and_clips_are_files_beside_the_page_and_inside_it(page):
    files = {path.name for path in page.parent.iterdir()}
    expected = {
        "mota.png",
        "ap.png",
        "count_error.png",
        "rollout_mota.png",
        "rollout_ap.png",
        "ap_by_overlap.png",
    }
    expected |= {"training_total_loss.png", "training_gradient_norm.png", "training_reconstruction.png"}
    expected |= {
        "validation_mota.png",
        "clip_0_posterior.gif",
        "clip_0_rollout.gif",
        "clip_0_posterior_strip.png",
    }
    expected |= {"progress_0_0_posterior.gif", "progress_0_2_posterior.gif"}
    assert expected <= files
    assert not [name for name in files if name.startswith(".")]
    images = [a for t, a in Page(page).elements if t == "img"]
    assert len(images) > 20
    assert all(image["alt"] and int(image["width"]) and int(image["height"]) for image in images)
    assert sum(image["src"].startswith("data:image/gif") for image in images) == 3 * 2 + 3


def test_goals_say_whether_they_were_reached(page):
    source = page.read_text()
    assert "✓ goal ≥ 0.50" in source
    assert "✕ goal ≤ 0.00" in source


def test_text_from_a_run_folder_is_escaped(tmp_path):
    evil = "<script>alert(1)</script>"
    run = write_run(tmp_path / "run", rows=0, info={"command": evil, "model": evil, "commit": f'"{evil}'})
    (run / "config.gin").write_text(f"A.b = '{evil}'\n")
    results = json.loads((run / "results" / "metrics.json").read_text())
    results["condition_label"] = evil
    results["protocol"]["ap"] = evil
    (run / "results" / "metrics.json").write_text(json.dumps(results))
    path = Report(summary=evil, reduced_note=evil, max_clips=1).write(run)
    assert "<script" not in path.read_text()
    assert evil in Page(path).text


def test_a_run_without_evaluation_is_reported_and_said(tmp_path):
    run = write_run(tmp_path / "run", evaluated=False, rows=4)
    path = Report(targets="scattered_mnist").write(run)
    parsed = Page(path)
    assert path == run / "report" / "index.html"
    assert "not evaluated yet" in parsed.text
    assert "no example clips" in parsed.text
    assert parsed.count("tr", "claim") == len(read_targets(["scattered_mnist"]))
    assert "not measured" in parsed.text
    assert json.loads((path.parent / "metrics.json").read_text())["curves"] == []


def test_a_run_with_nothing_but_its_stamp_is_reported(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text('{"seed": 3}')
    text = Page(Report().write(folder)).text
    for words in ("config.gin is missing", "metrics.csv has no rows", "not evaluated yet", "seed 3"):
        assert words in text


def test_a_missing_rollout_and_missing_baseline_are_said(tmp_path):
    run = write_run(tmp_path / "run", rows=0)
    results = json.loads((run / "results" / "metrics.json").read_text())
    results["baselines"] = {}
    for row in results["model"].values():
        for metric in [m for m in row if m.startswith("rollout_")]:
            del row[metric]
    (run / "results" / "metrics.json").write_text(json.dumps(results))
    path = Report(max_clips=1).write(run)
    assert "no prior roll-out was evaluated" in Page(path).text
    assert "no baseline was evaluated" in Page(path).text
    assert not (path.parent / "rollout_mota.png").exists()


def test_changed_settings_are_said_with_what_they_were_changed_for(tmp_path):
    sessions = [
        {"mode": "all"},
        {"mode": "train", "configuration_changes": ["A.b: 1 -> 2"]},
        {"mode": "evaluate", "configuration_changes": [f"C.d{n}: 1 -> 2" for n in range(6)]},
    ]
    run = read_run(write_run(tmp_path / "run", rows=4, info={"sessions": sessions}))
    notes = notices([run], clips_found=True)
    assert "run (seed 0): resumed with other settings: A.b: 1 -> 2." in notes
    (evaluated,) = (note for note in notes if "evaluated with other settings" in note)
    assert "C.d3" in evaluated and "C.d4" not in evaluated and evaluated.endswith("; and 2 more.")


def test_null_metrics_are_shown_as_dashes(tmp_path):
    run = write_run(tmp_path / "run", rows=0)
    results = json.loads((run / "results" / "metrics.json").read_text())
    for row in results["model"].values():
        row["mota"] = None
    (run / "results" / "metrics.json").write_text(json.dumps(results))
    path = Report(max_clips=0).write(run)
    record = json.loads((path.parent / "metrics.json").read_text())
    assert record["curves"][0]["overall"]["mota"]["mean"] is None
    assert not (path.parent / "mota.png").exists()


def test_two_training_conditions_become_two_curves(tmp_path):
    runs = [
        write_run(tmp_path / f"{name}-{seed}", experiment=name, seed=seed, rows=0)
        for name in ("digits_1_6", "digits_1_12")
        for seed in range(2)
    ]
    path = Report(max_clips=1, labels={"digits_1_6": "few digits"}).write(runs, tmp_path / "out")
    record = json.loads((path.parent / "metrics.json").read_text())
    assert [c["label"] for c in record["curves"]] == ["few digits", "digits_1_12", "connected components"]
    assert [c["runs"] for c in record["curves"]] == [2, 2, 4]
    assert "different configurations" not in Page(path).text


def test_runs_with_other_settings_are_not_silently_taken_for_seeds(tmp_path):
    runs = [write_run(tmp_path / f"run-{seed}", seed=seed, rows=0) for seed in range(2)]
    config = (runs[1] / "config.gin").read_text().replace("batch_size = 16", "batch_size = 8")
    (runs[1] / "config.gin").write_text(config)
    text = Page(Report(max_clips=0).write(runs)).text
    assert "different configurations" in text
    assert "run-1: Trainer.batch_size = 8" in text
    assert "Trainer.seed" not in text.split("Published")[0].split("different configurations")[1].split(".ga")[0][:120]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("results/metrics.json", '{"model": {"1 dig'),
        ("run.json", "{"),
        ("results/examples.npz", "PK\x03\x04 cut"),
    ],
)
def test_damaged_files_are_named_and_the_earlier_page_stays(tmp_path, file, content):
    run = write_run(tmp_path / "run", rows=0)
    (run / "report").mkdir()
    (run / "report" / "index.html").write_text("earlier")
    (run / file).write_text(content)
    with pytest.raises(UserError, match=pathlib.Path(file).name):
        Report(max_clips=1).write(run)
    assert (run / "report" / "index.html").read_text() == "earlier"


def test_bad_arguments_are_errors_in_one_line(tmp_path):
    run = write_run(tmp_path / "run", rows=0, evaluated=False)
    for make in (
        lambda: Report().write([]),
        lambda: Report().write(tmp_path / "nowhere"),
        lambda: Report(targets="nothing_of_this_name").write(run),
        lambda: Report(targets="atari", experiments=("E99",)).write(run),
        lambda: Report(clip_size=1),
        lambda: Report(citation_url="javascript:alert(1)"),
    ):
        with pytest.raises(UserError) as error:
            make()
        # gin adds lines of its own where the error leaves a configurable
        assert str(error.value).split("\n")[0].endswith(("bind others", "address", "--run_dir", "CSV", "['E3']"))


def test_base_config_binds_the_report(three_runs, tmp_path):
    with gin.unlock_config():
        gin.clear_config()
        try:
            gin.parse_config_file(str(BASE_CONFIG))
            gin.parse_config("reporting.Report.title = 'From gin'\nreporting.Report.max_clips = 0")
            report = gin.get_configurable("reporting.Report")()
            path = report.write(three_runs[:1], tmp_path)
        finally:
            gin.clear_config()
    assert "From gin" in Page(path).text


def test_room_names_no_model():
    models = ROOM.parent / "models"
    names = {folder.name for folder in models.iterdir() if folder.is_dir() and folder.name != "baselines"}
    names -= {"__pycache__"}
    for path in [*ROOM.glob("*.py"), *ROOM.glob("templates/*"), BASE_CONFIG]:
        words = set(re.findall(r"[a-z0-9]+", path.read_text().lower().replace("silot_tf", "")))
        assert not words & names, path
