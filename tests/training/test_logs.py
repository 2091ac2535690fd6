import json

import pytest

from silot_tf.training.logs import CsvLog, Mean


def test_rows_after_the_checkpoint_are_cut_off(tmp_path):
    path = tmp_path / "log.csv"
    log = CsvLog(path)
    for step in range(5):
        log.append({"step": step, "loss": step / 3})
    again = CsvLog(path, rows=3)
    assert again.rows == 3
    again.append({"step": 3, "loss": 1.0})
    assert path.read_text().splitlines() == ["step,loss", "0,0", "1,0.333333333", "2,0.666666667", "3,1"]


def test_half_a_line_from_a_kill_is_dropped(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("step,loss\r\n0,1\r\n1")
    assert CsvLog(path).rows == 1
    assert path.read_text().splitlines() == ["step,loss", "0,1"]


def test_new_columns_leave_earlier_rows_empty(tmp_path):
    log = CsvLog(tmp_path / "log.csv")
    log.append({"step": 0})
    log.append({"step": 1, "extra": 2})
    log.append({"step": 2})
    assert (tmp_path / "log.csv").read_text().splitlines() == ["step,extra", "0,", "1,2", "2,"]


def test_means_go_through_json_without_rounding():
    whole, first = Mean(), Mean()
    values = [0.1, 0.2, 1e-17, 3.3]
    for value in values:
        whole.add({"a": value})
    for value in values[:2]:
        first.add({"a": value})
    second = Mean(json.loads(json.dumps(first.state)))
    for value in values[2:]:
        second.add({"a": value})
    assert second.take() == whole.take() == {"a": pytest.approx(0.9)}
    assert second.state == {"count": 0, "sums": {}}
