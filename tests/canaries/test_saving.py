"""Traps of saving and restoring. Rules: save an explicit list of variables; build everything first, then restore."""

import keras
import numpy as np
import pytest
import tensorflow as tf


class Holder(keras.Model):
    """Layers kept in every way that Python offers."""

    def __init__(self):
        super().__init__()
        self.attribute = keras.layers.Dense(1)
        self.in_list = [keras.layers.Dense(1)]
        self.in_dict = {"key": keras.layers.Dense(1)}
        self.in_tuple = (keras.layers.Dense(1),)
        self.sequential = keras.Sequential([keras.layers.Dense(1)])

    def call(self, x):
        layers = (self.attribute, *self.in_list, *self.in_dict.values(), *self.in_tuple, self.sequential)
        return tf.add_n([layer(x) for layer in layers])


class OneLayer(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def call(self, x):
        return self.dense(x)


def built(model):
    model(tf.zeros([1, 2]))
    return model


def saved_names(path):
    return [name for name, _ in tf.train.list_variables(str(path)) if not name.startswith("_")]


def test_checkpoint_of_a_model_skips_layers_in_lists_and_dictionaries_silently(tmp_path):
    """Layers in tuples, attributes and Sequential are saved; Keras itself knows all of them."""
    model = built(Holder())
    assert len(model.variables) == 10
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "model"))
    kept = {name.split("/")[1] for name in saved_names(path)}
    assert kept == {"attribute", "in_tuple", "sequential"}


def test_checkpoint_of_the_list_of_variables_skips_nothing(tmp_path):
    model, other = built(Holder()), built(Holder())
    path = tf.train.Checkpoint(variables=model.variables).write(str(tmp_path / "variables"))
    assert len(saved_names(path)) == 10
    tf.train.Checkpoint(variables=other.variables).restore(path)
    for a, b in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("whole_model", [True, False])
def test_restoring_before_building_loads_nothing_and_does_not_complain(tmp_path, whole_model):
    content = (lambda m: {"model": m}) if whole_model else (lambda m: {"variables": m.variables})
    model = built(OneLayer())
    model.dense.kernel.assign([[7.0], [7.0]])
    path = tf.train.Checkpoint(**content(model)).write(str(tmp_path / "saved"))

    early = OneLayer()
    tf.train.Checkpoint(**content(early)).restore(path)
    assert not np.any(built(early).dense.kernel == 7.0)

    late = built(OneLayer())
    tf.train.Checkpoint(**content(late)).restore(path)
    np.testing.assert_array_equal(late.dense.kernel, [[7.0], [7.0]])


@pytest.mark.parametrize("build_first", [True, False])
def test_moments_of_an_optimizer_are_lost_when_restored_before_building(tmp_path, build_first):
    """The number of updates is restored, so it looks right."""
    model, optimizer = built(OneLayer()), keras.optimizers.Adam()
    optimizer.apply([tf.ones([2, 1]), tf.ones([1])], model.trainable_variables)
    path = tf.train.Checkpoint(model=model, optimizer=optimizer).write(str(tmp_path / "both"))
    other, other_optimizer = OneLayer(), keras.optimizers.Adam()
    if build_first:
        other_optimizer.build(built(other).trainable_variables)
    tf.train.Checkpoint(model=other, optimizer=other_optimizer).restore(path)
    if not build_first:
        other_optimizer.build(built(other).trainable_variables)
    assert int(other_optimizer.iterations) == 1
    moment_of_the_bias = [v for v in other_optimizer.variables if v.path.endswith("bias_momentum")][-1]
    assert float(moment_of_the_bias[0]) == pytest.approx(0.1 if build_first else 0.0)


def test_weights_files_of_keras_refuse_a_model_that_is_not_built(tmp_path):
    path = str(tmp_path / "saved.weights.h5")
    built(OneLayer()).save_weights(path)
    with pytest.raises(ValueError, match="not yet been built"):
        OneLayer().load_weights(path)


def test_state_of_a_seed_generator_is_lost_and_that_of_a_random_generator_is_kept(tmp_path):
    """Rule: stateless seeds passed in. Keras' own weights files do keep the state of seed generators."""

    class Noisy(keras.Model):
        def __init__(self):
            super().__init__()
            self.seed_generator = keras.random.SeedGenerator(1)

        def call(self, x):
            return x + keras.random.normal([2], seed=self.seed_generator)

    def run(times):
        model, generator = Noisy(), tf.random.Generator.from_seed(1)
        for _ in range(times):
            model(tf.zeros([1, 2]))
            generator.normal([2])
        return model, generator

    model, generator = run(times=3)
    path = tf.train.Checkpoint(model=model, generator=generator).write(str(tmp_path / "saved"))
    assert {name.split("/")[0] for name in saved_names(path)} == {"generator"}
    other, other_generator = run(times=1)
    tf.train.Checkpoint(model=other, generator=other_generator).restore(path)
    np.testing.assert_array_equal(other_generator.state, generator.state)
    assert np.any(other.seed_generator.state.numpy() != model.seed_generator.state.numpy())


def test_modules_do_not_see_the_variables_of_keras_layers():
    """Rule: no Keras layers inside `tf.Module`, except in an export shell that lists variables itself."""

    class Shell(tf.Module):
        def __init__(self):
            super().__init__()
            self.layer = keras.layers.Dense(1)
            self.layer(tf.zeros([1, 2]))
            self.own = tf.Variable(1.0)

    shell = Shell()
    assert len(shell.layer.variables) == 2
    assert [v is shell.own for v in shell.variables] == [True]
    assert not isinstance(shell.layer.kernel, tf.Variable)
