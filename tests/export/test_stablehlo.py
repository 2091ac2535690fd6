import shutil

import pytest

from silot_tf.errors import UserError
from silot_tf.export import stablehlo
from tests.export import fakes


def test_the_module_is_checked_and_described(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    entry = stablehlo.write(copy)
    assert entry["inputs"][:3] == ["frame", "reset", "seed"] and "boxes" in entry["outputs"]
    assert entry["largest_difference"] <= 1e-5
    data = (copy / entry["file"]).read_bytes()
    assert data[:4] == b"ML\xefR"  # MLIR bytecode


def test_a_module_that_gives_other_results_is_not_kept(folder, tmp_path, monkeypatch):
    copy = shutil.copytree(folder, tmp_path / "copy")
    other = fakes.export(tmp_path / "other", _moved())
    compiled = {}
    monkeypatch.setattr(stablehlo, "_compile", lambda *arguments: compiled.setdefault("module", original(*arguments)))
    stablehlo.write(other)
    with pytest.raises(UserError, match="differs from the SavedModel"):
        stablehlo.write(copy)
    assert not (copy / stablehlo.FILE).exists()


original = stablehlo._compile


def _moved():
    model = fakes.build()
    model.gain.assign([0.1, 0.1])
    return model
