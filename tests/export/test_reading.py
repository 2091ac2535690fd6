import json
import shutil

import numpy as np
import pytest

from silot_tf.errors import UserError
from silot_tf.export import card as cards
from silot_tf.export import saved_model
from silot_tf.export.reading import ExportedModel
from tests.export import fakes


@pytest.fixture(scope="module")
def exported(folder):
    return ExportedModel(folder)


@pytest.fixture
def frame():
    return np.zeros((2, *fakes.FRAME_SHAPE), np.uint8)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def message_of(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def test_streams_are_followed_with_a_carried_state(exported, video):
    state = exported.initial_state(3)
    for t in range(3):
        table, state = exported.step(video[:, t], state, seed=(5, 6))
    assert table["boxes"].shape == (3, fakes.SLOTS, 4) and table["ids"].dtype == np.int32
    assert exported.num_slots == fakes.SLOTS and exported.appearance_size == fakes.APPEARANCE
    again, _ = exported.step(video[:, 3], state, seed=(5, 6), reset=[True, False, False], reconstruction=True)
    assert again["reconstruction"].shape == video[:, 3].shape and again["ids"][0].max() == 0
    ahead, after = exported.predict(state, 4, seed=(5, 6))
    assert ahead["boxes"].shape == (3, 4, fakes.SLOTS, 4) and set(after) == set(state)


def test_states_merge_by_stream(exported, video):
    fresh = exported.initial_state(2)
    _, later = exported.step(video[:2, 0], fresh)
    merged = exported.merge([True, False], fresh, later)
    for name, value in merged.items():
        np.testing.assert_array_equal(value[0], fresh[name][0])
        np.testing.assert_array_equal(value[1], later[name][1])


def test_step_without_a_state_says_how_to_get_one(exported, frame):
    with pytest.raises(UserError) as error:
        exported.step(frame)
    assert "exported.initial_state(batch_size=...)" in message_of(error)
    with pytest.raises(UserError) as error:
        exported.step(frame, {"hidden": 1})
    assert "['hidden']" in message_of(error) and "state__frame" in message_of(error)
    with pytest.raises(UserError, match="predict was called without a state"):
        exported.predict()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda frame: frame[:, :-1], r"of shape \[2, 19, 30, 3\]; expected \[batch,20,30,3\]: crop or resize"),
        (lambda frame: frame[0], r"of shape \[20, 30, 3\]; expected \[batch,20,30,3\]"),
        (lambda frame: frame[..., 0], "expected"),
        (lambda frame: frame.astype(np.float64), "frames of float64; expected uint8, or float32"),
        (lambda frame: frame.astype(np.float64), r"frame\.astype\(np\.float32\)$"),
        (lambda frame: frame.astype(np.uint16), "frames of uint16"),
        (lambda frame: frame.astype(np.int32), r"frames of int32; .*: frame\.astype\(np\.uint8\) where values are 0"),
        (lambda frame: frame.astype(np.float32) + 200, "from 200 to 200; expected 0 to 1: divide by 255"),
        (lambda frame: np.where(np.arange(3) == 1, np.float32(np.nan), frame), "from nan to nan; expected 0 to 1"),
        (lambda frame: frame[:1], "1 frames and 1 resets for a state of 2 streams"),
    ],
)
def test_a_wrong_frame_is_one_line(exported, frame, change, complaint):
    with pytest.raises(UserError, match=complaint) as error:
        exported.step(change(frame), exported.initial_state(2))
    message_of(error)


def test_nothing_to_predict_and_no_streams_are_refused(exported):
    with pytest.raises(UserError, match="predict: frames is 0"):
        exported.predict(exported.initial_state(1), 0)
    with pytest.raises(UserError, match="batch_size is 0"):
        exported.initial_state(0)


def test_a_folder_without_an_export_is_told(tmp_path):
    with pytest.raises(UserError, match=r"holds no card\.json"):
        ExportedModel(tmp_path)


def test_a_damaged_file_is_told_before_it_is_loaded(copy):
    path = copy / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"saved_model\.pb is not the file that was exported"):
        ExportedModel(copy)
    path.unlink()
    with pytest.raises(UserError, match=r"saved_model\.pb is missing"):
        ExportedModel(copy)


def test_a_card_of_another_format_is_told(copy):
    card = cards.read(copy)
    (copy / cards.CARD_FILE).write_text(json.dumps(card | {"format": 99}))
    with pytest.raises(UserError, match="format 99"):
        ExportedModel(copy)


@pytest.mark.parametrize(("channels", "word"), [(1, "grey frames"), (3, "RGB frames"), (4, "frames of 4 channels")])
def test_the_card_says_what_kind_of_frames_there_are(tmp_path, channels, word):
    shape = (8, 8, channels)
    model = fakes.build(shape)
    signatures = saved_model.write(model, tmp_path, shape)
    card = cards.describe(model, signatures, shape, deterministic=False)
    step = card["signatures"]["step_with_reconstruction"]
    tensors = step["inputs"]["frame"], step["outputs"]["reconstruction"]
    meanings = [card["frame"]["layout"], *(tensor["meaning"] for tensor in tensors)]
    assert all(word in meaning for meaning in meanings)
    assert channels == 3 or not any("RGB" in meaning for meaning in meanings)
    assert card["preprocessing"] is None


def test_the_card_tells_shapes_units_and_checksums(folder):
    card = cards.read(folder)
    assert card["model"] == {
        "class": "Wanderers", "weights": 2, "slots": fakes.SLOTS, "appearance_size": fakes.APPEARANCE
    }  # fmt: skip
    assert card["frame"]["shape"] == list(fakes.FRAME_SHAPE) and card["deterministic"] is False
    step = card["signatures"]["step"]
    assert step["inputs"]["frame"] == {
        "shape": [None, *fakes.FRAME_SHAPE], "dtype": "float32", "meaning": step["inputs"]["frame"]["meaning"]
    }  # fmt: skip
    assert "pixels" in step["outputs"]["boxes"]["meaning"]
    for sides in card["signatures"].values():
        for side in sides.values():
            assert all(tensor["meaning"] and tensor["dtype"] for tensor in side.values())
    assert {"saved_model.pb", "check.py", "reference.npz", "variables/variables.index"} <= set(card["files"])
    cards.check_files(folder, card)
