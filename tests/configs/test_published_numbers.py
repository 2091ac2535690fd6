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
    assert not trainer._jit_compile and trainer._clip_norm == 10.0 and trainer._loss_weights == {}


def test_evaluation_follows_the_protocol(experiment):
    bound = lambda name: gin.query_parameter(f"evaluation.Evaluator.{name}")  # noqa: E731
    assert bound("batch_size") == 16 and bound("rollout_from") == 3 and bound("matching_iou") == 0.5
    np.testing.assert_allclose(bound("detection_thresholds"), np.arange(1, 10) / 10)
    assert gin.query_parameter("baselines.published_foreground_thresholds.count") == 52
    assert gin.query_parameter("evaluation.TunedBaseline.tuning_clips") == 128


# Scattered Shapes: file -> (training counts, crop, K, batch size) of appendix B; tests are the same for all.
SHAPES = {
    f"papers/silot/scattered_shapes_{low}_{high}_{name}.gin": ((low, high), *numbers)
    for low, high in ((1, 10), (11, 20), (21, 30))
    for name, numbers in (("crops", ((60, 60), 25, 16)), ("full", (None, 36, 8)))
}


@pytest.fixture(params=SHAPES)
def shapes_experiment(request):
    configuration.load([f"gin_configs/{request.param}"])
    setup = configuration.build(reproduce.experiment.Experiment)
    yield SHAPES[request.param], setup
    gin.clear_config()


def test_data_of_scattered_shapes(shapes_experiment):
    (counts, crop, _, _), setup = shapes_experiment
    data = setup.dataset
    assert data.scene_size == (96, 96) and data.num_frames == 8 and data.num_shapes == counts
    assert data.frame_shape == (*(crop or (96, 96)), 3)
    assert (data.crops is None) == (crop is None) and (crop is None or data.crops.per_clip == 4)
    assert (data.speed, data.train_clips, data.test_clips, data.validation_clips) == (5.0, 60_000, 1000, 128)
    assert list(data.test_conditions.values()) == list(range(1, 36))
    assert len(setup.seeds) == 4


def test_training_of_scattered_shapes(shapes_experiment):
    (_, _, _, batch), setup = shapes_experiment
    stages, quantities = setup.training.stages, setup.model.annealed_quantities
    assert [stage.batch_size for stage in stages] == [batch] * 3 and setup.evaluator.batch_size == batch
    assert [stage.patience for stage in stages] == [30_000] * 3
    assert [stage.patience_start for stage in stages] == [160_000, 1, 1]
    rates = [stage.at(10_000, quantities)["learning_rate"] for stage in stages]
    np.testing.assert_allclose(rates, [1e-4, 1e-4 / 3, 1e-4 / 9], rtol=1e-4)
    first = [stages[0].at(step, quantities) for step in (0, 39_999, 40_000, 120_000)]
    assert [settings["frames"] for settings in first] == [2, 2, 4, 8]
    assert first[0]["annealed"]["count_log_odds"] == pytest.approx(13.82, abs=0.006)
    assert setup.training.score({"mota": 0.25, "rollout_mota": 0.5, "ap": 7.0}) == pytest.approx(0.75)


def test_models_of_scattered_shapes(shapes_experiment):
    (_, _, slots, _), setup = shapes_experiment
    models = setup.model(), setup.test_model()
    assert [model.num_slots for model in models] == [slots, 36]
    for model in models:
        assert tuple(model.anchor) == (48, 48) and model.glimpse_shape == (14, 14) and model.interacting
        assert model.discovery_attention.kernel_std == 0.15 and not model.evaluation_noise
        assert model.presence_threshold == 0.5
        renderer = model.renderer
        assert (renderer.colour_scale, renderer.alpha_scale, renderer.alpha_shift) == (1.0, 1.0, 3.0)
        assert renderer.temperature == 0.25 and renderer.sprite_shape == (14, 14)


def test_tests_of_scattered_shapes(shapes_experiment):
    _, setup = shapes_experiment
    assert setup.test_evaluator.batch_size == 8 and setup.test_evaluator.rollout_from == 3
    assert setup.report is not None
    (baseline,) = setup.baselines
    settings = baseline._baseline.settings
    assert len(settings) == 52 * 27 and {type(setting.cosine) for setting in settings} == {float}
    assert gin.query_parameter("baselines.ConnectedComponents.matching_radius") == 30.0
    assert gin.query_parameter("evaluation.TunedBaseline.tuning_clips") == 128


