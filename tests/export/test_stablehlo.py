import shutil

import numpy as np
import pytest
import tensorflow as tf

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


def results(presence, x, is_new=(0, 0, 0, 0)):
    boxes = np.stack([np.array([[value, 1, 4, 4]], np.float32) for value in x], axis=1)
    made = {"presence": np.array([presence], np.float32), "boxes": boxes, "last": np.array([[3.0]], np.float32)}
    return {name: tf.constant(value) for name, value in made.items()} | {"is_new": tf.constant([is_new]) > 0}


def difference(found, expected):
    return stablehlo._difference(found, expected, (10, 10, 3))


def test_equally_absent_slots_may_change_places_and_others_may_not():
    expected = results([0.9, 0.001, 0.001, 0.8], [1, 2, 3, 4])
    assert difference(results([0.9, 0.001, 0.001, 0.8], [1, 3, 2, 4]), expected) == 0
    moved = difference(results([0.9, 0.001, 0.001, 0.8], [1, 2, 3, 4.5]), expected)
    np.testing.assert_allclose(moved, 0.05, atol=1e-6)
    swapped = difference(results([0.8, 0.001, 0.001, 0.9], [4, 2, 3, 1]), expected)
    np.testing.assert_allclose(swapped, 0.3, atol=1e-6)
    assert difference(results([0.9, 0.001, 0.8, 0.001], [1, 3, 4, 2]), expected) == float("inf")
    assert difference(results([0.9, 0.5, 0.001, 0.8], [1, 2, 3, 4]), expected) == float("inf")


def test_new_objects_may_be_in_other_slots():
    """As where an absent one took the slot that was free for them; they may even pass one that was kept."""
    expected = results([0.9, 0.8, 0.7, 0.001], [1, 2, 3, 4], is_new=(1, 1, 0, 0))
    assert difference(results([0.001, 0.9, 0.7, 0.8], [4, 1, 3, 2], is_new=(0, 1, 0, 1)), expected) == 0
    moved = difference(results([0.001, 0.9, 0.7, 0.8], [4, 1, 3, 2.5], is_new=(0, 1, 0, 1)), expected)
    np.testing.assert_allclose(moved, 0.05, atol=1e-6)
    assert difference(results([0.9, 0.8, 0.7, 0.001], [1, 2, 3, 4], is_new=(1, 0, 0, 0)), expected) == float("inf")


original = stablehlo._compile


def _moved():
    model = fakes.build()
    model.gain.assign([0.1, 0.1])
    return model
