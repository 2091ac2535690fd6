import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from silot_tf.errors import UserError
from silot_tf.training import optimizers


def adam_of_tensorflow_1(value, gradients, rates, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
    """The formula of tf.compat.v1.train.AdamOptimizer, in float64."""
    m = v = 0.0
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        rate_t = rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        m = beta_1 * m + (1 - beta_1) * gradient
        v = beta_2 * v + (1 - beta_2) * gradient**2
        value = value - rate_t * m / (np.sqrt(v) + epsilon)
    return value


def run(optimizer, start, gradients, rates):
    variable = keras.Variable(start)
    optimizer.build([variable])
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.learning_rate.assign(rate)
        optimizer.apply([tf.constant(gradient)], [variable])
    return np.asarray(variable)


def make_case():
    random = np.random.default_rng(0)
    start = random.normal(size=7).astype(np.float32)
    # From large to so small that epsilon decides: its place in the formula matters there.
    scales = np.float32([1e3, 1, 1e-2, 1e-6, 1e-8, 1e-9, 0])
    gradients = (random.normal(size=(20, 7)) * scales).astype(np.float32)
    return start, gradients, np.linspace(1e-2, 1e-3, 20)


def test_adam_follows_the_formula_of_tensorflow_1():
    start, gradients, rates = make_case()
    expected = adam_of_tensorflow_1(start.astype(np.float64), gradients.astype(np.float64), rates)
    change = run(optimizers.Adam(), start, gradients, rates) - start
    np.testing.assert_allclose(change, expected - start, rtol=2e-4, atol=3e-7)
    assert np.abs(change[4]) > 1e-4 and np.abs(change[5]) > 1e-5  # epsilon was tried


def test_keras_adam_with_the_same_epsilon_has_the_same_formula():
    start, gradients, rates = make_case()
    ours = run(optimizers.Adam(), start, gradients, rates)
    keras_adam = run(keras.optimizers.Adam(epsilon=1e-8), start, gradients, rates)
    np.testing.assert_allclose(ours, keras_adam, rtol=1e-5, atol=3e-7)


def test_an_epsilon_in_the_corrected_root_would_be_noticed():
    start, gradients, rates = make_case()
    wrong = start.astype(np.float64)
    m = v = 0.0
    for t, (gradient, rate) in enumerate(zip(gradients.astype(np.float64), rates, strict=True), start=1):
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        wrong = wrong - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    assert np.abs(run(optimizers.Adam(), start, gradients, rates) - wrong).max() > 1e-3


def test_reset_forgets_moments_and_bias_correction():
    start, gradients, rates = make_case()
    variable = keras.Variable(start)
    optimizer = optimizers.Adam()
    optimizer.build([variable])
    optimizer.apply([tf.constant(gradients[0])], [variable])
    optimizers.reset(optimizer)
    variable.assign(start)
    assert int(optimizer.iterations) == 0
    optimizer.learning_rate.assign(rates[1])
    optimizer.apply([tf.constant(gradients[1])], [variable])
    expected = adam_of_tensorflow_1(start.astype(np.float64), gradients[1:2].astype(np.float64), rates[1:2])
    np.testing.assert_allclose(np.asarray(variable) - start, expected - start, rtol=1e-3, atol=3e-7)


def test_noise_is_truncated_scaled_and_left_out_when_it_cannot_matter():
    gradients = [tf.zeros([300, 10]), tf.ones([1000])]
    noisy = optimizers.add_noise(gradients, tf.constant(0.5), tf.constant([1, 2]))
    sample = np.concatenate([np.ravel(noisy[0]), np.ravel(noisy[1]) - 1])
    assert np.abs(sample).max() <= 1.0 + 1e-6
    # the standard deviation of a normal distribution cut at two deviations is 0.8796
    np.testing.assert_allclose(sample.std(), 0.5 * 0.8796, rtol=0.03)
    assert abs(sample.mean()) < 0.03
    for std in (0.0, 1e-11):
        kept = optimizers.add_noise(gradients, tf.constant(std), tf.constant([1, 2]))
        np.testing.assert_array_equal(kept[0], gradients[0])


def test_truncated_normal_draws_follow_the_distribution():
    draws = optimizers.truncated_normal(200_001, tf.constant([3, 4])).numpy()
    assert draws.shape == (200_001,)
    assert stats.kstest(draws, stats.truncnorm(-2, 2).cdf).pvalue > 0.01
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.01
    compiled = tf.function(optimizers.truncated_normal, jit_compile=True)
    np.testing.assert_array_equal(compiled(1001, tf.constant([3, 4])), optimizers.truncated_normal(1001, (3, 4)))


def rmsprop_of_tensorflow_1(value, gradients, rates, rho=0.9, momentum=0.9, epsilon=1e-10, start=1.0):
    """The formula of tf.compat.v1.train.RMSPropOptimizer, in float64."""
    v, u = start, 0.0
    for gradient, rate in zip(gradients, rates, strict=True):
        v = rho * v + (1 - rho) * gradient**2
        u = momentum * u + rate * gradient / np.sqrt(v + epsilon)
        value = value - u
    return value


def test_rmsprop_follows_the_formula_of_tensorflow_1():
    start, gradients, rates = make_case()
    expected = rmsprop_of_tensorflow_1(start.astype(np.float64), gradients.astype(np.float64), rates)
    found = run(optimizers.RMSProp(), start, gradients, rates)
    np.testing.assert_allclose(found - start, expected - start, rtol=2e-4, atol=3e-7)


def test_rmsprop_is_what_tensorflow_1_does():
    start, gradients, rates = make_case()
    variable = tf.Variable(start)
    rate = tf.Variable(0.0)
    original = tf.compat.v1.train.RMSPropOptimizer(rate, momentum=0.9)
    for gradient, value in zip(gradients, rates, strict=True):
        rate.assign(value)
        original.apply_gradients([(tf.constant(gradient), variable)])
    np.testing.assert_allclose(run(optimizers.RMSProp(), start, gradients, rates), variable, rtol=1e-6, atol=1e-7)


def test_rmsprop_of_keras_starts_elsewhere():
    """With its own second moment at 0 ours is Keras' formula; with TensorFlow 1's, first updates are far smaller."""
    start, gradients, rates = make_case()
    theirs = run(keras.optimizers.RMSprop(rho=0.9, momentum=0.9, epsilon=1e-10), start, gradients, rates)
    zero = run(optimizers.RMSProp(initial_second_moment=0.0), start, gradients, rates)
    np.testing.assert_allclose(zero, theirs, rtol=1e-5, atol=3e-7)
    ours = run(optimizers.RMSProp(), start, gradients, rates)
    assert np.abs(ours - start)[3] < 1e-3 * np.abs(theirs - start)[3]  # gradients of a millionth


def test_reset_of_rmsprop_puts_the_second_moment_back_to_one():
    start, gradients, rates = make_case()
    variable, optimizer = keras.Variable(start), optimizers.RMSProp()
    optimizer.build([variable])
    optimizer.learning_rate.assign(0.25)
    optimizer.apply([tf.constant(gradients[0])], [variable])
    optimizers.reset(optimizer)
    assert int(optimizer.iterations) == 0 and float(optimizer.learning_rate) == 0.25
    variable.assign(start)
    optimizer.learning_rate.assign(rates[1])
    optimizer.apply([tf.constant(gradients[1])], [variable])
    expected = rmsprop_of_tensorflow_1(start.astype(np.float64), gradients[1:2].astype(np.float64), rates[1:2])
    np.testing.assert_allclose(np.asarray(variable) - start, expected - start, rtol=1e-3, atol=3e-7)


@pytest.mark.parametrize(
    ("name", "value"), [("rho", 1.0), ("momentum", -0.1), ("epsilon", 0.0), ("initial_second_moment", -1.0)]
)
def test_constants_of_rmsprop_out_of_range_are_refused(name, value):
    with pytest.raises(UserError, match=rf"training\.RMSProp\.{name}"):
        optimizers.RMSProp(**{name: value})
