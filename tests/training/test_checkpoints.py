import json

import keras
import numpy as np
import pytest

from silot_tf.errors import UserError
from silot_tf.training import checkpoints, optimizers


def build(seed=0, units=3):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.layers.Dense(units), keras.layers.Dense(2)])
    model.build((None, 4))
    optimizer = optimizers.Adam()
    optimizer.build(model.trainable_variables)
    return model, optimizer


def state(step, best=None):
    reference = best and {"weights": best}
    return {"progress": {"global_step": step, "best": reference, "overall": reference}, "note": step / 3}


def values(variables):
    return [np.array(variable) for variable in variables.values()]


def test_a_checkpoint_comes_back_bit_for_bit_in_another_model(tmp_path):
    model, optimizer = build()
    for variable in optimizer.variables:
        variable.assign(np.full(variable.shape, 7, variable.dtype))
    saved = checkpoints.named_variables(model, optimizer)
    checkpoints.Checkpoints(tmp_path).save_latest(saved, state(5))
    # Names of layers differ here ("dense_2"), as they would in a second run of one process.
    fresh = checkpoints.named_variables(*build(seed=1))
    assert checkpoints.Checkpoints(tmp_path).restore_latest(fresh) == state(5)
    for expected, found in zip(values(saved), values(fresh), strict=True):
        assert expected.dtype == found.dtype
        np.testing.assert_array_equal(expected, found)


def test_without_checkpoints_nothing_is_restored(tmp_path):
    assert checkpoints.Checkpoints(tmp_path).restore_latest(checkpoints.named_variables(*build())) is None


def test_only_the_two_latest_and_the_best_they_refer_to_are_kept(tmp_path):
    keeper = checkpoints.Checkpoints(tmp_path)
    variables = checkpoints.named_variables(build()[0])
    for step, best in ((1, "best_a"), (2, "best_b"), (3, "best_b"), (4, "best_c")):
        keeper.save_weights(best, variables)
        keeper.save_latest(variables, state(step, best))
    names = {path.stem for path in keeper.folder.iterdir()}
    assert names == {"update_000000003", "update_000000004", "best_b", "best_c"}


@pytest.mark.parametrize("damage", ["cut short", "changed", "no manifest", "manifest cut short", "no arrays"])
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(tmp_path, damage, caplog):
    keeper = checkpoints.Checkpoints(tmp_path)
    model, optimizer = build()
    variables = checkpoints.named_variables(model, optimizer)
    keeper.save_latest(variables, state(1))
    good = values(variables)
    model.variables[0].assign(model.variables[0] + 1)
    keeper.save_latest(variables, state(2))
    arrays, manifest = keeper.folder / "update_000000002.npz", keeper.folder / "update_000000002.json"
    if damage == "cut short":
        arrays.write_bytes(arrays.read_bytes()[:-100])
    elif damage == "changed":
        data = bytearray(arrays.read_bytes())
        data[len(data) // 2] ^= 1
        arrays.write_bytes(data)
    elif damage == "no manifest":
        manifest.unlink()
    elif damage == "manifest cut short":
        manifest.write_text(manifest.read_text()[:50])
    else:
        arrays.unlink()
    with caplog.at_level("WARNING"):
        restored = keeper.restore_latest(variables)
    assert restored == state(1)
    assert "update_000000002 is not usable" in caplog.text
    for expected, found in zip(good, values(variables), strict=True):
        np.testing.assert_array_equal(expected, found)


def test_no_usable_checkpoint_is_an_error_that_says_what_to_do(tmp_path):
    keeper = checkpoints.Checkpoints(tmp_path)
    variables = checkpoints.named_variables(*build())
    keeper.save_latest(variables, state(1))
    path = keeper.folder / "update_000000001.npz"
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(UserError, match="delete this folder to start"):
        keeper.restore_latest(variables)


def test_weights_of_another_model_are_refused_before_anything_changes(tmp_path):
    keeper = checkpoints.Checkpoints(tmp_path)
    keeper.save_weights("best", checkpoints.named_variables(build(units=3)[0]))
    other = checkpoints.named_variables(build(units=5)[0])
    before = values(other)
    with pytest.raises(UserError, match=r"model/0000/.*kernel is \(4, 3\), expected \(4, 5\)"):
        keeper.restore_weights("best", other)
    for expected, found in zip(before, values(other), strict=True):
        np.testing.assert_array_equal(expected, found)


def test_weights_can_be_taken_without_the_optimizer(tmp_path):
    keeper = checkpoints.Checkpoints(tmp_path)
    model, optimizer = build()
    keeper.save_latest(checkpoints.named_variables(model, optimizer), state(1))
    fresh = build(seed=3)[0]
    keeper.restore_weights("update_000000001", checkpoints.named_variables(fresh))
    np.testing.assert_array_equal(np.array(model.variables[0]), np.array(fresh.variables[0]))


def test_files_hold_no_pickles_and_a_manifest_people_can_read(tmp_path):
    keeper = checkpoints.Checkpoints(tmp_path)
    keeper.save_latest(checkpoints.named_variables(*build()), state(1))
    manifest = json.loads((keeper.folder / "update_000000001.json").read_text())
    assert any(key.endswith("dense/kernel") for key in manifest["arrays"])
    with np.load(keeper.folder / "update_000000001.npz", allow_pickle=False) as archive:
        assert sorted(archive.files) == sorted(manifest["arrays"])
