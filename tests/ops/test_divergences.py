from math import comb, log

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.ops import distributions, divergences


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def log_probabilities(pattern, log_odds):
    """Sum of ln P(z_i | earlier ones) by walking through the table."""
    table = divergences.count_prior_table(len(pattern), log_odds).numpy()
    total, earlier = 0.0, 0
    for i, on in enumerate(pattern):
        total += log(table[i, earlier]) if on else log(1 - table[i, earlier])
        earlier += on
    return total


def test_first_slot_has_the_mean_count_over_the_number_of_slots():
    """Property 25."""
    p = sigmoid(-1.3)
    weights = p ** np.arange(13)
    expected = (weights * np.arange(13)).sum() / weights.sum() / 12
    assert divergences.count_prior_table(12, -1.3)[0, 0].numpy() == pytest.approx(expected, rel=1e-12)
    assert divergences.count_prior_table(32, 40.0)[0, 0].numpy() == pytest.approx(0.5, rel=1e-9)
    assert divergences.count_prior_table(32, -4.382)[0, 0].numpy() == pytest.approx(3.9064e-4, rel=1e-4)
    assert divergences.count_prior_table(32, 0.0125)[0, 0].numpy() == pytest.approx(0.031643, rel=1e-4)


@pytest.mark.parametrize(
    ("log_odds", "ones", "expected"),
    [(-4.382, 3, -21.70485), (-4.382, 10, -61.93902), (0.0125, 6, -18.53792)],
)
def test_chain_rule_gives_the_probability_of_a_configuration(log_odds, ones, expected):
    """Properties 26 and 29: the closed form, whatever the order of the slots."""
    p = sigmoid(log_odds)
    closed = ones * log(p) - log((p ** np.arange(33)).sum()) - log(comb(32, ones))
    assert closed == pytest.approx(expected, abs=1e-4)
    rng = np.random.default_rng(0)
    for _ in range(3):
        pattern = rng.permutation([1] * ones + [0] * (32 - ones))
        assert log_probabilities(pattern, log_odds) == pytest.approx(closed, abs=1e-8)


def test_kl_is_zero_at_the_prior_and_positive_elsewhere():
    """Property 27."""
    table = divergences.count_prior_table(6, -1.0).numpy()
    sample = np.array([0.9, 0.1, 0.8, 0.2, 0.4, 0.7])
    earlier = np.concatenate([[0], np.cumsum(sample > 0.5)[:-1]])
    prior = table[np.arange(6), earlier]
    np.testing.assert_allclose(divergences.count_kl(tf.constant(prior), tf.constant(sample), -1.0), 0, atol=1e-7)
    other = tf.constant(np.random.default_rng(0).random((20, 6)))
    assert np.all(divergences.count_kl(other, tf.constant(np.tile(sample, (20, 1))), -1.0).numpy() > -1e-8)


@pytest.mark.parametrize("log_odds", [13.8, 2.3, -4.382])
def test_table_equals_the_recursion_in_float64(log_odds):
    rng = np.random.default_rng(1)
    probability, sample = tf.constant(rng.random((3, 5, 40))), tf.constant(rng.random((3, 5, 40)))
    plain = divergences.count_kl_by_recursion(probability, sample, log_odds)
    np.testing.assert_allclose(divergences.count_kl(probability, sample, log_odds), plain, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("log_odds", [13.8, 0.0, -4.382])
@pytest.mark.parametrize("num_slots", [1, 2, 50])
def test_rows_by_pascals_rule_equal_the_sum_over_counts(num_slots, log_odds):
    log_p = tf.constant(log(sigmoid(log_odds)), tf.float64)
    at_once = divergences._log_d_at_once(num_slots, log_p)
    np.testing.assert_allclose(divergences._log_d_by_pascal(num_slots, log_p), at_once, rtol=1e-10, atol=1e-10)


def test_tables_of_many_slots_charge_the_closed_form():
    """512 slots, where the sum over counts at once would take gigabytes."""
    p = sigmoid(-1.3)
    closed = 60 * log(p) - log((p ** np.arange(513)).sum()) - log(comb(512, 60))
    pattern = np.random.default_rng(0).permutation([1] * 60 + [0] * 452)
    assert log_probabilities(pattern, -1.3) == pytest.approx(closed, abs=1e-7)


def test_many_objects_stay_finite_in_float32_where_the_recursion_underflows():
    """Property 28: the recursion charges 20.7 nats for each object beyond its underflow."""
    sample = np.zeros((1, 192), np.float32)
    sample[0, :40] = 1.0
    fast = divergences.count_kl(tf.constant(sample), tf.constant(sample), -4.382).numpy()
    exact = divergences.count_kl_by_recursion(tf.constant(sample, tf.float64), tf.constant(sample), -4.382)
    np.testing.assert_allclose(fast, exact, atol=1e-3)
    underflown = divergences.count_kl_by_recursion(tf.constant(sample), tf.constant(sample), -4.382).numpy()
    assert fast[0, 39] < 10 < underflown[0, 39]


def test_gradient_reaches_probabilities_only():
    probability, sample = tf.constant([[0.3, 0.6]]), tf.constant([[0.7, 0.2]])
    with tf.GradientTape() as tape:
        tape.watch([probability, sample])
        loss = tf.reduce_sum(divergences.count_kl(probability, sample, -1.0))
    to_probability, to_sample = tape.gradient(loss, [probability, sample])
    assert to_sample is None and np.all(to_probability.numpy() != 0)


def test_normal_kl_equals_the_formula():
    """Property 30."""
    mean, std = 0.3, 0.7
    found = distributions.normal_kl(distributions.normal(mean, std), distributions.normal(-0.2, 1.5))
    expected = np.log(1.5 / std) + (std**2 + 0.5**2) / (2 * 1.5**2) - 0.5
    assert float(found) == pytest.approx(expected, rel=1e-6)
    same = distributions.normal(mean, std)
    assert float(distributions.normal_kl(same, same)) == 0


def test_concrete_kl_vanishes_for_equal_log_odds_and_is_nonnegative_on_average():
    """Property 30."""
    noise = np.random.default_rng(2).logistic(size=200_000).astype(np.float32)
    sample = 0.4 + noise
    zero = distributions.relaxed_bernoulli_kl_sample(tf.fill(noise.shape, 0.4), tf.fill(noise.shape, 0.4), sample)
    np.testing.assert_array_equal(zero, 0.0)
    kl = distributions.relaxed_bernoulli_kl_sample(tf.fill(noise.shape, 0.4), tf.fill(noise.shape, -1.1), sample)
    log_ratio = (0.4 + 1.1) - 2 * (np.logaddexp(0, 0.4 - sample) - np.logaddexp(0, -1.1 - sample))
    np.testing.assert_allclose(kl, log_ratio, atol=2e-5)
    assert float(tf.reduce_mean(kl)) > 0.1


def test_concrete_kl_is_the_ratio_of_the_concrete_densities():
    sample = tf.constant([-2.0, -0.3, 0.0, 0.8, 1.9])
    posterior, prior = tf.constant([0.5, -1.0, 0.2, 2.0, 0.0]), tf.constant([-0.5, 0.3, 0.2, -1.0, 1.5])
    densities = [distributions.relaxed_bernoulli(log_odds) for log_odds in (posterior, prior)]
    ratio = densities[0].log_prob(tf.sigmoid(sample)) - densities[1].log_prob(tf.sigmoid(sample))
    np.testing.assert_allclose(
        distributions.relaxed_bernoulli_kl_sample(posterior, prior, sample), ratio, rtol=1e-4, atol=1e-5
    )
