"""Traps of the packages around TensorFlow: gin, TensorFlow Probability, tf_keras, motmetrics, TensorBoard, ALE."""

import subprocess
import sys

import gin
import keras
import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(autouse=True)
def _leave_no_configuration():
    yield
    gin.clear_config()


@gin.register(module="canary")
class Registered(keras.layers.Layer):
    def __init__(self, units=1, name=None):
        super().__init__(name=name)
        self.units = units


@gin.configurable(module="canary")
class Wrapped(keras.layers.Layer):
    def __init__(self, units=1, name=None):
        super().__init__(name=name)
        self.units = units


@gin.configurable(module="canary")
def take(thing):
    return thing


def test_wrapping_a_keras_class_for_gin_breaks_its_constructor():
    """`@gin.configurable` replaces `__init__`, whose arguments Keras 3 inspects."""
    with pytest.raises(IndexError):
        Wrapped()


def test_registering_a_keras_class_for_gin_works_by_reference_and_leaves_it_untouched():
    gin.parse_config("canary.Registered.units = 3\ncanary.take.thing = @canary.Registered()")
    configured = take()
    assert isinstance(configured, Registered) and configured.units == 3
    assert Registered().units == 1


def test_references_without_brackets_make_a_new_object_at_each_call():
    gin.parse_config("canary.Registered.units = 3\ncanary.take.thing = @canary.Registered")
    first, second = take()(), take()()
    assert first is not second and first.units == second.units == 3


def test_gin_tf_does_not_import():
    with pytest.raises(AttributeError, match="estimator"):
        import gin.tf  # noqa: F401


def test_layers_of_tensorflow_probability_are_no_keras_layers():
    """They belong to tf_keras; only `tfp.distributions` is used."""
    import tensorflow_probability as tfp

    layer = tfp.layers.DenseFlipout(1)
    assert not isinstance(layer, keras.layers.Layer)
    with pytest.raises(ValueError, match=r"Only instances of `keras.Layer`"):
        keras.Sequential([layer])


def test_variables_of_tf_keras_layers_are_invisible_to_keras_models():
    """They compute, and never learn."""
    import tf_keras

    class Mixed(keras.Model):
        def __init__(self):
            super().__init__()
            self.ours, self.theirs = keras.layers.Dense(1), tf_keras.layers.Dense(1)

        def call(self, x):
            return self.ours(self.theirs(x))

    model = Mixed()
    model(tf.zeros([1, 2]))
    assert len(model.theirs.variables) == 2
    assert len(model.variables) == 2 and not any(v is w for v in model.variables for w in model.theirs.variables)


def test_tf_keras_is_another_package_than_the_keras_of_tensorflow():
    import tf_keras

    assert tf.keras.layers.Dense is keras.layers.Dense
    assert tf_keras.layers.Dense is not keras.layers.Dense


def test_overlaps_of_motmetrics_need_an_older_numpy():
    """Rule: overlaps from `ops.boxes`, then its accumulator."""
    import motmetrics

    assert np.lib.NumpyVersion(np.__version__) >= "2.0.0"
    box = np.array([[0.0, 0.0, 1.0, 1.0]])
    with pytest.raises(AttributeError, match="asfarray"):
        motmetrics.distances.iou_matrix(box, box)
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    accumulator.update([1], [2], [[0.0]])
    assert list(accumulator.mot_events["Type"]) == ["MATCH"]


def test_summaries_need_tensorboard_which_tensorflow_does_not_install(tmp_path):
    """A writer can be made without it; the first scalar fails."""
    program = f"""
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tensorboard":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hide())
import tensorflow as tf

with tf.summary.create_file_writer({str(tmp_path)!r}).as_default():
    try:
        tf.summary.scalar("a", 1.0, step=0)
    except Exception as error:
        print(type(error).__name__)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "TBNotInstalledError"


@pytest.mark.atari
def test_atari_games_appear_only_after_their_package_is_imported():
    pytest.importorskip("ale_py")
    pytest.importorskip("gymnasium")
    program = """
import gymnasium
try:
    gymnasium.make("ALE/Pong-v5")
except gymnasium.error.Error:
    print("missing")
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "missing"
    program = "import ale_py, gymnasium; gymnasium.make('ALE/Pong-v5')"
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
