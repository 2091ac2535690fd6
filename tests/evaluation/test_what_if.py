"""Roll-outs after an edit, on a model whose boxes drift by noise that does not depend on where they are."""

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.evaluation.evaluator import Evaluator
from silot_tf.evaluation.what_if import EDITS, WhatIf
from tests.evaluation.fakes import SLOTS, DriftingBoxes, corner_batch

FRAMES, SWITCH = 6, 3


class EditableBoxes(DriftingBoxes):
    """Its objects can be moved, and removed: presence and id are multiplied by a flag in the state."""

    editable_state = True

    def initial_state(self, batch_size, crop_offset=None):
        state = super().initial_state(batch_size, crop_offset)
        return state | {"exists": tf.ones_like(state["centre"][..., :1])}

    def one_frame(self, frame, state, seed, rollout_from):
        outputs, new = super().one_frame(frame, state, seed, rollout_from)
        objects = outputs["objects"]
        objects["pres"] *= state["exists"]
        objects["track_id"] = tf.where(state["exists"][..., 0] > 0, objects["track_id"], -1)
        return outputs, new | {"exists": state["exists"]}

    def edit_state(self, state, frame_shape, *, remove, shift):
        assert tuple(frame_shape) == (48, 48)
        exists = tf.where(remove[..., None], 0.0, state["exists"])
        return state | {"centre": state["centre"] + shift, "exists": exists}


@pytest.fixture(scope="module")
def recorded():
    """Plain example clips and roll-outs after an edit, of the first two of three clips."""
    batch, model = corner_batch(np.random.default_rng(0), 3, FRAMES), EditableBoxes()
    plain = Evaluator(rollout_from=SWITCH).example_clips(model, batch, seed=4, clips=2)
    return plain, WhatIf(objects=4).record(model, batch, seed=(4, 0), rollout_from=SWITCH, clips=2)


def test_arrays_are_those_of_the_documentation(recorded):
    _, arrays = recorded
    shape = (2, 4, len(EDITS), FRAMES - SWITCH)
    expected = {"reconstruction": (*shape, 48, 48, 3), "boxes": (*shape, SLOTS, 4)}
    expected |= {name: (*shape, SLOTS) for name in ("pres", "depth", "track_id", "is_new")}
    expected |= {"object": (2, 4), "removed": shape[:3], "shift": (*shape[:3], 2)}
    assert {name.removeprefix("what_if_"): value.shape for name, value in arrays.items()} == expected
    assert arrays["what_if_reconstruction"].dtype == np.uint8 and arrays["what_if_removed"].dtype == bool


def test_objects_that_are_there_before_the_switch_are_edited_by_id(recorded):
    plain, arrays = recorded
    for clip in range(2):
        there = np.sort(plain["rollout_track_id"][clip, SWITCH - 1])
        there = there[there >= 0][:4]
        np.testing.assert_array_equal(arrays["what_if_object"][clip], [*there, *[-1] * (4 - len(there))])


def test_a_removed_object_is_gone_and_nothing_else_changes(recorded):
    plain, arrays = recorded
    for clip, slot, j in _edited(recorded):
        others = np.arange(SLOTS) != slot
        assert (arrays["what_if_pres"][clip, j, 0, :, slot] == 0).all()
        assert (arrays["what_if_track_id"][clip, j, 0, :, slot] == -1).all()
        for name in ("boxes", "pres", "depth", "track_id", "is_new"):
            edited, kept = arrays[f"what_if_{name}"][clip, j, 0], plain[f"rollout_{name}"][clip, SWITCH:]
            np.testing.assert_allclose(edited[:, others], kept[:, others], atol=1e-6)
        assert arrays["what_if_removed"][clip, j].tolist() == [True, False, False, False, False]


def test_a_moved_object_goes_on_from_where_it_was_put_with_the_same_noise(recorded):
    plain, arrays = recorded
    for clip, slot, j in _edited(recorded):
        boxes = plain["rollout_boxes"][clip]
        for v, (_, direction) in enumerate(EDITS):
            shift = arrays["what_if_shift"][clip, j, v]
            expected = boxes[SWITCH:].copy()
            expected[:, slot, :2] += shift
            np.testing.assert_allclose(arrays["what_if_boxes"][clip, j, v], expected, atol=1e-5)
            # .15 of the frame, or as far as the edge of the frame
            y, x, height, width = boxes[SWITCH - 1, slot]
            for way, size, centre, length in zip(direction, shift, (y, x), (height, width), strict=True):
                room = max(0.0, (1 - length / 2 - centre) if way > 0 else centre - length / 2)
                np.testing.assert_allclose(size, way * min(0.15, room), atol=1e-6)


def _edited(recorded):
    """(clip, slot, number of the edited object) of every edited object."""
    plain, arrays = recorded
    for clip, ids in enumerate(arrays["what_if_object"]):
        for j, number in enumerate(ids[ids >= 0]):
            yield clip, int(np.flatnonzero(plain["rollout_track_id"][clip, SWITCH - 1] == number)[0]), j


def test_nothing_is_recorded_where_nothing_can_be_edited():
    batch = corner_batch(np.random.default_rng(0), 1, FRAMES)
    for model, objects, rollout_from in ((DriftingBoxes(), 3, 3), (EditableBoxes(), 0, 3), (EditableBoxes(), 3, None)):
        assert WhatIf(objects=objects).record(model, batch, seed=(0, 0), rollout_from=rollout_from) == {}
    with pytest.raises(NotImplementedError, match="DriftingBoxes"):
        DriftingBoxes().edit_state({}, (48, 48), remove=None, shift=None)


def test_clips_without_objects_still_have_arrays_of_the_same_shape():
    class Empty(EditableBoxes):
        def one_frame(self, *arguments):
            outputs, state = super().one_frame(*arguments)
            outputs["objects"]["track_id"] = -tf.ones_like(outputs["objects"]["track_id"])
            return outputs, state

    batch = corner_batch(np.random.default_rng(0), 1, FRAMES)
    arrays = WhatIf(objects=2).record(Empty(), batch, seed=(0, 0), rollout_from=SWITCH)
    assert (arrays["what_if_object"] == -1).all() and arrays["what_if_boxes"].shape[:4] == (1, 2, len(EDITS), 3)


@pytest.mark.parametrize("wrong", [{"objects": -1}, {"shift": 0.0}, {"shift": 1.5}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        WhatIf(**wrong)
