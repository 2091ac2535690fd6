"""Filtering of particles against exact enumeration on a hidden Markov model with two states."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.ops import importance, particle_filter, seeds

# Three frames; `EMISSION[t, z]` is p(x_t | z_t) of the frames seen.
START, MOVE = np.array([0.7, 0.3]), np.array([[0.8, 0.2], [0.35, 0.65]])
EMISSION = np.array([[0.9, 0.05], [0.1, 0.7], [0.4, 0.3]])
PROPOSAL = np.array([[0.5, 0.5], [0.75, 0.25]])  # q(z_t | z_{t-1}), not the prior


def likelihood() -> float:
    forward = START * EMISSION[0]
    for emission in EMISSION[1:]:
        forward = (forward @ MOVE) * emission
    return float(forward.sum())


def all_runs(threshold: float):
    """Probability and bound of every possible run of the filter with two particles, by walking through all of them."""
    particles = 2
    pairs = np.array(list(itertools.product(range(2), repeat=particles)))  # of states, and of ancestors
    probability, z, bound = np.ones(1), None, np.zeros(1)
    log_weights = particle_filter.initial_log_weights(1, particles)
    resampled_runs = 0.0
    for emission in EMISSION:
        # Branch over the new states of both particles.
        rows = len(probability)
        choice = np.tile(pairs, (rows, 1))
        probability, bound = np.repeat(probability, 4), np.repeat(bound, 4)
        log_weights = tf.repeat(log_weights, 4, axis=0)
        if z is None:
            q, p = np.full(choice.shape, 0.5), START[choice]
        else:
            before = np.repeat(z, 4, axis=0)
            q, p = PROPOSAL[before, choice], MOVE[before, choice]
        probability, z = probability * q.prod(1), choice
        alpha = np.log(p * emission[z] / q).astype(np.float32)
        increment, log_weights = particle_filter.advance(log_weights, alpha)
        bound = bound + increment.numpy()
        np.testing.assert_allclose(tf.reduce_logsumexp(log_weights, -1), 0, atol=1e-5)

        # Branch over the ancestors: a draw in the middle of the part of [0, 1] that belongs to a particle.
        ancestor = np.tile(pairs, (len(probability), 1))
        probability, bound, z = np.repeat(probability, 4), np.repeat(bound, 4), np.repeat(z, 4, axis=0)
        log_weights = tf.repeat(log_weights, 4, axis=0)
        omega = np.exp(log_weights.numpy().astype(np.float64))
        omega /= omega.sum(1, keepdims=True)
        ends = np.cumsum(omega, 1)
        middle = np.take_along_axis(ends - omega / 2, ancestor, 1)
        found, resampled = particle_filter.ancestors(log_weights, middle.astype(np.float32), threshold)
        found, resampled = found.numpy(), resampled.numpy()
        np.testing.assert_array_equal(resampled, 1 / (omega**2).sum(1) < threshold * particles)
        np.testing.assert_array_equal(found[resampled], ancestor[resampled])
        np.testing.assert_array_equal(found[~resampled], np.tile([0, 1], ((~resampled).sum(), 1)))
        drawn = np.take_along_axis(omega, ancestor, 1).prod(1)
        probability *= np.where(resampled, drawn, 1 / 4)
        resampled_runs += probability @ resampled
        z = np.take_along_axis(z, found, 1)
        log_weights = particle_filter.after_resampling(log_weights, resampled)
    assert probability.sum() == pytest.approx(1)
    return probability, bound, resampled_runs


@pytest.mark.parametrize(("threshold", "resampled"), [(0.0, "never"), (0.8, "sometimes"), (2.0, "always")])
def test_expected_exponential_of_the_bound_is_the_likelihood(threshold, resampled):
    probability, bound, frequency = all_runs(threshold)
    assert probability @ np.exp(bound) == pytest.approx(likelihood(), rel=1e-5)
    assert probability @ bound < np.log(likelihood())
    expected = {"never": frequency == 0, "sometimes": 0 < frequency < 2.9, "always": frequency == pytest.approx(3)}
    assert expected[resampled], frequency


def test_without_resampling_the_bound_is_that_of_whole_sequences():
    alpha = np.random.default_rng(0).normal(0, 3, (5, 2, 7)).astype(np.float32)
    log_weights, bound = particle_filter.initial_log_weights(2, 7), 0.0
    for contributed in alpha:
        increment, log_weights = particle_filter.advance(log_weights, contributed)
        bound += increment
    np.testing.assert_allclose(bound, importance.iwae_bound(alpha.sum(0)), rtol=1e-5)


def test_ancestors_come_as_often_as_their_weights_say():
    weights = np.array([[0.05, 0.6, 0.0, 0.35]])
    log_weights = tf.constant(np.log(np.maximum(weights, 1e-30)), tf.float32)
    rows = tf.repeat(log_weights, 5000, axis=0)
    ancestor, resampled = particle_filter.ancestors(rows, seeds.uniform([5000, 4], tf.constant([1, 2])), 2.0)
    assert np.all(resampled)
    share = np.bincount(ancestor.numpy().ravel(), minlength=4) / 20_000
    np.testing.assert_allclose(share, weights[0], atol=0.015)
    # Each is drawn for itself.
    assert abs(np.corrcoef(ancestor.numpy()[:, 0] == 1, ancestor.numpy()[:, 1] == 1)[0, 1]) < 0.05


def test_only_sequences_below_the_threshold_are_resampled():
    log_weights = tf.constant([[0.0, 0.0, 0.0, 0.0], [0.0, -9.0, -9.0, -9.0], [0.0, 0.0, -9.0, -9.0]])
    ancestor, resampled = particle_filter.ancestors(log_weights, tf.fill([3, 4], 0.1), 0.5)
    np.testing.assert_array_equal(resampled, [False, True, False])
    np.testing.assert_array_equal(ancestor, [[0, 1, 2, 3], [0, 0, 0, 0], [0, 1, 2, 3]])
    after = particle_filter.after_resampling(log_weights, resampled).numpy()
    np.testing.assert_allclose(after[1], -np.log(4))
    np.testing.assert_array_equal(after[[0, 2]], log_weights.numpy()[[0, 2]])


def test_particles_continue_their_ancestors_state_and_gradients_go_with_it():
    values = tf.Variable(np.arange(12, dtype=np.float32).reshape(6, 2))
    ancestor = tf.constant([[2, 2, 0], [0, 1, 1]])
    with tf.GradientTape() as tape:
        continued = particle_filter.continue_from(ancestor, {"state": values + 0})["state"]
        total = tf.reduce_sum(continued)
    np.testing.assert_array_equal(continued[:, 0] / 2, [2, 2, 0, 3, 4, 4])
    gradient = tf.convert_to_tensor(tape.gradient(total, values))
    np.testing.assert_array_equal(gradient[:, 0], [1, 0, 2, 1, 2, 0])


def test_nothing_is_drawn_outside_of_the_particles_at_the_ends_of_the_unit_interval():
    log_weights = tf.math.log(tf.constant([[0.1] * 10]))
    for draw, expected in ((1e-8, 0), (1 - 6e-8, 9)):
        ancestor, _ = particle_filter.ancestors(log_weights, tf.fill([1, 10], draw), 2.0)
        assert set(ancestor.numpy().ravel()) == {expected}


def test_gradient_does_not_pass_through_weights_after_resampling():
    log_weights = tf.Variable([[0.0, -5.0]])
    with tf.GradientTape() as tape:
        _, resampled = particle_filter.ancestors(log_weights, tf.fill([1, 2], 0.3), 2.0)
        after = particle_filter.after_resampling(log_weights, resampled)
    assert np.all(tape.gradient(after, log_weights).numpy() == 0)
