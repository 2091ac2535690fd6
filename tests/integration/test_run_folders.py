import pathlib

import pytest

from reproduce import run_folders
from silot_tf.errors import UserError
from silot_tf.run_stamp import RunStamp


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def begin(run_dir, seed):
    RunStamp(run_dir).begin(
        seed=seed, experiment="mnist/quick", model="M", mode="train", gin_files=["a.gin"], gin_params=[]
    )


def paths(folders):
    return {seed: str(path) for seed, path in folders.runs.items()}, str(folders.common)


def test_one_seed_gets_a_folder_with_its_number():
    assert paths(run_folders.choose(None, "mnist/quick", None, (4,))) == (
        {4: "runs/mnist/quick_seed4"}, "runs/mnist/quick_seed4"
    )  # fmt: skip
    assert paths(run_folders.choose(None, "mnist/quick", 7, (0, 1, 2))) == (
        {7: "runs/mnist/quick_seed7"}, "runs/mnist/quick_seed7"
    )  # fmt: skip


def test_several_seeds_get_folders_inside_a_common_one():
    folders = run_folders.choose(None, "mnist/quick", None, (0, 1))
    assert paths(folders) == ({0: "runs/mnist/quick/seed0", 1: "runs/mnist/quick/seed1"}, "runs/mnist/quick")
    assert folders.several
    assert paths(run_folders.choose("x", "mnist/quick", None, (0, 1)))[0] == {0: "x/seed0", 1: "x/seed1"}


def test_a_given_folder_is_used_as_it_is_for_one_seed():
    folders = run_folders.choose("x", "mnist/quick", 3, (0, 1))
    assert paths(folders) == ({3: "x"}, "x") and not folders.several


def test_a_folder_with_a_run_keeps_its_seed():
    begin("x", 5)
    assert paths(run_folders.choose("x", "mnist/quick", None, (0, 1))) == ({5: "x"}, "x")
    with pytest.raises(UserError, match="x holds a run with seed 5, not 6"):
        run_folders.choose("x", "mnist/quick", 6, (0,))


def test_one_of_several_runs_can_be_picked_by_its_seed():
    begin("x/seed1", 1)
    assert paths(run_folders.choose("x", "mnist/quick", 1, (0, 1))) == ({1: "x/seed1"}, "x")
    folders = run_folders.choose("x", "mnist/config", None, (0, 1))
    assert run_folders.recorded_experiment(folders) == "mnist/quick"


def test_a_file_in_place_of_the_folder_is_refused():
    pathlib.Path("x").write_text("")
    with pytest.raises(UserError, match="--run_dir=x is a file"):
        run_folders.choose("x", "mnist/quick", None, (0,))


def test_run_json_keeps_the_first_start_and_lists_every_session():
    begin("x", 5)
    first = RunStamp("x").read()
    RunStamp("x").add(hours={"train": 0.5}, updates=7)
    begin("x", 5)
    RunStamp("x").add(hours={"evaluate": 0.25})
    RunStamp("x").finish()
    record = RunStamp("x").read()
    assert record["started"] == first["started"] and len(record["sessions"]) == 2
    assert record["hours"] == {"train": 0.5, "evaluate": 0.25} and record["updates"] == 7
    assert record["finished"] == record["sessions"][-1]["finished"]
    assert record["versions"]["python"] and record["devices"]["cores"] >= 1


def test_a_damaged_run_json_is_a_clear_error():
    pathlib.Path("run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json is damaged"):
        RunStamp(".").read()