# Atari: file -> (game, anchor, recorded size, kept size, number of episodes); the last two games are not in the paper.
ATARI = {
    "papers/silot/space_invaders.gin": ("Space Invaders", (24, 24), (210, 160), (195, 160), 37),
    "papers/silot/asteroids.gin": ("Asteroids", (30, 30), (210, 160), (210, 160), 80),
    "papers/silot/carnival.gin": ("Carnival", (24, 24), (214, 160), (214, 160), 40),
    "papers/silot/wizard_of_wor.gin": ("Wizard of Wor", (24, 24), (210, 160), (210, 160), 40),
}


@pytest.fixture(params=ATARI)
def atari_experiment(request):
    configuration.load([f"gin_configs/{request.param}"])
    setup = configuration.build(reproduce.experiment.Experiment)
    yield ATARI[request.param], setup
    gin.clear_config()


def test_data_of_atari(atari_experiment):
    (title, _, recorded, kept, episodes), setup = atari_experiment
    data = setup.dataset
    assert list(data.test_conditions) == [title] and data.frame_shape == (72, 72, 3) and data.num_frames == 8
    assert data.crops.per_clip == 8 and data.kept_size == kept
    bound = lambda name: gin.query_parameter(f"data.AtariClips.{name}")  # noqa: E731
    assert tuple(bound("recorded_size")) == recorded and bound("train_clips") == 60_000
    assert (bound("validation_clips"), bound("test_clips")) == (128, 128)
    assert (bound("train_density"), bound("held_out_density")) == (0.5, 0.05)
    assert (bound("split"), bound("split_seed"), bound("held_out")) == ("shuffled", 4, 0.05)
    assert gin.query_parameter("atari_data.Collection.episodes") == episodes
    assert len(setup.seeds) == 6


def test_numbers_of_the_atari_test_conditions_differ():
    numbers = set()
    for name in ATARI:
        configuration.load([f"gin_configs/{name}"])
        numbers |= set(configuration.build(reproduce.experiment.Experiment).dataset.test_conditions.values())
        gin.clear_config()
    assert len(numbers) == len(ATARI)


def test_training_of_atari(atari_experiment):
    _, setup = atari_experiment
    stages, quantities = setup.training.stages, setup.model.annealed_quantities
    assert [stage.batch_size for stage in stages] == [16] * 3
    assert [stage.patience for stage in stages] == [20_000] * 3
    assert [stage.patience_start for stage in stages] == [100_000, 1, 1]
    rates = [stage.at(10_000, quantities)["learning_rate"] for stage in stages]
    np.testing.assert_allclose(rates, [1e-4, 1e-4 / 3, 1e-4 / 9], rtol=1e-4)
    frames = [stages[0].at(step, quantities)["frames"] for step in (0, 19_999, 20_000, 60_000, 10**6)]
    assert frames == [2, 2, 4, 8, 8]
    score = setup.training.score
    assert score({"reconstruction": 700.0, "mota": 0.5}) == -700 > score({"reconstruction": 701.0, "mota": 0.9})


def test_models_of_atari(atari_experiment):
    (_, anchor, *_), setup = atari_experiment
    models = setup.model(), setup.test_model()
    assert [model.num_slots for model in models] == [36, 128]
    for model in models:
        assert tuple(model.anchor) == anchor and model.glimpse_shape == (14, 14) and not model.interacting
        assert model.discovery_attention.kernel_std == 0.1 and not model.evaluation_noise
        assert model.presence_threshold == 0.05
        renderer = model.renderer
        assert (renderer.colour_scale, renderer.alpha_scale, renderer.alpha_shift) == (2.0, 0.1, 5.0)


@pytest.mark.parametrize(("sprites", "total", "prior"), [(14, 4_421_246, 1_203_127), (21, 6_904_566, 2_005_257)])
def test_atari_network_has_as_many_parameters_as_the_original(sprites, total, prior):
    """Except for the parts of the original's prior that no input reaches (appendix A)."""
    bindings = [f"silot.SILOT.glimpse_shape = ({sprites}, {sprites})"]
    configuration.load(["gin_configs/papers/silot/space_invaders.gin"], bindings)
    for constructor in ("model", "test_model"):
        model = getattr(configuration.build(reproduce.experiment.Experiment), constructor)()
        model.build_variables((72, 72, 3))
        count = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
        assert count == total - (prior - 247_643)
    gin.clear_config()


def test_tests_of_atari(atari_experiment):
    _, setup = atari_experiment
    assert setup.evaluator.batch_size == 16 and setup.test_evaluator.batch_size == 8
    assert setup.test_evaluator.rollout_from == 3 and setup.test_evaluator.scores.presence_thresholds == (0.5,)
    assert not setup.baselines and setup.report is not None
