"""Numbers of particles, objects and frames that cannot be: one line each that names what to bind differently."""

import re

import gin
import numpy as np
import pytest

import reproduce.experiment
import silot_tf.training  # noqa: F401
from silot_tf import configuration
from silot_tf.errors import UserError

FILE = "gin_configs/smoke/sqair_mnist.gin"


@pytest.fixture(autouse=True)
def _leave_no_configuration():
    yield
    gin.clear_config()


def build(*bindings, file=FILE):
    configuration.load([file], bindings)
    setup = configuration.build(reproduce.experiment.Experiment)
    return setup, configuration.build(setup.model)


@pytest.mark.parametrize(
    ("binding", "file"),
    [
        ("sqair.SQAIR.num_particles = 0", FILE),
        ("sqair.SQAIR.count_prior = (.5, .5)", FILE),  # two slots: three probabilities
        ("sqair.SQAIR.forced_count = 3", FILE),
        ("air.AIR.num_particles = 0", "gin_configs/smoke/sqair_mnist_air.gin"),
        ("vrnn.VRNN.particles = 0", "gin_configs/smoke/sqair_mnist_vrnn.gin"),
        ("evaluation.Likelihood.particles = 0", FILE),
        ("evaluation.LabelSums.training_clips = 0", FILE),
        ("reproduce.Experiment.validation_batches = 0", FILE),
        ("training.RMSProp.momentum = 1.5", FILE),
    ],
)
def test_number_is_refused_in_one_line_with_its_name(binding, file):
    scoped = f"test/{binding}" if "Likelihood" in binding else binding
    with pytest.raises(UserError) as caught:
        setup, model = build(scoped, file=file)
        model.build_variables(setup.dataset.frame_shape)
        gin.get_configurable("training.RMSProp")()
    message = configuration.one_line_if_from_gin(str(caught.value))
    name = binding.split(" = ")[0].removeprefix("reproduce.")
    assert re.search(rf"{re.escape(name)}\b", message) and "\n" not in message, message
    assert "expected" in message


def test_clips_shorter_than_the_curriculum_are_refused_before_training(tmp_path):
    setup, model = build("schedules.FrameCurriculum.maximum = 4", "schedules.FrameCurriculum.every = 1")
    with pytest.raises(UserError, match=r"training\.Stage\.frames of stage 0 .*FrameCurriculum\.maximum") as caught:
        setup.training.run(model, setup.dataset, tmp_path, seed=0, evaluate=lambda model: {"bound": 0.0})
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_more_objects_than_slots_cannot_be_told():
    _, model = build("sqair.SQAIR.forced_count = 'told'")
    model.initial_state(2, object_count=np.array([0, 2]))
    with pytest.raises(UserError, match=r"3 objects and sqair\.SQAIR\.num_slots is 2"):
        model.initial_state(2, object_count=np.array([0, 3]))
