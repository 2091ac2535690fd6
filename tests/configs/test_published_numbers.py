"""The papers' files hold the papers' numbers (SILOT specification 3 and appendix B), read from what they build."""

import gin
import numpy as np
import pytest

import reproduce.experiment
import silot_tf.training  # noqa: F401
from silot_tf import configuration

MNIST = {"papers/silot/scattered_mnist_1_6.gin": (1, 6), "papers/silot/scattered_mnist_1_12.gin": (1, 12)}


@pytest.fixture(params=MNIST)
def experiment(request):
    configuration.load([f"gin_configs/{request.param}"])
    setup = configuration.build(reproduce.experiment.Experiment)
    yield request.param, setup
    gin.clear_config()


def test_data_of_scattered_mnist(experiment):
    name, setup = experiment
    data = setup.dataset
    assert data.frame_shape == (48, 48, 3) and data.num_frames == 8 and data.num_digits == MNIST[name]
    assert (data.speed, data.train_clips, data.test_clips) == (2.0, 60_000, 1000)
    assert list(data.test_conditions.values()) == list(range(1, 13))
    assert len(setup.seeds) == 6


def test_three_stages_with_a_third_of_the_learning_rate_each(experiment):
    _, setup = experiment
    stages, quantities = setup.training.stages, setup.model.annealed_quantities
    rates = [stage.at(10_000, quantities)["learning_rate"] for stage in stages]
    np.testing.assert_allclose(rates, [1e-4, 1e-4 / 3, 1e-4 / 9], rtol=1e-4)
    assert [stage.batch_size for stage in stages] == [16] * 3
    assert [stage.patience for stage in stages] == [30_000] * 3
    assert [stage.patience_start for stage in stages] == [160_000, 1, 1]
    assert all(stage.start_from_best and stage.fresh_optimizer for stage in stages[1:])
    assert setup.training.evaluate_every == 5000
    assert setup.training.score({"mota": 0.25, "rollout_mota": 0.5, "ap": 7.0}) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("step", "frames", "wheels", "log_odds", "noise"),
    [
        (0, 2, 1, 13.82, 1e-3),
        (999, 2, 1, 11.515, 1e-3 * 0.1**0.999),
        (1000, 2, 0, 11.51, 1e-4),
        (3000, 2, 0, 6.91, 1e-6),
        (8000, 2, 0, -3.79, 1e-11),
        (40_000, 4, 0, -4.382, 0),
        (120_000, 8, 0, -4.382, 0),
        (10**6, 8, 0, -4.382, 0),
    ],
)
def test_schedules_of_the_first_stage(experiment, step, frames, wheels, log_odds, noise):
    _, setup = experiment
    settings = setup.training.stages[0].at(step, setup.model.annealed_quantities)
    assert settings["frames"] == frames
    assert settings["annealed"]["training_wheels"] == wheels
    assert settings["annealed"]["count_log_odds"] == pytest.approx(log_odds, abs=0.006)
    assert settings["gradient_noise"] == pytest.approx(noise, rel=1e-3, abs=1e-12)


def test_later_stages_use_all_frames_without_wheels(experiment):
    _, setup = experiment
    for stage in setup.training.stages[1:]:
        for step in (0, 100_000):
            settings = stage.at(step, setup.model.annealed_quantities)
            assert settings["frames"] == 8 and settings["gradient_noise"] == 0
            assert settings["annealed"]["training_wheels"] == 0
            assert settings["annealed"]["count_log_odds"] == pytest.approx(np.log(0.0125), abs=1e-5)


def test_model_of_scattered_mnist(experiment):
    _, setup = experiment
    model = setup.model()
    assert model.num_slots == 16 and tuple(model.anchor) == (48, 48) and model.glimpse_shape == (14, 14)
    assert model.discovery_attention.kernel_std == 0.1 and not model.interacting
    assert model.presence_threshold == 0.5 and model.evaluation_noise
    assert model.discovery_keep_probability == pytest.approx(1 / (1 + np.exp(-0.5)), abs=1e-4)
    assert model.size_prior == pytest.approx((np.log(0.1 / 0.9), 0.5), abs=1e-6)
    renderer = model.renderer
    assert (renderer.colour_scale, renderer.alpha_scale, renderer.alpha_shift) == (2.0, 0.1, 5.0)
    assert renderer.temperature == 0.25 and renderer.sprite_shape == (14, 14)


def test_optimizer_has_the_constants_of_the_authors_framework(experiment):
    _, setup = experiment
    model = setup.model()
    model.build_variables((24, 24, 3))
    trainer = setup.training.make_trainer(model)
    adam = trainer.optimizer
    assert (adam.beta_1, adam.beta_2, adam.epsilon) == (0.9, 0.999, 1e-8)
    assert not trainer._jit_compile and trainer._clip_norm == 10.0 and trainer._loss_weights is None


def test_evaluation_follows_the_protocol(experiment):
    bound = lambda name: gin.query_parameter(f"evaluation.Evaluator.{name}")  # noqa: E731
    assert bound("batch_size") == 16 and bound("rollout_from") == 3 and bound("matching_iou") == 0.5
    np.testing.assert_allclose(bound("detection_thresholds"), np.arange(1, 10) / 10)
    assert gin.query_parameter("baselines.published_foreground_thresholds.count") == 52
    assert gin.query_parameter("evaluation.TunedBaseline.tuning_clips") == 128
