"""Choice of the model that is tested."""

import dataclasses

import numpy as np
import pytest

from reproduce.experiment import Experiment
from silot_tf.errors import UserError
from silot_tf.models.silot import SILOT
from tests.training.fakes import MemoryDataset


class OtherFrames(MemoryDataset):
    """Frames that the grid can serve."""

    frame_shape = (12, 12, 3)


def small(num_slots):
    return lambda: SILOT(
        num_slots=num_slots, anchor=(12, 12), encoder_hidden=(4, 4), decoder_hidden=(4, 4), what_size=4
    )


def experiment(**settings):
    return Experiment(dataset=OtherFrames(), model=small(3), training=None, evaluator=None, **settings)


def weights_of(model):
    return [np.asarray(variable) for variable in model.trainable_variables]


def test_the_trained_model_is_tested_when_nothing_else_is_said():
    subject = experiment()
    trained = subject._models[0] = subject.new_model(0)
    assert subject._model_for_tests(0) is trained
    assert subject._model_for_tests(0).num_slots == 3  # a new one, when none was trained here


@pytest.mark.parametrize(("slots", "notes"), [(5, 0), (3, 0), (2, 1)])
def test_model_for_tests_has_its_own_slots_and_fewer_are_noted(slots, notes, caplog):
    subject = experiment(test_model=small(slots))
    model = subject._model_for_tests(0)
    assert model.num_slots == slots
    assert len([line for line in caplog.messages if "fewer than the 3 of training" in line]) == notes
    shapes = [weight.shape for weight in weights_of(subject.new_model(0))]
    assert [weight.shape for weight in weights_of(model)] == shapes


@pytest.mark.parametrize("wrong", [{"seeds": ()}, {"weights": "best"}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match=r"Experiment\."):
        experiment(**wrong)


def test_every_setting_is_documented():
    for field in dataclasses.fields(Experiment):
        if field.init:
            assert f"{field.name}:" in Experiment.__doc__, field.name


def test_baselines_are_evaluated_once_and_with_the_batch_size_of_the_tests():
    class Baseline:
        name, calls = "fake", 0

        def tune(self, batches):
            return len(next(iter(batches))["video"])

        def evaluate(self, batches, chosen):
            type(self).calls += 1
            return {"batch": chosen}

    subject = experiment()
    baseline = Baseline()
    found = [subject._evaluate_baseline(baseline, 2) for _ in range(2)]
    assert found[0] is found[1] == {"1 object": {"batch": 2}, "2 objects": {"batch": 2}}
    assert Baseline.calls == 2  # one per condition
