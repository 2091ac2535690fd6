"""A paper's table with our rows, clips drawn from the prior: read back from the page they are on."""

import json

import numpy as np
import pytest

from silot_tf.errors import UserError
from silot_tf.reporting.aggregation import Curve, Spread
from silot_tf.reporting.published import TARGETS
from silot_tf.reporting.published_tables import published_table
from silot_tf.reporting.report import Report
from silot_tf.reporting.tables import DASH
from tests.reporting.synthetic import example_arrays, write_run

#: Specification 8, table 1 of Kosiorek et al. 2018.
TABLE_1 = {
    "CONV-SQAIR": ("6784.8", "6923.8", "134.6", "0.9974", "0.9990"),
    "MLP-SQAIR": ("6617.6", "6786.5", "164.5", "0.9986", "0.9998"),
    "MLP-AIR": ("6443.6", "6830.6", "352.6", "0.9058", "0.8644"),
    "CONV-VRNN": ("6561.9", "6737.8", "270.2", DASH, "0.8536"),
    "MLP-VRNN": ("5959.3", "6108.7", "218.3", DASH, "0.8059"),
}


def curve(label="Ours", **overall):
    return Curve(label, (label,), False, {}, {}, {name: Spread.of([value]) for name, value in overall.items()}, 1)


def test_moving_digits_table_is_the_published_one():
    table = published_table("moving_mnist_table", [], {})
    assert {name: tuple(cells[:5]) for name, ours, cells in table["rows"]} == TABLE_1
    assert all(cells[5] == "1000" for _, _, cells in table["rows"])
    assert table["columns"] == [
        "log p(x), bound",
        "log p(x|z)",
        "KL",
        "Counting accuracy",
        "Digit addition",
        "Particles",
    ]
    assert table["sources"] == ["Kosiorek et al., NeurIPS 2018, table 1"] and not table["notes"]


def test_our_rows_stand_below_with_what_was_not_measured_left_open():
    table = published_table("moving_mnist_table", [curve(bound=5000.25, particles=50.0)], {"bound": "With 50."})
    assert table["rows"][-1] == ("Ours", True, ["5\N{NARROW NO-BREAK SPACE}000.2", *[DASH] * 4, "50"])
    assert any("50 particles, the published with 1\N{NARROW NO-BREAK SPACE}000" in note for note in table["notes"])
    assert "log p(x), bound, ours: With 50." in table["notes"]


def test_as_many_particles_as_published_need_no_word():
    table = published_table("moving_mnist_table", [curve(bound=5000.25, particles=1000.0)], {})
    assert not table["notes"]


def test_claims_repeat_the_table():
    rows = (TARGETS / "moving_mnist.csv").read_text().splitlines()[1:]
    for name, numbers in TABLE_1.items():
        for number in numbers:
            assert number == DASH or any(row.startswith(f"{name},") and f",all,{number}," in row for row in rows)


@pytest.mark.parametrize("text", ["name,bound,source\n", "method,source\n", "method,bound,source\nA,many,paper\n"])
def test_files_of_another_form_are_refused(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=r"table\.csv has the"):
        published_table(str(path), [], {})


def test_unknown_tables_are_told_with_those_there_are():
    with pytest.raises(UserError, match=r"published_table is 'mnist', expected one of .*moving_mnist_table"):
        published_table("mnist", [], {})


def test_page_has_the_table_and_clips_of_the_prior(tmp_path):
    run = write_run(tmp_path / "run")
    path = run / "results" / "metrics.json"
    results = json.loads(path.read_text())
    for row in results["model"].values():
        row |= {"bound": 6000.0, "particles": 5.0, "weighted_count_accuracy": 0.75}
    path.write_text(json.dumps(results))
    arrays = example_arrays(np.random.default_rng(0), ["1 digit"], 6, 2, 16, rollout=False)
    made = {name: arrays[name] for name in ("video", "boxes", "pres", "track_id", "is_new")}
    np.savez_compressed(run / "results" / "prior.npz", reconstruction=arrays["video"], **made)
    page = Report(published_table="moving_mnist_table").write(run, tmp_path / "report").read_text()
    for text in (
        "CONV-SQAIR",
        "6784.8",
        "6\N{NARROW NO-BREAK SPACE}000.0",
        "Reduced: ours are measured with 5",
        "0.7500",
    ):
        assert text in page, text
    assert 'id="prior"' in page and (tmp_path / "report" / "prior_0.png").is_file()
    plain = Report().write(write_run(tmp_path / "other"), tmp_path / "plain").read_text()
    assert 'id="prior"' not in plain and 'id="table"' not in plain
