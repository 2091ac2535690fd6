import numpy as np
import pytest

from silot_tf.errors import UserError
from silot_tf.evaluation import results
from silot_tf.evaluation.prior_clips import PriorClips
from silot_tf.reporting.examples import read_examples
from tests.evaluation.fakes import SLOTS, DriftingBoxes


def test_clips_of_the_prior_can_be_written_and_drawn(tmp_path):
    arrays = PriorClips(clips=2).record(DriftingBoxes(), 4, (8, 6, 3), seed=0)
    assert arrays["video"].shape == (2, 4, 8, 6, 3) and arrays["video"].dtype == np.uint8
    assert arrays["boxes"].shape == (2, 4, SLOTS, 4)
    assert not arrays["video"].any()  # this model shows nothing of what it does not see
    path = results.write_prior_clips(tmp_path, arrays)
    clips = read_examples(path).clips
    assert len(clips) == 2 and clips[0].views[""].objects.boxes.shape == (4, SLOTS, 4)


def test_number_of_frames_can_be_given_and_seeds_differ():
    drawn = [PriorClips(2, frames=3).record(DriftingBoxes(), 9, (8, 8, 3), seed=seed) for seed in (0, 0, 1)]
    assert drawn[0]["video"].shape[1] == 3
    np.testing.assert_array_equal(drawn[0]["boxes"], drawn[1]["boxes"])
    assert np.abs(drawn[0]["boxes"] - drawn[2]["boxes"]).max() > 1e-3


def test_nonsense_is_refused():
    with pytest.raises(UserError, match="PriorClips"):
        PriorClips(clips=0)
