"""Several models side by side: the page's numbers are those of the run folders, and unlike tests are refused."""

import json

import numpy as np
import pytest

from silot_tf.errors import UserError
from silot_tf.reporting import comparison
from silot_tf.reporting.aggregation import Curve, Spread
from silot_tf.reporting.report import Report
from silot_tf.reporting.runs import group_runs, read_run
from silot_tf.reporting.tables import DASH, condition_table, with_spread
from tests.reporting.synthetic import CONDITIONS, write_run
from tests.reporting.test_report import Page

TOLD = "3 digits"


def changed(run, change):
    """The run folder with results that `change` was called on."""
    path = run / "results" / "metrics.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return run


def told(run):
    return changed(run, lambda document: document.update(told_conditions=[TOLD]))


def write(root, label, seeds, quality, tell=False):
    runs = [
        write_run(
            root / f"{label}-{seed}", seed=seed, experiment=f"family/{label}", rows=0, quality=quality, clips=3,
            info={"model": label.upper()},
        )
        for seed in seeds
    ]  # fmt: skip
    return [told(run) if tell else run for run in runs]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("compared")
    return {"best": write(root, "best", (0, 1, 2), 0.01), "other": write(root, "other", (0, 1), 0.0, tell=True)}


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("silot_tf.reporting.figures.DPI", 40)
        report = Report(max_clips=1, labels={"family/best": "Best", "family/other": "Other"})
        return report.write([*runs["best"], *runs["other"]], tmp_path_factory.mktemp("out"))


def values(folders, condition, metric):
    return [json.loads((run / "results" / "metrics.json").read_text())["model"][condition][metric] for run in folders]


def rows_of(page, label):
    """Cells of the rows that begin with `label`, one list per table of the comparison."""
    section = page.read_text().split('<section id="comparison">')[1].split("</section>")[0]
    rows = [row for row in section.split("<tr>")[1:] if row.startswith(f'<th scope="row">{label}')]
    return [[cell.split("</td>")[0] for cell in row.split("<td>")[1:]] for row in rows]


@pytest.mark.parametrize("name", ["best", "other"])
def test_numbers_of_the_page_are_those_of_the_run_folders(page, runs, name):
    tables = rows_of(page, name.capitalize())
    metrics = ("mota", "ap", "count_error", "rollout_mota", "rollout_ap")
    assert len(tables) == len(metrics)
    for metric, cells in zip(metrics, tables, strict=True):
        for condition, cell in zip(CONDITIONS, cells, strict=False):
            if name == "other" and metric == "count_error" and condition == TOLD:
                assert cell == DASH
                continue
            numbers = values(runs[name], condition, metric)
            expected = f"{np.mean(numbers):.3f} ± {np.std(numbers):.3f}".replace("-", "\N{MINUS SIGN}")
            assert cell == expected, (metric, condition)


def test_numbers_of_the_record_are_those_of_the_run_folders(page, runs):
    record = json.loads((page.parent / "metrics.json").read_text())
    curves = {curve["label"]: curve for curve in record["curves"]}
    for name in ("best", "other"):
        for condition in CONDITIONS:
            for metric in ("mota", "ap", "rollout_mota"):
                entry, numbers = (
                    curves[name.capitalize()]["conditions"][condition][metric],
                    values(runs[name], condition, metric),
                )
                np.testing.assert_allclose([entry["mean"], entry["std"]], [np.mean(numbers), np.std(numbers)])
    assert curves["Other"]["told_conditions"] == [TOLD] and curves["Best"]["told_conditions"] == []


def test_count_errors_of_told_numbers_are_left_out_and_the_page_says_so(page):
    record = json.loads((page.parent / "metrics.json").read_text())
    best, other = (next(c for c in record["curves"] if c["label"] == name) for name in ("Best", "Other"))
    assert "count_error" in best["conditions"][TOLD] and "count_error" in best["overall"]
    assert "count_error" not in other["conditions"][TOLD] and "count_error" in other["conditions"]["1 digit"]
    assert "count_error" not in other["overall"]  # a mean over fewer conditions than that of the others
    text = Page(page).text
    assert f"Other was told how many objects there are under {TOLD}" in text and "Best was told" not in text


