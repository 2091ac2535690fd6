"""Configurations of the SQAIR paper hold its numbers (specification 3.4, 4.1, 5, 6), read from what they build."""

import gin
import numpy as np
import pytest

import reproduce.experiment
import silot_tf.training  # noqa: F401
from silot_tf import configuration

FOLDER = "gin_configs/papers/sqair"
DIGITS = ("mlp_sqair", "conv_sqair", "mlp_air", "mlp_vrnn", "conv_vrnn", "mlp_sqair_appearing")
ALL = (*DIGITS, "pedestrians")


def load(name, *bindings):
    configuration.load([f"{FOLDER}/{name}.gin"], bindings)
    return configuration.build(reproduce.experiment.Experiment)


@pytest.fixture(autouse=True)
def _leave_no_configuration():
    yield
    gin.clear_config()


@pytest.mark.parametrize("name", DIGITS)
def test_data_and_evaluation_of_moving_digits(name):
    setup = load(name)
    data = setup.dataset
    assert data.frame_shape == (50, 50, 1) and data.num_frames == 10 and data.num_digits == (0, 2)
    assert (data.train_clips, data.validation_clips) == (60_000, 10_000)
    assert len(data.test_conditions) * data.test_clips == pytest.approx(10_000, abs=3)
    assert data.appearing == (name == "mlp_sqair_appearing")
    likelihood, sums = setup.measures
    assert likelihood.particles == 1000 and likelihood.clips is None
    assert sums.hidden == (256, 256) and sums.largest_sum == 18 and sums.training_clips == 60_000
    assert setup.evaluator.rollout_from == 3 and setup.prior_clips is not None


@pytest.mark.parametrize("name", ALL)
def test_optimizer_has_the_constants_of_tensorflow_1_and_the_objective_is_per_frame(name):
    load(name)
    optimizer = gin.get_configurable("training.RMSProp")()
    assert (optimizer.rho, optimizer.momentum, optimizer.epsilon) == (0.9, 0.9, 1e-10)
    assert optimizer.initial_second_moment == 1.0
    bound = lambda parameter: gin.query_parameter(f"training.Trainer.{parameter}")  # noqa: E731
    assert bound("mean_over_time") and bound("clip_norm") is None


@pytest.mark.parametrize("name", ("mlp_sqair", "conv_sqair", "mlp_sqair_appearing"))
def test_learning_rate_falls_after_a_fifth_and_a_half_and_clips_grow_by_a_frame(name):
    (stage,) = load(name).training.stages
    assert stage.batch_size == 32 and stage.max_updates == 2_000_000
    steps = (0, 399_999, 400_000, 999_999, 1_000_000, 1_999_999)
    rates = [stage.at(step, {})["learning_rate"] for step in steps]
    np.testing.assert_allclose(rates, np.repeat([1e-5, 1e-5 / 3, 1e-5 / 9], 2), rtol=1e-6)
    frames = [stage.at(step, {})["frames"] for step in (0, 99_999, 100_000, 600_000, 700_000, 10**6)]
    assert frames == [3, 3, 4, 9, 10, 10]


@pytest.mark.parametrize("name", ("mlp_air", "mlp_vrnn", "conv_vrnn"))
def test_baselines_see_whole_clips_from_the_beginning(name):
    (stage,) = load(name).training.stages
    settings = [stage.at(step, {}) for step in (0, 10**6)]
    assert stage.batch_size == 32 and [one["frames"] for one in settings] == [10, 10]
    last = 1e-5 / 9 if name == "mlp_air" else 1e-5
    assert [one["learning_rate"] for one in settings] == pytest.approx([1e-5, last], rel=1e-6)


def test_pedestrians():
    setup = load("pedestrians")
    assert setup.dataset.frame_shape == (64, 64, 1) and setup.dataset.num_frames == 5
    assert (setup.dataset.train_clips, setup.dataset.validation_clips) == (3150, 350)
    (stage,) = setup.training.stages
    assert stage.max_updates == 315_000 and stage.batch_size == 32
    assert [stage.at(step, {})["frames"] for step in (0, 100_000, 200_000, 300_000)] == [3, 4, 5, 5]
    model = setup.model()
    assert model.glimpse_shape == (32, 12) and model.num_slots == 3 and model.units == 128


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("mlp_sqair", {"num_slots": 3, "num_particles": 5, "what_size": 50, "units": 256, "glimpse_shape": (20, 20)}),
        ("conv_sqair", {"num_slots": 3, "num_particles": 5, "what_size": 50, "units": 128, "glimpse_shape": (20, 20)}),
        ("mlp_vrnn", {"particles": 5, "latent_size": 165, "objective": "fivo", "likelihood_std": 0.3}),
        ("conv_vrnn", {"particles": 5, "latent_size": 165, "objective": "fivo", "likelihood_std": 0.3}),
    ],
)
def test_models(name, numbers):
    model = load(name).model()
    assert {key: getattr(model, key) for key in numbers} == numbers
