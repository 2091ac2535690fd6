"""Models of their own for some test conditions: as many slots as objects, told how many there are."""

import dataclasses
import json

import gin
import numpy as np
import pytest
import tensorflow as tf

from reproduce.condition_models import SlotsByCondition
from reproduce.experiment import Experiment
from silot_tf import configuration
from silot_tf.errors import UserError
from silot_tf.evaluation.evaluator import Evaluator
from silot_tf.models.sqair import SQAIR
from silot_tf.training import checkpoints
from silot_tf.training.stages import Progress

FRAME, FRAMES, TRAINED_SLOTS = (18, 16, 1), 3, 2


class Counted:
    """Noise with as many annotated objects as the condition says."""

    frame_shape, num_frames, condition_label = FRAME, FRAMES, "objects per frame"
    test_conditions = {"1 object": 1, "3 objects": 3}  # noqa: RUF012

    def prepare(self):
        pass

    def test_batches(self, condition, batch_size):
        count, rng = self.test_conditions[condition], np.random.default_rng(0)
        boxes = np.tile(rng.uniform(0.2, 0.8, (2, 1, 3, 4)), (1, FRAMES, 1, 1)).astype(np.float32)
        present = np.broadcast_to(np.arange(3) < count, (2, FRAMES, 3))
        return [
            {
                "video": rng.random((2, FRAMES, *FRAME), np.float32),
                "frame_mask": np.ones((2, FRAMES), bool),
                "boxes": boxes,
                "present": present,
                "track_id": np.where(present, np.arange(3), -1).astype(np.int32),
            }
        ]


def network(num_slots=TRAINED_SLOTS, **options):
    sizes = {"num_particles": 2, "glimpse_shape": (6, 5), "what_size": 4, "units": 8, "particle_choice": "clip"}
    # Left to itself it finds nothing, and loses at once what it was told.
    biases = {"discovery_bias": -60.0, "propagation_bias": -60.0, "propagation_prior_bias": 60.0}
    return SQAIR(num_slots=num_slots, **({"count_prior": "truncated_geometric"} | sizes | biases | options))


def told(num_slots, **options):
    return network(num_slots, forced_count="told", **options)


def experiment(model=network, told_model=told):
    return Experiment(
        dataset=Counted(),
        model=model,
        training=None,
        evaluator=Evaluator(rollout_from=2, batch_size=2),
        test_models_by_condition=SlotsByCondition(told_model, smallest=3),
        test_examples=2,
    )


def trained(run_dir, subject):
    """The run folder with the weights of a fresh model, moved a little."""
    model = subject.new_model(0)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign_add(rng.normal(0, 0.05, variable.shape))
    state = {"progress": dataclasses.replace(Progress(), global_step=7).to_json(), "seconds": 0.0}
    checkpoints.Checkpoints(run_dir).save_latest(checkpoints.named_variables(model), state)
    return run_dir


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    subject = experiment()
    run_dir = trained(tmp_path_factory.mktemp("run"), subject)
    subject.evaluate(run_dir, 0)
    return run_dir


def test_conditions_from_some_number_on_have_a_model_with_as_many_slots():
    by_condition = SlotsByCondition(lambda slots: slots, "slots", smallest=7)
    assert by_condition(6) is None
    assert [by_condition(number)() for number in (7, 12.0)] == [7, 12]
    with pytest.raises(UserError, match=r"SlotsByCondition\.smallest"):
        SlotsByCondition(network, smallest=0)


@pytest.mark.slow
def test_told_numbers_of_objects_are_shown_under_stable_identities(evaluated):
    with np.load(evaluated / "results" / "examples.npz") as examples:
        conditions = examples["condition"]
        for name, number in Counted.test_conditions.items():
            expected = 0 if number == 1 else number
            for mode in ("", "rollout_"):  # the prior, left to itself, lets nothing go
                pres, ids = (examples[mode + field][conditions == name] for field in ("pres", "track_id"))
                np.testing.assert_array_equal(pres.sum(-1), expected)
                np.testing.assert_array_equal(ids, np.broadcast_to(ids[:, :1], ids.shape))
                assert [sorted(clip[clip >= 0]) for clip in ids[:, 0]] == [list(range(expected))] * 2


@pytest.mark.slow
def test_results_say_where_numbers_were_told_and_that_they_were_met(evaluated):
    results = json.loads((evaluated / "results" / "metrics.json").read_text())
    assert results["told_conditions"] == ["3 objects"]
    errors = [results["model"][name]["count_error"] for name in Counted.test_conditions]
    assert errors == [1.0, 0.0]


@pytest.mark.slow
def test_weights_are_those_of_the_training(evaluated):
    subject = experiment()
    plain, other = subject._model_for_tests(0), subject._model_of_condition(4, 0, evaluated)
    checkpoints.Checkpoints(evaluated).restore_latest(checkpoints.named_variables(plain))
    assert (plain.num_slots, other.num_slots) == (TRAINED_SLOTS, 4)
    for a, b in zip(plain.trainable_variables, other.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert subject._model_of_condition(1, 0, evaluated) is None


# --------------------------------------------------------------------------------------------------------- bad input


def test_weights_that_depend_on_the_number_of_slots_are_one_line(tmp_path):
    subject = experiment(
        lambda: network(count_prior="categorical"), lambda num_slots: told(num_slots, count_prior="categorical")
    )
    with pytest.raises(UserError, match=r"test_models_by_condition .* condition 3, .*count_prior") as caught:
        subject.evaluate(trained(tmp_path, subject), 0)
    assert "\n" not in str(caught.value)


def test_more_objects_told_than_slots_are_one_line_that_names_the_parameter():
    batches = Counted().test_batches("3 objects", 2)
    model = told(2)
    model.build_variables(FRAME)
    with pytest.raises(UserError, match=r"3 objects.*sqair\.SQAIR\.num_slots") as caught:
        Evaluator(rollout_from=None).evaluate(model, batches, seed=0)
    assert "\n" not in str(caught.value)


def test_fewer_slots_than_forced_are_told_before_anything_is_trained():
    """Through gin, from the configuration of the comparison."""
    configuration.load(
        ["gin_configs/smoke/scattered_mnist_sqair.gin"], ["told/sqair.SQAIR.forced_count = 5"]
    )  # 2 digits, hence 2 slots
    subject = configuration.build(Experiment)
    with pytest.raises(UserError) as caught:
        subject.train("nowhere", 0)
    message = configuration.one_line_if_from_gin(str(caught.value))
    assert "sqair.SQAIR.forced_count is 5" in message and "num_slots = 2" in message and "\n" not in message
    gin.clear_config()


def test_published_comparison_has_its_own_model_from_seven_digits_on():
    configuration.load(["gin_configs/papers/silot/sqair_1_6_digits.gin"])
    subject = configuration.build(Experiment)
    gin_models = {number: subject.test_models_by_condition(number) for number in range(1, 13)}
    assert [number for number, constructor in gin_models.items() if constructor] == list(range(7, 13))
    twelve = gin_models[12]()
    assert twelve.num_slots == 12 and twelve.is_told_count and twelve.particle_choice == "clip"
    state = twelve.initial_state(1, object_count=tf.constant([12]))
    assert int(state["forced"][0]) == 12
    gin.clear_config()
