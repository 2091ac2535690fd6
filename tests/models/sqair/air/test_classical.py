"""Classical AIR: the stop rule, relaxed presences, the terms of the loss, weights of rounded samples."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from silot_tf import schedules
from silot_tf.errors import UserError
from silot_tf.models.sqair import ClassicalAIR
from silot_tf.models.sqair.air.classical import ODDS, steps_taken
from tests.models.sqair.air.small import SIZES, found_in, small_classical
from tests.models.sqair.small import FRAME, SEED, batch_of, video

WHERE_MEAN, WHERE_STD = np.array([-1, -1, 0, 0]), np.sqrt([0.05, 0.05, 9, 9])


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def frames_of(clip):
    return tf.reshape(clip, [-1, *clip.shape[2:]])


@pytest.mark.parametrize(
    ("pres", "taken", "adds"),
    [
        ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
        ((1, 0, 1), (1, 1, 0), (1, 0, 0)),
        ((0, 1, 1), (1, 0, 0), (0, 0, 0)),
        ((0.6, 0.5, 0.9), (1, 1, 1), (1, 1, 0)),  # short by 0.4, 0.9, 1.0
        ((0.02, 0.98, 1.0), (1, 1, 0), (1, 0, 0)),  # by 0.98, 1.0
        ((0.005, 1, 1), (1, 0, 0), (0, 0, 0)),  # by 0.995
    ],
)
def test_network_stops_when_presences_fall_short_of_one(pres, taken, adds):
    found = steps_taken(tf.constant(pres, tf.float32)[None, :, None])
    np.testing.assert_array_equal(np.reshape(found[0], -1), taken)
    np.testing.assert_array_equal(np.reshape(found[1], -1), adds)


def test_recurrent_network_is_an_lstm_that_sees_the_frame_at_every_step():
    model, frames = small_classical(), frames_of(video(2, 2))
    oracle = keras.layers.LSTM(12, return_sequences=True)
    repeated = tf.repeat(tf.reshape(frames, [4, 1, -1]), 3, axis=1)
    oracle(repeated)
    oracle.set_weights([np.asarray(getattr(model.recurrent, name)) for name in ("kernel", "recurrent", "bias")])
    np.testing.assert_allclose(model.recurrent(frames), oracle(repeated), atol=1e-5)


def test_presence_is_relaxed_in_training_and_rounded_after_it():
    model, frames = small_classical(), frames_of(video(3, 2))
    hard, noise = found_in(model, frames, 2)
    soft = model.find(frames, noise, 2, training=True)
    uniform = np.asarray(noise["pres"], np.float64)
    relaxed = sigmoid(np.asarray(soft["logit"]) + np.log(uniform / (1 - uniform)))
    np.testing.assert_allclose(soft["pres"], relaxed * np.asarray(soft["adds"]), atol=1e-4)
    decisions = (relaxed > 0.5).astype(float)  # the same as [uniform > 1 - probability]
    np.testing.assert_array_equal(decisions, uniform > 1 - sigmoid(hard["logit"]))
    np.testing.assert_array_equal(hard["pres"], np.cumprod(decisions, axis=1))
    assert 0 < np.mean(hard["pres"]) < 1


def test_loss_terms_are_those_of_the_definition():
    model, clip, odds = small_classical(), video(2, 2), 1.5
    loss, _ = model.loss_terms(batch_of(clip), {ODDS: tf.constant(odds)}, seed=SEED)
    noise = {n: tf.reshape(v, [-1, *v.shape[3:]]) for n, v in model.draw_noise(2, 2, 1, 0, SEED).items()}
    found = model.find(frames_of(clip), noise, 1, training=True)
    f = {name: np.asarray(value, np.float64) for name, value in found.items()}

    def kl(mean, std, prior_mean, prior_std):
        ratio = (std / prior_std) ** 2
        return 0.5 * (ratio + ((mean - prior_mean) / prior_std) ** 2 - 1 - np.log(ratio))

    where = kl(f["where_mean"], f["where_std"], WHERE_MEAN, WHERE_STD)
    expected = {
        "scale_kl": f["adds"] * where[..., :2],
        "shift_kl": f["adds"] * where[..., 2:],
        "what_kl": f["adds"] * kl(f["what_mean"], f["what_std"], 0, 1),
    }
    logistic = [stats.logistic.logpdf(f["pre_sigmoid"], at) for at in (f["logit"], odds)]
    expected["presence_kl"] = f["is_taken"] * (logistic[0] - logistic[1])
    for name, value in expected.items():
        np.testing.assert_allclose(np.reshape(loss[name], -1), value.sum((1, 2)), rtol=1e-4, atol=1e-4, err_msg=name)
    latents = {name: found[name] for name in ("what", "where", "pres")}
    mean = np.asarray(model.decoder(**latents, frame_shape=FRAME)["mean"], np.float64)
    target = np.moveaxis(np.asarray(frames_of(clip), np.float64), -1, -2)
    entropy = target * np.log(np.maximum(mean, 1e-9)) + (1 - target) * np.log(np.maximum(1 - mean, 1e-9))
    np.testing.assert_allclose(np.reshape(loss["reconstruction"], -1), -entropy.sum((1, 2, 3)), rtol=1e-4)


def test_presence_costs_less_where_the_prior_expects_objects():
    model, batch = small_classical(), batch_of(video(2, 2))
    costs = [np.sum(model.loss_terms(batch, {ODDS: o}, seed=SEED)[0]["presence_kl"]) for o in (0.0, -20.0)]
    assert costs[0] < costs[1]


def test_published_schedule_of_odds_is_a_line():
    """From 1e4 to 1e-9, by a factor of 0.1 per 3,000 updates; as in the gin file."""
    line = schedules.Linear(start=9.2103, end=-20.7233, steps=39_000)
    for step in (0, 3_000, 21_000, 39_000, 100_000):
        assert float(line(step)) == pytest.approx(max(np.log(1e4 * 0.1 ** (step / 3000)), np.log(1e-9)), abs=1e-3)
    assert ClassicalAIR.annealed_quantities[ODDS] == pytest.approx(-20.7233, abs=1e-4)


def test_log_weights_are_those_of_rounded_presences():
    model, frames = small_classical(), frames_of(video(2, 3))
    found, noise = found_in(model, frames, 3)
    weighed = model.weigh(frames, found, noise, 3)
    f = {name: np.asarray(value, np.float64) for name, value in found.items()}
    number, logit = f["pres"].sum((1, 2)).astype(int), f["logit"][..., 0]
    assert len(set(number)) > 1

    def log_count(logits):
        rows = zip(logits, number, strict=True)
        return np.array([np.sum(np.log(sigmoid(x[:n]))) + (np.log(sigmoid(-x[n])) if n < 3 else 0) for x, n in rows])

    log_q, log_p = log_count(logit), log_count(np.full_like(logit, np.log(1e-9)))
    np.testing.assert_allclose(np.reshape(weighed["discrete"], -1), log_q, atol=1e-4)
    for name, prior in (("what", (0, 1)), ("where", (WHERE_MEAN, WHERE_STD))):
        log_q += np.sum(f["pres"] * stats.norm.logpdf(f[name], f[f"{name}_mean"], f[f"{name}_std"]), (1, 2))
        log_p += np.sum(f["pres"] * stats.norm.logpdf(f[name], *prior), (1, 2))
    np.testing.assert_allclose(np.reshape(weighed["kl"], -1), log_q - log_p, rtol=1e-3, atol=1e-3)


def test_bound_and_likelihood_are_finite_in_compiled_code_where_pixels_are_certain():
    """Painted pixels beyond 1 are cut to exactly 1."""
    model = small_classical(seed=2)
    model.decoder.network.dense_layers[-1].bias.assign(tf.fill([30], 30.0))
    found = model.bound(tf.zeros([1, 2, *FRAME]), 4, seed=SEED)
    assert all(np.all(np.isfinite(value)) for value in found.values()), found


def test_scenes_of_the_prior_are_empty_at_the_last_odds_and_full_at_the_first():
    model = small_classical(seed=1)
    _, noise = found_in(model, tf.zeros([50, *FRAME]), 1)
    assert not np.any(model.imagine(noise, 50)["pres"])
    model.annealed_quantities = {ODDS: float(np.log(1e4))}
    imagined = model.imagine(noise, 50)
    assert np.mean(imagined["pres"]) > 0.95
    for i in range(4):
        values = np.asarray(imagined["where"])[..., i].ravel()
        assert stats.kstest(values, "norm", (WHERE_MEAN[i], WHERE_STD[i])).pvalue > 1e-4


@pytest.mark.parametrize(
    ("options", "complaint"),
    [({"num_slots": 13}, "num_slots"), ({"distance_gate": -1.0}, "distance_gate"), ({"units": 0}, "units")],
)
def test_bad_settings_are_one_line_that_names_the_parameter(options, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        ClassicalAIR(**(SIZES | options))
    assert "air.ClassicalAIR." in str(caught.value)


def test_frames_of_another_size_are_refused():
    with pytest.raises(UserError, match="frame"):
        small_classical().unroll(video(frame_shape=(20, 20, 1)), seed=SEED)
