"""SILOT's comparison with SQAIR holds the comparison's numbers (SQAIR specification 4.2 and 6.4)."""

import gin
import numpy as np
import pytest

import reproduce.experiment
import silot_tf.training  # noqa: F401
from silot_tf import configuration

#: File -> (digits in training, rho, encoder, told).
FILES = {
    "sqair_1_6_digits": ((1, 6), 0.516, "mlp", True),
    "sqair_1_12_digits": ((1, 12), 0.4, "mlp", False),
    "conv_sqair_1_6_digits": ((1, 6), 0.516, "strided", True),
    "conv_sqair_1_12_digits": ((1, 12), 0.4, "strided", False),
}


@pytest.fixture(params=FILES)
def experiment(request):
    configuration.load([f"gin_configs/papers/silot/{request.param}.gin"])
    yield FILES[request.param], configuration.build(reproduce.experiment.Experiment)
    gin.clear_config()


def test_data_is_that_of_the_other_models(experiment):
    (digits, *_), setup = experiment
    found = setup.dataset
    assert found.num_digits == digits and len(setup.seeds) == 6
    configuration.load(["gin_configs/papers/silot/scattered_mnist_1_6.gin"])
    other = configuration.build(reproduce.experiment.Experiment).dataset
    assert found.all_parameters("test", (3, 3)) == other.all_parameters("test", (3, 3))
    assert (found.test_conditions, found.test_clips) == (other.test_conditions, other.test_clips)


def test_model(experiment):
    (digits, rho, encoder, is_told), setup = experiment
    model = setup.model()
    assert (model.num_slots, model.num_particles, model.what_size, model.units) == (digits[1], 2, 50, 256)
    assert model.glimpse_shape == (14, 14) and model.vimco == "release" and model.particle_choice == "clip"
    assert model.frame_encoder.kind == encoder and not model.is_told_count and model.decoder.output_std == 0.3
    powers = rho ** np.arange(digits[1] + 1)
    np.testing.assert_allclose(np.exp(model.count_prior.log_probabilities), powers / powers.sum(), rtol=1e-5)
    bound = lambda name: gin.query_parameter(f"sqair.SQAIR.{name}")  # noqa: E731
    biases = [bound(f"{name}_bias") for name in ("discovery", "propagation", "propagation_prior", "box_std")]
    assert biases == [5.0, 5.0, 10.0, -3.0] and bound("scale_prior") == -2.0 and bound("output_scale") == 0.25
    assert (setup.test_models_by_condition is not None) == is_told


def test_three_stages_with_a_third_of_the_learning_rate_each(experiment):
    _, setup = experiment
    stages = setup.training.stages
    rates = [stage.at(0, {})["learning_rate"] for stage in stages]
    np.testing.assert_allclose(rates, [1e-5, 1e-5 / 3, 1e-5 / 9], rtol=1e-4)
    assert [stage.batch_size for stage in stages] == [16] * 3
    assert [stage.patience for stage in stages] == [30_000] * 3
    assert [stage.patience_start for stage in stages] == [80_000, 1, 1]
    assert all(stage.start_from_best and stage.fresh_optimizer for stage in stages[1:])
    assert setup.training.evaluate_every == 5000 and setup.dataset.validation_clips == 128
    frames = [stages[0].at(step, {})["frames"] for step in (0, 19_999, 20_000, 40_000, 60_000, 10**6)]
    assert frames == [2, 2, 4, 6, 8, 8] and [stage.at(0, {})["frames"] for stage in stages[1:]] == [8, 8]
    assert setup.training.score({"mota": 0.25, "rollout_mota": 0.5, "ap": 7.0}) == pytest.approx(0.75)
    assert setup.evaluator.rollout_from == 3


@pytest.mark.usefixtures("experiment")
def test_optimizer_and_objective_are_the_released_ones():
    bound = gin.query_parameter
    assert bound("training.Trainer.mean_over_time") is True and bound("training.Trainer.clip_norm") is None
    optimizer = bound("training.Trainer.make_optimizer").scoped_configurable_fn()
    assert type(optimizer).__name__ == "RMSProp"
    assert (optimizer.rho, optimizer.momentum, optimizer.epsilon) == (0.9, 0.9, 1e-10)
    assert optimizer.initial_second_moment == 1.0