def test_all_methods_are_in_one_figure_and_one_page(page):
    parsed = Page(page)
    assert parsed.open == []
    assert (page.parent / "comparison.png").is_file()
    alt = next(a["alt"] for t, a in parsed.elements if t == "img" and "MOTA, prior roll-out" in a.get("alt", ""))
    assert all(name in alt for name in ("Best", "Other", "connected components"))
    assert "5 training runs of BEST and OTHER" in parsed.text
    titles = page.read_text().split('<section id="clips">')[1]
    assert titles.index("Best, 1 digit") < titles.index("Other, 1 digit")


def test_one_model_is_not_compared_with_itself(runs, tmp_path):
    page = Report(max_clips=0).write(runs["best"], tmp_path)
    assert 'id="comparison"' not in page.read_text() and not (tmp_path / "comparison.png").exists()


def test_a_baseline_answers_for_a_rollout_with_its_ordinary_values():
    def curve(label, baseline, metric):
        spread = Spread(0.5, 0.0, 1)
        return Curve(label, (label,), baseline, {"a": 2.0, "b": 1.0}, {"a": {metric: spread}}, {metric: spread}, 1)

    table = condition_table([curve("m", False, "rollout_ap"), curve("c", True, "ap")], "rollout_ap")
    assert table["columns"] == ["1", "2", "all"]
    value = with_spread(Spread(0.5, 0.0, 1), 3)
    assert table["rows"] == [("m", False, [DASH, value, value]), ("c", True, [DASH, value, value])]
    assert condition_table([curve("c", True, "ap")], "ap") is None


# --------------------------------------------------------------------------------------------------------- bad input


def check(*folders):
    comparison.check_comparable([read_run(folder) for folder in folders])


def test_comparable_runs_pass_and_others_are_one_line_each(runs, tmp_path):
    first = runs["best"][0]
    check(*runs["best"], *runs["other"])
    untested = write_run(tmp_path / "untested", rows=0, evaluated=False)
    fewer = write_run(tmp_path / "fewer", rows=0, conditions={"1 digit": 1, "2 digits": 2})
    smaller = changed(
        write_run(tmp_path / "smaller", rows=0), lambda document: document["model"]["2 digits"].update(clips=64)
    )
    for folder, complaint in (
        (untested, "untested has no results; .*--mode=evaluate"),
        (fewer, r"fewer was tested under other conditions \(1 digit and 2 digits\) than .*best-0"),
        (smaller, "smaller were tested on different clips: for 2 digits, clips are 128 and 64"),
    ):
        with pytest.raises(UserError, match=complaint) as caught:
            check(first, folder)
        assert "\n" not in str(caught.value)


def test_folders_of_several_seeds_are_expanded_and_empty_ones_refused(runs, tmp_path):
    common = tmp_path / "common"
    for seed in (0, 1):
        write_run(common / f"seed{seed}", seed=seed, rows=0)
    (common / "config.gin").write_text("")
    (common / "report").mkdir()
    found = comparison.expand([common, runs["best"][0], common / "seed1"])
    assert found == [common / "seed0", common / "seed1", runs["best"][0]]
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(UserError, match=f"{folder.name} holds no run"):
            comparison.expand([folder])


def test_what_was_measured_otherwise_is_noted(tmp_path):
    first = write_run(tmp_path / "first", rows=0, experiment="first")
    second = write_run(tmp_path / "second", rows=0, experiment="second")
    runs = [read_run(folder) for folder in (first, second)]
    assert comparison.notices(runs, group_runs(runs)) == []
    changed(second, lambda document: document["protocol"].update(mota="in another way"))
    changed(second, lambda document: document["baselines"]["connected_components"]["1 digit"].update(ap=0.1))
    runs = [read_run(folder) for folder in (first, second)]
    notes = comparison.notices(runs, group_runs(runs))
    assert any("same way" in note and note.endswith(": MOTA.") for note in notes)
    assert any(note.startswith("connected components has other values") for note in notes)
