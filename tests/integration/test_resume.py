"""Killing training from outside, at any moment, and starting the same line again."""

import signal

import pytest

from tests.integration import commands

pytestmark = pytest.mark.slow

FLAGS = (f"--gin_file={commands.GIN_FILE}", "--mode=train")
SLOWLY = (*FLAGS, "--gin_param=tests.MemoryDataset.delay=0.05")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    done = commands.run(folder, *SLOWLY, "--run_dir=run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def same_logs(a, b):
    for name in ("metrics.csv", "evaluations.csv"):
        assert commands.rows(a / name) == commands.rows(b / name)
        assert commands.rows(a / name)


def test_kill_9_and_a_damaged_checkpoint_do_not_change_a_single_bit(tmp_path, uninterrupted):
    for update in (6, 27):
        process = commands.start(tmp_path, *SLOWLY, "--run_dir=run")
        commands.wait_for_update(tmp_path / "run", update, process)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    newest = sorted((tmp_path / "run" / "checkpoints").glob("update_*.npz"))[-1]
    newest.write_bytes(newest.read_bytes()[:-50])
    done = commands.run(tmp_path, *SLOWLY, "--run_dir=run")
    assert done.returncode == 0, done.stderr
    assert f"{newest.stem} is not usable" in done.stderr  # the one before it was used, and that is said
    assert "continuing from checkpoint" in done.stderr
    same_logs(tmp_path / "run", uninterrupted)


def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_resume(tmp_path, uninterrupted):
    process = commands.start(tmp_path, *SLOWLY, "--run_dir=run")
    commands.wait_for_update(tmp_path / "run", 12, process)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130, messages
    assert "checkpoint written; the same line again continues" in messages
    assert "-m reproduce.scattered_mnist" in messages and "Traceback" not in messages
    done = commands.run(tmp_path, *SLOWLY, "--run_dir=run")
    assert done.returncode == 0, done.stderr
    same_logs(tmp_path / "run", uninterrupted)
