"""Parts of the network, each against an oracle of its own."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.layers.elu import BlockLinear, fan_in_normal
from silot_tf.layers.recurrent import GRUCell
from silot_tf.models.sqair import counts, merging, presence, priors
from silot_tf.models.sqair.encoders import split_normal
from silot_tf.ops import distributions
from tests.models.sqair.small import FRAME, small, stages_of, video


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


# ------------------------------------------------------------------------------------------------------- the decoder


def decoded(model, what, where, pres):
    found = model.decoder(*(tf.constant(v, tf.float32) for v in (what, where, pres)), frame_shape=FRAME)
    return {name: np.asarray(value) for name, value in found.items()}


@pytest.fixture(scope="module")
def objects():
    rng = np.random.default_rng(4)
    return rng.normal(0, 1, (1, 3, 4)), rng.normal(0, 1, (1, 3, 4)), np.ones((1, 3, 1))


def test_decoder_adds_objects_up(objects):
    model = small(mean_image=False)
    what, where, pres = objects
    both = decoded(model, what, where, pres)["mean"]
    first, rest = (decoded(model, what, where, np.array([[[a], [b], [b]]]))["mean"] for a, b in ((1, 0), (0, 1)))
    np.testing.assert_allclose(first + rest, both, atol=1e-5)
    order = [2, 0, 1]
    np.testing.assert_allclose(decoded(model, what[:, order], where[:, order], pres)["mean"], both, atol=1e-5)


def test_absent_objects_change_nothing_and_get_no_gradient(objects):
    model = small()
    what, where = (tf.Variable(tf.constant(v, tf.float32)) for v in objects[:2])
    pres = tf.constant([[[1.0], [0.0], [1.0]]])
    with tf.GradientTape() as tape:
        mean = model.decoder(what, where, pres, frame_shape=FRAME)["mean"]
        total = tf.reduce_sum(mean**2)
    for gradient in tape.gradient(total, [what, where]):
        assert np.all(gradient[:, 1] == 0) and np.any(gradient[:, 0] != 0)
    what[:, 1].assign(what[:, 1] + 5.0)
    np.testing.assert_array_equal(model.decoder(what, where, pres, frame_shape=FRAME)["mean"], mean)


def test_empty_frame_is_nearly_black_and_scores_the_known_number():
    """7125.86 nats for ten black frames of 50x50 pixels."""
    model = small(frame_shape=(50, 50, 1))
    model.decoder.mean_image.assign(np.full((50, 50, 1), 0.5))
    nothing = [tf.zeros([1, 3, size]) for size in (4, 4, 1)]
    mean = model.decoder(*nothing, frame_shape=(50, 50, 1))["mean"]
    np.testing.assert_allclose(mean, 0.5 * 4.5398e-5, rtol=1e-3)
    score = model.decoder.log_likelihood(tf.zeros([1, 50, 1, 50]), mean)
    assert 10 * float(score[0]) == pytest.approx(7125.86, abs=0.1)


# ------------------------------------------------------------------------------------------------------- presences


def test_presence_only_falls():
    stages, _ = stages_of(small(discovery_bias=0.5), video(frames=5))
    found, stayed, before = (np.asarray(stages[part]["pres"])[..., 0] for part in ("discovery", "propagation", "old"))
    assert np.all(np.diff(found, axis=-1) <= 0) and np.all(stayed <= before)
    assert np.all(stayed[:, 0] == 0) and found.any() and stayed.any()
    merged = np.asarray(stages["objects"]["pres"])[..., 0]
    assert np.all(np.diff(merged, axis=-1) <= 0), "present slots come first"


def test_count_posterior_is_that_of_strings_of_decisions():
    logit = np.array([0.3, -1.2, 2.0])
    expected = np.zeros(4)
    for decisions in itertools.product([0, 1], repeat=3):
        chance = np.prod([p if d else 1 - p for p, d in zip(sigmoid(logit), decisions, strict=True)])
        expected[int(np.sum(np.cumprod(decisions)))] += chance
    found = presence.count_probabilities(tf.constant(logit[None]))[0]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.sum(found) == pytest.approx(1)
    for count in range(4):
        pres = tf.constant([[1.0] * count + [0.0] * (3 - count)], tf.float64)
        masked = presence.masked_logit(presence.previous_steps(pres), tf.constant(logit[None]))
        assert float(presence.log_count(pres, masked)[0]) == pytest.approx(np.log(expected[count]), abs=1e-12)


def test_certain_decisions_have_finite_log_probabilities():
    log = presence.log_bernoulli(tf.constant([1.0, 0.0, 1.0, 0.0]), tf.constant([88.0, -88.0, -88.0, 88.0]))
    np.testing.assert_allclose(log, [0, 0, -88, -88], atol=1e-6)


# ----------------------------------------------------------------------------------------------------- merging, ids


def test_merging_and_identities_of_the_worked_example():
    ids, last = tf.constant([[4, 5, 7]]), tf.constant([7])
    stayed, found = tf.constant([[1.0, 0.0, 1.0]]), tf.constant([[1.0, 1.0, 0.0]])
    places = merging.assignment(stayed, found)
    kept, is_new, last = merging.identities(places, ids, last, stayed, found)
    np.testing.assert_array_equal(kept, [[4, 7, 8]])
    np.testing.assert_array_equal(is_new, [[False, False, True]])
    assert int(last[0]) == 9  # the dropped object has used up its identity


def test_merging_equals_a_stable_partition():
    rng = np.random.default_rng(5)
    pres = rng.integers(0, 2, (50, 6)).astype(np.float32)
    fields, initial = rng.normal(0, 1, (50, 6, 2)).astype(np.float32), np.full((1, 2), 9, np.float32)
    places = merging.assignment(tf.constant(pres[:, :3]), tf.constant(pres[:, 3:]))
    found = merging.merge(places, fields[:, :3], fields[:, 3:])
    states = merging.merge_states(places, fields[:, :3], initial)
    for m in range(50):
        order = sorted(range(6), key=lambda i, row=pres[m]: 1 - row[i])[:3]
        np.testing.assert_array_equal(found[m], fields[m, order])
        np.testing.assert_array_equal(states[m], [fields[m, i] if i < 3 else initial[0] for i in order])


def test_identities_persist_and_are_unique():
    outputs, _ = small(discovery_bias=0.0).unroll(video(8, 6), seed=tf.constant([1, 2]))
    ids, is_new = np.asarray(outputs["objects"]["track_id"]), np.asarray(outputs["objects"]["is_new"])
    pres = np.asarray(outputs["objects"]["pres"])[..., 0] > 0
    np.testing.assert_array_equal(ids >= 0, pres)
    for clip, new in zip(ids, is_new, strict=True):
        seen = set()
        for frame, fresh in zip(clip, new, strict=True):
            shown = frame[frame >= 0]
            assert len(set(shown)) == len(shown)
            assert set(frame[fresh]).isdisjoint(seen) and set(shown) - set(frame[fresh]) <= seen
            seen |= set(shown)


# ---------------------------------------------------------------------------------------------- distributions, cells


def test_correlated_density_is_normal_without_correlation_and_integrates_to_one():
    rng = np.random.default_rng(6)
    std, noise = rng.uniform(0.5, 2, 4), rng.normal(0, 1, 4)
    expected = distributions.normal(tf.zeros(4, tf.float64), tf.constant(std)).log_prob(std * noise)
    found = distributions.log_density_of_noise(tf.constant(std), tf.constant(noise))
    assert float(found) == pytest.approx(float(tf.reduce_sum(expected)))
    # In two dimensions, on a grid: density at x is that of the noise that gives x.
    lower = np.array([[0.7, 0.0], [0.9, -1.6]])  # one diagonal entry negative
    grid = np.linspace(-9, 9, 361)
    points = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
    noise = np.linalg.solve(lower, points.T).T
    log = distributions.log_density_of_noise(tf.constant(np.tile(np.diag(lower), (len(noise), 1))), tf.constant(noise))
    assert np.sum(np.exp(log)) * (grid[1] - grid[0]) ** 2 == pytest.approx(1, abs=1e-3)


def test_boxes_of_propagated_objects_have_the_covariance_of_the_factor():
    model = small()
    lower = np.asarray(model.propagation.covariance_factor())
    np.testing.assert_array_equal(np.triu(lower, 1), 0)
    stages, noise = stages_of(model, video())
    stayed = {name: np.asarray(value) for name, value in stages["propagation"].items()}
    drawn = np.asarray(noise["propagation"]["where"]).transpose(0, 2, 1, 3, 4).reshape(6, 3, 3, 4)
    expected = stayed["where_mean"] + stayed["where_std"] * (drawn @ lower.T)
    np.testing.assert_allclose(stayed["where"], expected, atol=1e-5)


def test_closed_update_gate_keeps_the_state():
    cell, state = GRUCell(5), tf.random.stateless_normal([2, 5], [1, 1])
    cell(tf.zeros([2, 3]), state)
    bias = np.zeros(15)
    bias[:5] = -60.0
    cell.bias.assign(bias)
    np.testing.assert_allclose(cell(tf.ones([2, 3]), state), state, atol=1e-6)


def test_blocks_are_one_linear_layer():
    layer = BlockLinear((3, 2), 4)
    first, second = tf.random.stateless_normal([6, 3], [1, 2]), tf.random.stateless_normal([6, 2], [3, 4])
    expected = np.concatenate([first, second], 1) @ np.concatenate(layer.kernels, 0) + layer.bias
    np.testing.assert_allclose(layer(first, second), expected, atol=1e-6)


def test_kernels_have_the_released_spread():
    drawn = np.asarray(fan_in_normal()((400, 256)))
    assert np.abs(drawn).max() <= 2 / 20 + 1e-6 and np.abs(drawn).max() > 1.9 / 20
    assert drawn.std() == pytest.approx(0.8796 / 20, rel=0.02)  # a normal cut at 2 standard deviations


# -------------------------------------------------------------------------------------------------- initial values


def test_initial_values_are_the_released():
    model = small(moved=0.0, units=32)
    zero = tf.zeros([1, 8])
    assert float(split_normal(zero, model.discovery.scale_offset)[1][0, 0]) == pytest.approx(0.0586, abs=1e-4)
    assert float(split_normal(zero, model.propagation.scale_offset - 1.0)[1][0, 0]) == pytest.approx(0.0281, abs=1e-4)
    np.testing.assert_allclose(0.9999 * tf.sigmoid(model.propagation.gates.bias), 0.7310, atol=1e-4)
    assert float(tf.sigmoid(model.propagation_prior.step_bias)) == pytest.approx(0.99995, abs=1e-5)
    nothing = {"what": tf.zeros([1, 3, 4]), "where": tf.zeros([1, 3, 4]), "pres": tf.zeros([1, 3, 1])}
    logit = model.propagation_prior(tf.zeros([1, 3, 32]), nothing | {"logit": tf.zeros([1, 3, 1])})["logit"]
    expected = priors.expected_to_remain(logit)
    assert float(expected[0, 0]) == -0.5
    later = np.exp(model.count_prior(expected, tf.ones([1, 1])))
    assert later[0, 0] > 0.999
    mean, std = model.where_prior.step(model.where_prior.context(tf.zeros([1, 32]), expected), tf.zeros([1, 4]))
    np.testing.assert_allclose(mean, [[-2, -2, 0, 0]], atol=2.0)
    np.testing.assert_allclose(np.median(std), 1.32, atol=0.6)
    np.testing.assert_allclose(model.where_prior.head.bias, [-2, -2, 0, 0, 1, 1, 1, 1])
    assert float(model.decoder.output_scale) == 0.25


def test_geometric_priors_have_their_probabilities():
    expected, later = tf.zeros([1, 1]), tf.zeros([1, 1])
    found = np.exp(counts.make("truncated_geometric", 6, 0.516)(expected, later))[0]
    powers = 0.516 ** np.arange(7)
    np.testing.assert_allclose(found, powers / powers.sum(), rtol=1e-5)
    found = np.exp(counts.make("geometric", 3, 0.75)(expected, later))[0]
    np.testing.assert_allclose(found, 0.25 * 0.75 ** np.arange(4), rtol=1e-5)
    found = np.exp(counts.make((0.5, 0.3, 0.2), 2, 0.75)(expected, later))[0]
    np.testing.assert_allclose(found, (0.5, 0.3, 0.2), rtol=1e-5)


def test_counts_without_room_are_impossible():
    log = tf.math.log(tf.constant([[0.1, 0.2, 0.3, 0.4]]))
    found = np.exp(counts.without_room(log, tf.constant([[1.0]])))
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3, 0, 0]], atol=1e-6)


def test_counts_are_drawn_by_inversion():
    log = tf.math.log(tf.constant([[0.1, 0.2, 0.3, 0.4]] * 4))
    uniform = tf.constant([[0.05], [0.15], [0.59], [0.61]])
    np.testing.assert_array_equal(counts.sample_count(log, uniform)[:, 0], [0, 1, 2, 3])
