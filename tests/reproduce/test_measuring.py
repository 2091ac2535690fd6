"""Measures in an experiment: taken during training and at the end, with a batch that fails kept."""

import numpy as np
import pytest

from reproduce import measuring
from reproduce.experiment import Experiment
from silot_tf.errors import UserError
from silot_tf.evaluation.measures import Measure, NonFiniteError


class Constant(Measure):
    protocol = {"constant": "Always the same."}  # noqa: RUF012

    def evaluate(self, model, batches, *, seed):
        return {"constant": float(sum(len(batch["video"]) for batch in batches))}


class Failing(Constant):
    def evaluate(self, model, batches, *, seed):
        raise NonFiniteError("weights are all -inf", next(iter(batches)))


def test_all_measures_see_all_batches(tmp_path):
    batches = [{"video": np.zeros((3, 1))}, {"video": np.zeros((2, 1))}]
    assert measuring.measure([Constant(), Constant()], None, batches, 0, tmp_path) == {"constant": 5.0}
    assert measuring.measure([], None, batches, 0, tmp_path) == {}


def test_a_batch_without_finite_weights_is_kept(tmp_path):
    batches = [{"video": np.full((2, 1), 0.25, np.float32)}]
    with pytest.raises(UserError, match=r"all -inf; the batch is in .*non_finite_evaluation\.npz"):
        measuring.measure([Failing()], None, batches, 0, tmp_path)
    with np.load(tmp_path / "non_finite_evaluation.npz", allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["batch/video"], batches[0]["video"])


def test_number_of_validation_batches_is_checked():
    with pytest.raises(UserError, match=r"Experiment\.validation_batches is 0"):
        Experiment(dataset=None, model=None, training=None, evaluator=None, validation_batches=0)
