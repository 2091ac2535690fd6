"""Every gin file parses, every experiment can be built, and mistakes say where they are."""

import importlib.resources
import inspect
import pathlib

import gin
import keras
import numpy as np
import pytest
import tensorflow as tf

# What the programs import before they read a configuration.
import reproduce.experiment
import silot_tf.training  # noqa: F401
from silot_tf import configuration
from silot_tf.errors import UserError

FOLDER = pathlib.Path(str(importlib.resources.files("gin_configs")))
FILES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.gin"))
COMPLETE = "reproduce.Experiment.dataset"  # a file that binds it is an experiment, any other is meant to be included


@pytest.fixture(autouse=True)
def _leave_no_configuration():
    yield
    gin.clear_config()


def load(name, *bindings):
    """Load a file of the package, with what a file that is meant to be included leaves to be set."""
    try:
        configuration.load([f"gin_configs/{name}"], bindings)
    except UserError as error:
        if "%MODEL has no value" not in str(error):
            raise
        configuration.load([f"gin_configs/{name}"], ["MODEL = None", *bindings])


def is_experiment(name) -> bool:
    try:
        configuration.load([f"gin_configs/{name}"])
        gin.query_parameter(COMPLETE)
    except (ValueError, UserError):  # not bound, or no model; or a file with a mistake, which the next tests tell
        return False
    finally:
        gin.clear_config()
    return True


EXPERIMENTS = [name for name in FILES if is_experiment(name)]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Run outside of the checkout, with no data anywhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SILOT_TF_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SILOT_TF_DATA_DIR", str(tmp_path / "no_data"))
    return tmp_path


def test_there_are_experiments_of_every_size():
    assert len(FILES) >= 10
    for folder in ("papers", "quick", "smoke"):
        assert [name for name in EXPERIMENTS if name.startswith(f"{folder}/")], folder


@pytest.mark.parametrize("name", FILES)
def test_file_parses_from_any_working_directory(name, elsewhere):
    load(name)
    assert configuration.bound().strip()


@pytest.mark.parametrize("name", FILES)
def test_what_is_bound_can_be_written_and_read_back(name, elsewhere):
    load(name)
    text = configuration.bound()
    path = elsewhere / "config.gin"
    path.write_text(text)
    configuration.load([str(path)])
    assert configuration.differences(text, configuration.bound(), ()) == []


def build_tiny(setup):
    """The model of an experiment at the experiment's frame size, and its outputs for one clip."""
    model = setup.model()
    model.build_variables(setup.dataset.frame_shape)
    outputs, _ = model.unroll(tf.zeros([1, 1, *setup.dataset.frame_shape]), seed=tf.constant([0, 0]))
    return model, outputs


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_builds_without_data(name, elsewhere):
    """Data set, model, evaluator, baselines, report and stages; nothing is generated, downloaded or written."""
    load(name)
    setup = configuration.build(reproduce.experiment.Experiment)
    assert len(setup.dataset.frame_shape) == 3 and setup.dataset.num_frames >= 1 and setup.dataset.test_conditions
    assert setup.dataset.condition_label and len(set(setup.seeds)) == len(setup.seeds) >= 1
    assert setup.report is None or callable(setup.report.write)
    quantities = setup.model.annealed_quantities
    for stage in setup.training.stages:
        for step in (0, 1, 1000, 10**6):
            # Refuses quantities that the model does not have.
            settings = stage.at(min(step, stage.max_updates or step), quantities)
            assert 1 <= settings["frames"] <= setup.dataset.num_frames
            assert all(np.isfinite(value) for value in (settings["learning_rate"], *settings["annealed"].values()))
    assert not list(elsewhere.rglob("*"))


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name.startswith("papers/")])
def test_published_model_builds_at_the_size_of_its_frames(name, elsewhere):
    load(name)
    model, outputs = build_tiny(configuration.build(reproduce.experiment.Experiment))
    assert isinstance(model, keras.Model) and model.trainable_variables
    assert np.all(np.isfinite(outputs["reconstruction"]))
    assert not list(elsewhere.rglob("*"))


def registered():
    """Everything of ours that gin can bind."""
    found = {}
    for selector, entry in gin.config._REGISTRY.items():
        target = entry.wrapped
        if target.__module__.split(".")[0] in ("silot_tf", "reproduce"):
            found[selector] = target
    assert len(found) > 15
    return found


def test_nothing_that_gin_binds_swallows_unknown_arguments():
    """With `**kwargs` a misspelt binding would pass; so it would for a class without a constructor of its own."""
    swallowing = []
    for selector, target in registered().items():
        kinds = {parameter.kind for parameter in inspect.signature(target).parameters.values()}
        if inspect.Parameter.VAR_KEYWORD in kinds:
            swallowing.append(selector)
    assert not swallowing


def test_macros_are_written_in_capitals_and_given_once():
    for name in FILES:
        lines = (FOLDER / name).read_text().splitlines()
        macros = [line.split("=")[0].strip() for line in lines if "=" in line and line[:1].isalpha()]
        macros = [macro for macro in macros if "." not in macro]
        assert all(macro == macro.upper() for macro in macros), name
        assert len(set(macros)) == len(macros), name


def test_every_file_begins_with_what_it_is():
    for name in FILES:
        assert (FOLDER / name).read_text().startswith("# "), name


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("data.ScatteredMnist.num_digit = (1, 3)", "num_digit"),
        ("data.ScatterdMnist.num_digits = (1, 3)", "ScatterdMnist"),
        ("silot.SILOT.slots = 3", "slots"),
        ("data.ScatteredMnist.num_digits = (1, three)", "three"),
        ("data.ScatteredMnist.source = @data.NoDigits()", "NoDigits"),
        ("data.ScatteredMnist.num_frames = %FRAMS", "FRAMS"),
        ("import silot_tf.data.scatered_mnist", "scatered_mnist"),
        ("include 'gin_configs/datasets/scatered_mnist.gin'", "scatered_mnist.gin"),
    ],
)
def test_mistake_is_one_line_with_file_and_line_number(tmp_path, line, complaint):
    path = tmp_path / "mistaken.gin"
    path.write_text(f"include 'gin_configs/quick/scattered_mnist.gin'\n\n{line}\n")
    with pytest.raises(UserError) as caught:
        configuration.load([str(path)])
    message = str(caught.value)
    assert complaint in message and "mistaken.gin" in message and "\n" not in message
    assert "line 3" in message or "include" in line, message


def test_mistake_in_a_parameter_of_the_command_line_quotes_it():
    binding = "silot.SILOT.number_of_slots = 3"
    with pytest.raises(UserError, match="number_of_slots") as caught:
        configuration.load(["gin_configs/quick/scattered_mnist.gin"], [binding])
    assert "--gin_param" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file_is_told_with_those_that_exist():
    with pytest.raises(UserError, match=r"quick/scattered_mnist\.gin"):
        configuration.load(["gin_configs/quik/scattered_mnist.gin"])
