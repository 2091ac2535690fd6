import json
import re

import numpy as np
import pytest

from silot_tf.errors import UserError
from silot_tf.evaluation import results
from silot_tf.reporting import further
from silot_tf.reporting.report import Report
from tests.reporting.synthetic import CONDITIONS, write_further, write_run

FRAMES = 12


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three seeds with one further test each."""
    root = tmp_path_factory.mktemp("runs")
    folders = [write_run(root / f"run-{seed}", seed=seed, rows=0) for seed in range(3)]
    for seed, folder in enumerate(folders):
        write_further(folder, seed=seed, frames=FRAMES)
    return folders


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    return Report(max_clips=2).write(runs, tmp_path_factory.mktemp("report"))


@pytest.fixture
def no_plots(monkeypatch):
    monkeypatch.setattr(further, "time_plots", lambda *arguments: [])


def section(page, key="longer_clips"):
    text = page.read_text(encoding="utf-8")
    return re.search(rf'<section id="further-{key}">.*?</section>', text, re.S)[0]


def cells(html, heading):
    """Rows of the table under a heading: label -> texts."""
    table = re.search(rf"<h3>{heading}</h3>.*?</table>", html, re.S)[0]
    rows = {}
    method = ""
    for row in re.findall(r"<tr.*?</tr>", table, re.S):
        texts = [re.sub(r"<.*?>", "", c).strip() for c in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)]
        if len(texts) == 1:
            method = texts[0]
        else:
            rows[method, texts[0]] = texts[1:]
    return rows


def test_tables_show_mean_and_spread_over_runs_for_every_length(page, runs):
    documents = [results.read_further(run)["longer_clips"] for run in runs]
    html = section(page)
    for length, words in ((5, "After 5 frames, as in training"), (6, "After 6 frames"), (12, "After 12 frames")):
        rows = cells(html, words)
        for condition in CONDITIONS:
            mota = [d["model"][condition]["lengths"][str(length)]["mota"] for d in documents]
            kept = [d["model"][condition]["over_time"]["first_identity"][length - 1] for d in documents]
            found = rows["Example Tracker", condition]
            assert found[0] == f"{np.mean(mota):.3f} ± {np.std(mota):.3f}"
            assert found[5] == f"{np.mean(kept):.3f} ± {np.std(kept):.3f}"
            assert ("connected components (baseline)", condition) in rows


def test_record_holds_the_same_numbers(page, runs):
    record = json.loads((page.parent / "metrics.json").read_text())["further_tests"]["longer_clips"]
    assert set(record) == {"5", "6", "12"}
    model, baseline = record["12"]
    assert (model["baseline"], baseline["baseline"]) == (False, True)
    values = [results.read_further(run)["longer_clips"]["model"]["1 digit"]["lengths"]["12"]["ap"] for run in runs]
    np.testing.assert_allclose(model["conditions"]["1 digit"]["ap"]["mean"], np.mean(values), rtol=1e-12)


def test_there_is_a_plot_per_curve_and_a_clip_per_condition(page):
    files = {path.name for path in page.parent.iterdir()}
    for curve in ("mota_window", "switches_per_object", "first_identity", "presence_per_object", "presence", "objects"):
        assert f"longer_clips_0_{curve}.png" in files
    for clip in range(2):
        for ending in (".gif", "_strip.png", "_paths.png"):
            assert f"longer_clips_{clip}_posterior{ending}" in files
    html = section(page)
    assert html.count('<div class="strip paths"') == 2
    assert "Training clips had 5 frames" in html
    assert "12 frames" in html and "digits per frame: 1 to 3" in html


def test_page_links_to_the_section(page):
    assert '<a href="#further-longer_clips">Longer clips</a>' in page.read_text()


def test_runs_without_further_tests_have_no_section(tmp_path):
    path = Report(max_clips=0).write(write_run(tmp_path / "run", rows=0))
    assert "further-" not in path.read_text()
    assert json.loads((path.parent / "metrics.json").read_text())["further_tests"] == {}


def test_roll_outs_have_plots_and_tables_of_their_own(tmp_path):
    run = write_run(tmp_path / "run", rows=0)
    write_further(run, frames=FRAMES, rollout=True)
    path = Report(max_clips=0).write(run)
    assert (path.parent / "longer_clips_0_rollout_mota_window.png").is_file()
    assert ("Example Tracker", "1 digit") in cells(section(path), "After 12 frames: prior roll-out")


def test_old_weights_and_different_lengths_are_said(tmp_path, no_plots):
    runs = []
    for seed in range(2):
        info = {"evaluated": {"weights": {"global_step": 5900}}}
        runs.append(write_run(tmp_path / f"run-{seed}", seed=seed, rows=0, info=info))
    write_further(runs[0], frames=FRAMES, weights={"global_step": 100})
    write_further(runs[1], frames=8)
    html = section(Report(max_clips=0).write(runs))
    assert "run-0 (seed 0): made with the weights of update 100" in html and "run-1 (seed 1): made" not in html
    assert "different clip lengths" in html


def test_one_run_that_lacks_the_test_is_left_out_of_it(tmp_path, no_plots):
    runs = [write_run(tmp_path / f"run-{seed}", seed=seed, rows=0) for seed in range(2)]
    write_further(runs[1], frames=FRAMES)
    rows = cells(section(Report(max_clips=1).write(runs)), "After 12 frames")
    assert "±" not in rows["Example Tracker", "1 digit"][0]


def test_text_of_a_test_is_escaped(tmp_path, no_plots):
    run = write_run(tmp_path / "run", rows=0)
    evil = "<script>alert(1)</script>"
    write_further(run, frames=FRAMES, title=evil, description=evil, condition_label=evil)
    page = Report(max_clips=1).write(run).read_text()
    assert "<script" not in page and "&lt;script&gt;" in page


def test_a_damaged_file_is_named(tmp_path):
    run = write_run(tmp_path / "run", rows=0)
    write_further(run, frames=FRAMES).write_text("{")
    with pytest.raises(UserError, match=r"longer_clips\.json"):
        Report(max_clips=0).write(run)
