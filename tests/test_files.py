import os

import pytest

from silot_tf import files
from silot_tf.errors import UserError


def test_a_new_folder_gets_its_name_when_all_went_well(tmp_path):
    with files.new_folder(tmp_path / "deep" / "new") as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "deep" / "new").exists() and folder.parent == tmp_path / "deep"
    assert (tmp_path / "deep" / "new" / "a").read_text() == "1"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["new"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, UserError])
def test_nothing_stays_of_a_folder_that_was_not_finished(tmp_path, error):
    with pytest.raises(error), files.new_folder(tmp_path / "new") as folder:
        (folder / "a").write_text("1")
        raise error("no")
    assert not list(tmp_path.iterdir())


def test_what_exists_is_not_touched(tmp_path):
    (tmp_path / "old").mkdir()
    with (
        pytest.raises(UserError, match="old exists; expected the name of a new folder"),
        files.new_folder(tmp_path / "old"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_turns_up_meanwhile_is_not_overwritten(tmp_path):
    with pytest.raises(UserError, match="cannot write"), files.new_folder(tmp_path / "new") as folder:
        (folder / "a").write_text("1")
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "theirs").write_text("2")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["theirs"]


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_place_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot write"), files.new_folder(tmp_path / "new"):
        pass


def test_several_files_are_written_together_or_not_at_all(tmp_path, monkeypatch):
    files.write_together(tmp_path / "page", {"a": "1", "b": b"2"})
    assert {path.name: path.read_text() for path in (tmp_path / "page").iterdir()} == {"a": "1", "b": "2"}
    original, written = os.fdopen, []

    def full(*arguments):
        written.append(arguments)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        return original(*arguments)

    monkeypatch.setattr(files.os, "fdopen", full)
    with pytest.raises(UserError, match="cannot write"):
        files.write_together(tmp_path / "page", {"a": "3", "b": "4", "c": "5"})
    assert {path.name: path.read_text() for path in (tmp_path / "page").iterdir()} == {"a": "1", "b": "2"}


def test_what_killed_processes_left_is_removed(tmp_path):
    (tmp_path / ".a.12.unfinished").write_text("half")
    (tmp_path / ".tracking.34.unfinished").mkdir()
    (tmp_path / ".tracking.34.unfinished" / "film.mp4").write_text("half")
    (tmp_path / "b").write_text("whole")
    files.remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
