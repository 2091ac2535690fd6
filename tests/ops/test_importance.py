"""Bounds and their gradients against exact enumeration, quadrature and the authors' numbers."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.ops import importance

GOLDEN = Path(__file__).parents[1] / "golden" / "sqair" / "objective.npz"
LOG_JOINT = np.log([0.125, 0.25])  # log p(x, z) of the toy model with one binary latent
PUBLISHED = {2: (-0.9898599, 0.0472662, 0.0486636), 3: (-0.9867857, 0.0310740, 0.0331947)}
PUBLISHED[5] = (-0.9843678, 0.0183839, 0.0211649)


def enumerated(particles: int, phi: float, surrogate=None):
    """Every outcome of K binary latents: probability `[2^K]`, bound `[2^K]` and its gradient estimate `[2^K]`.

    `surrogate` is a function of log-weights and log-probabilities of the latents; None for the bound alone.
    """
    z = tf.constant(list(itertools.product([0, 1], repeat=particles)), tf.int32)
    logit = tf.fill([z.shape[0], 1], tf.constant(phi, tf.float64))
    with tf.GradientTape() as tape:
        tape.watch(logit)
        log_q = tf.where(z == 1, -tf.nn.softplus(-logit), -tf.nn.softplus(logit))
        log_weights = tf.gather(tf.constant(LOG_JOINT), z) - log_q
        bound = objective = importance.iwae_bound(log_weights)
        if surrogate is not None:
            objective += surrogate(log_weights, log_q)
        total = tf.reduce_sum(objective)
    gradient = tape.gradient(total, logit)[:, 0]
    return tf.exp(tf.reduce_sum(log_q, axis=1)).numpy(), bound.numpy(), gradient.numpy()


def expected_bound(particles: int, phi: float) -> float:
    probability, bound, _ = enumerated(particles, phi)
    return float(probability @ bound)


def estimator(form):
    return lambda log_weights, log_q: importance.vimco_surrogate(log_weights, log_q, form)


def plain_score_function(log_weights, log_q):
    bound = tf.stop_gradient(importance.iwae_bound(log_weights))
    return bound * tf.reduce_sum(log_q, axis=-1)


@pytest.mark.parametrize("particles", PUBLISHED)
def test_expected_estimates_by_enumeration_are_those_of_the_table(particles):
    """Specification 11.6."""
    bound, exact, release = PUBLISHED[particles]
    assert expected_bound(particles, 0.3) == pytest.approx(bound, abs=1e-7)
    for form, expected in (("exact", exact), ("release", release)):
        probability, _, gradient = enumerated(particles, 0.3, estimator(form))
        assert probability.sum() == pytest.approx(1)
        assert probability @ gradient == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("surrogate", [estimator("exact"), plain_score_function], ids=["exact", "plain"])
@pytest.mark.parametrize("particles", [2, 3, 5])
@pytest.mark.parametrize("phi", [-2.0, 0.3, 1.5])
def test_exact_form_and_plain_score_function_are_unbiased(surrogate, particles, phi):
    step = 1e-5
    slope = (expected_bound(particles, phi + step) - expected_bound(particles, phi - step)) / (2 * step)
    probability, _, gradient = enumerated(particles, phi, surrogate)
    assert probability @ gradient == pytest.approx(slope, abs=1e-8)


def test_release_form_is_biased_and_so_is_the_bound_without_any_score_function():
    slope = PUBLISHED[5][1]
    probability, _, without = enumerated(5, 0.3)
    _, _, release = enumerated(5, 0.3, estimator("release"))
    assert probability @ release - slope > 0.002
    assert abs(probability @ without - slope) > 0.002


def test_variance_of_the_estimators():
    """By enumeration, so without sampling error: with the baselines it falls with K, without them it grows."""

    def variance(particles, surrogate):
        probability, _, gradient = enumerated(particles, 0.3, surrogate)
        return probability @ (gradient - probability @ gradient) ** 2

    estimators = {"plain": plain_score_function, "exact": estimator("exact"), "release": estimator("release")}
    found = {name: [variance(particles, each) for particles in PUBLISHED] for name, each in estimators.items()}
    assert np.all(np.diff(found["plain"]) > 0)
    for form in importance.FORMS:  # for the exact one 9, 16 and 35 times smaller
        assert np.all(np.diff(found[form]) < 0)
        assert np.all(np.array(found[form]) < np.array(found["plain"]) / [8, 15, 30])


@pytest.mark.parametrize("form", importance.FORMS)
def test_expected_estimates_vanish_at_the_exact_posterior(form):
    signals = []

    def surrogate(log_weights, log_q):
        signals.append(importance.vimco_surrogate(log_weights, log_q, form))
        return signals[0]

    probability, bound, gradient = enumerated(3, np.log(2), surrogate)
    np.testing.assert_allclose(bound, np.log(0.375), atol=1e-12)
    np.testing.assert_allclose(signals[0], 0, atol=1e-12)
    assert probability @ gradient == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("case", ["run", "table"])
def test_objective_is_that_of_the_authors_network(case):
    stored = {key.removeprefix(f"{case}/"): value for key, value in np.load(GOLDEN, allow_pickle=False).items()}
    log_w, log_q = tf.constant(stored["log_w"]), tf.constant(stored["log_q_disc"])
    frames = 3 if case == "run" else 1
    bound = importance.iwae_bound(log_w)
    np.testing.assert_allclose(bound, stored["L"], rtol=1e-12)
    np.testing.assert_allclose(importance.vimco_baseline(log_w), stored["baseline"], rtol=1e-12)
    np.testing.assert_allclose(importance.normalised_weights(log_w), stored["omega"], atol=1e-12)
    sizes = importance.effective_sample_size(log_w)
    np.testing.assert_allclose(sizes if stored["ess"].ndim else tf.reduce_mean(sizes), stored["ess"], rtol=1e-9)
    for form in importance.FORMS:
        with tf.GradientTape() as tape:
            tape.watch(log_q)
            surrogate = importance.vimco_surrogate(log_w, log_q, form)
        loss = -tf.reduce_mean(bound + surrogate) / frames
        assert float(loss) == pytest.approx(float(stored[f"loss_{form}"]), rel=1e-10), form
        share = 1 if form == "exact" else 1 / log_w.shape[1]
        signal = stored[f"signal_{form}"] * share
        np.testing.assert_allclose(tape.gradient(surrogate, log_q), signal, rtol=1e-9, atol=1e-12)


def test_signals_are_constants_of_differentiation():
    log_w, log_q = tf.Variable([[1.0, 2.0, 0.5]]), tf.constant([[-1.0, -2.0, -3.0]])
    for form in importance.FORMS:
        with tf.GradientTape() as tape:
            surrogate = importance.vimco_surrogate(log_w, log_q, form)
        assert tape.gradient(surrogate, log_w) is None


def test_baseline_of_a_particle_does_not_see_its_own_weight():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(1, 4))
    for k in range(4):
        changed = weights.copy()
        changed[0, k] = 300.0
        before, after = importance.vimco_baseline(weights), importance.vimco_baseline(changed)
        assert before[0, k] == after[0, k]
        assert np.all(np.delete(after[0] - before[0], k) > 50)


def test_equal_weights_give_no_signal():
    weights, log_q = tf.fill([2, 5], 6123.5), tf.random.normal([2, 5])
    for form in importance.FORMS:
        np.testing.assert_allclose(importance.vimco_surrogate(weights, log_q, form), 0, atol=2e-2)
    np.testing.assert_allclose(importance.effective_sample_size(weights), 5)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="at least 2"):
        importance.vimco_surrogate(tf.zeros([3, 1]), tf.zeros([3, 1]))
    with pytest.raises(ValueError, match="exact, release"):
        importance.vimco_surrogate(tf.zeros([3, 2]), tf.zeros([3, 2]), "published")
    with pytest.raises(ValueError, match="one or more particles"):
        importance.iwae_bound(tf.zeros([3, 0]))


# Specification 11.7: z ~ N(0, 1), x | z ~ N(z, 1), x = 1.3, q = N(0.2 x + 0.1, 0.9^2).
def gaussian_log_weights(noise):
    z = 0.36 + 0.9 * noise
    log_normal = lambda v, m, s: -0.5 * ((v - m) / s) ** 2 - np.log(s) - 0.5 * np.log(2 * np.pi)  # noqa: E731
    return log_normal(z, 0, 1) + log_normal(1.3, z, 1) - log_normal(z, 0.36, 0.9)


def test_bound_of_one_and_two_particles_by_quadrature():
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()
    one = weights @ importance.iwae_bound(gaussian_log_weights(nodes[:, None])).numpy()
    pairs = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1)
    two = weights @ importance.iwae_bound(gaussian_log_weights(pairs)).numpy() @ weights
    assert one == pytest.approx(-1.840, abs=1e-3) and two == pytest.approx(-1.743, abs=1e-3)


def test_bound_grows_with_particles_towards_the_likelihood():
    noise = np.random.default_rng(1).standard_normal((100_000, 50))
    weights = gaussian_log_weights(noise)
    bounds = {k: float(tf.reduce_mean(importance.iwae_bound(weights[:, :k]))) for k in (1, 2, 5, 50)}
    for k, expected in {1: -1.840, 2: -1.743, 5: -1.706, 50: -1.690}.items():
        assert bounds[k] == pytest.approx(expected, abs=6e-3), k
    assert bounds[1] < bounds[2] < bounds[5] < bounds[50] < -1.68801 + 2e-3


def test_order_of_particles_does_not_matter_and_one_particle_is_the_sampled_elbo():
    weights = np.random.default_rng(2).normal(0, 5, (3, 6))
    np.testing.assert_allclose(importance.iwae_bound(weights[:, ::-1]), importance.iwae_bound(weights), rtol=1e-12)
    np.testing.assert_array_equal(importance.iwae_bound(weights[:, :1]), weights[:, 0])


def test_chunks_of_particles_add_up_to_all_at_once():
    rng = np.random.default_rng(3)
    weights = tf.constant(rng.normal(6000, 20, (4, 50)), tf.float32)
    value = tf.constant(rng.normal(size=(4, 50)), tf.float32)
    running = importance.no_particles(4, ["value"])
    constant = importance.no_particles(4, ["constant"])
    for start, stop in ((0, 7), (7, 8), (8, 50)):
        running = importance.add_particles(running, weights[:, start:stop], {"value": value[:, start:stop]})
        large = {"constant": tf.fill([4, stop - start], 7125.857)}
        constant = importance.add_particles(constant, weights[:, start:stop], large)
    found = importance.bound_of(running)
    np.testing.assert_allclose(importance.bound_of(constant)["constant"], 7125.857, rtol=1e-6)
    np.testing.assert_allclose(found["bound"], importance.iwae_bound(weights), rtol=1e-6)
    expected = tf.reduce_sum(importance.normalised_weights(weights) * value, axis=1)
    np.testing.assert_allclose(found["value"], expected, rtol=2e-3, atol=1e-4)
    sizes = importance.effective_sample_size(weights)
    np.testing.assert_allclose(found["effective_sample_size"], sizes, rtol=2e-3)
