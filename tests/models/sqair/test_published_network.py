"""Our network is numerically the released one: same weights, frames and noise give the same stages and gradients."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.models.sqair import outputs, terms, weights
from silot_tf.ops import importance
from tests.models.sqair import published

STAGE, LOG_WEIGHT, GRADIENT = 1e-4, 1e-3, 1e-3

LATENTS = {"what": "what", "what_mean": "what_loc", "what_std": "what_scale"}
LATENTS |= {"where": "where", "where_mean": "where_loc", "where_std": "where_scale", "logit": "logit"}
PRIOR = {"logit": "logit", "where_mean": "w_loc", "where_std": "w_std", "what_mean": "a_loc", "what_std": "a_std"}
TERMS = {
    "discovery": "stage/disc_q",
    "discovery_prior": "stage/disc_p",
    "propagation": "stage/prop_q",
    "propagation_prior": "stage/prop_p",
    "count": "stage/logqD",
    "count_prior": "stage/logpD",
    "discovery_what": "frame/disc_what_log_prob",
    "discovery_where": "frame/disc_where_log_prob",
    "discovery_what_prior": "frame/disc_what_prior_log_prob",
    "discovery_where_prior": "frame/disc_where_prior_log_prob",
    "propagation_what": "frame/prop_what_log_prob",
    "propagation_where": "frame/prop_where_log_prob",
    "propagation_what_prior": "frame/prop_what_prior_log_prob",
    "propagation_where_prior": "frame/prop_where_prior_log_prob",
}
WEIGHTS = {
    "log_likelihood": "data_ll_per_sample",
    "kl": "kl_per_sample",
    "log_alpha": "log_weights_per_timestep",
    "discrete": "discrete_log_prob",
}


@functools.cache
def run() -> dict:
    """Everything that the network computes for the stored clips."""
    model, video, noise = published.published_network(), published.stored_video(), published.stored_noise()
    stages, _ = model.unroll_stages(video, model.particles_before(published.VIDEOS, published.PARTICLES), noise)
    prior = terms.priors_of(stages, model.propagation_prior, model.where_prior, model.count_prior, False)
    factor = model.propagation.covariance_factor()
    return {
        "stages": stages,
        "prior": prior,
        "terms": terms.log_probabilities(stages, prior, factor, weights.by_particle(noise)),
        "weights": weights.weights_of(model, video, stages, noise),
        "decoded": outputs.decode(model.decoder, stages["objects"], (50, 50, 1)),
        "factor": factor,
    }


def compare(found, key, tolerance=STAGE):
    expected = published.stored("stages")[key]
    found = published.frames_first(found).reshape(expected.shape)
    error = np.max(np.abs(found - expected)) / max(1.0, np.max(np.abs(expected)))
    assert error < tolerance, f"{key} differs by {error:.2e}"


@pytest.mark.parametrize(("ours", "theirs"), [("propagation", "prop"), ("discovery", "disc")])
def test_posteriors_equal_the_released(ours, theirs):
    stages = run()["stages"]
    for name, key in LATENTS.items():
        compare(stages[ours][name], f"stage/{theirs}_{key}")
    presence = published.stored("stages")[f"stage/{theirs}_pres"]
    np.testing.assert_array_equal(published.frames_first(stages[ours]["pres"]), presence)


def test_inner_stages_equal_the_released():
    result = run()
    stages = result["stages"]
    compare(stages["scene"], "stage/l")
    compare(stages["hidden_prior"], "stage/prior_hP")
    compare(stages["propagation"]["hidden"], "stage/prop_hT")
    compare(stages["propagation"]["proposal"], "spec/prop_w_hat")
    compare(stages["propagation"]["proposal_code"], "spec/prop_f")
    compare(stages["propagation"]["relation"], "spec/prop_h")
    compare(stages["discovery"]["hidden"], "spec/disc_h")
    factor = result["factor"] - np.eye(4)
    np.testing.assert_allclose(factor, published.stored("stages")["spec/L"], atol=1e-6)
    for name, key in PRIOR.items():
        compare(result["prior"]["propagation"][name], f"stage/prior_{key}")
    compare(result["prior"]["expected"], "stage/qbar")
    compare(result["prior"]["count"], "stage/count_logp")


def test_frame_code_and_glimpses_equal_the_released():
    model, stored = published.published_network(), published.stored("stages")
    codes = model.frame_encoder(tf.constant(published.stored("inputs")["obs"].reshape(-1, 50, 50, 1)))
    codes = np.repeat(np.reshape(codes, [3, 2, -1]), 2, axis=1)  # one per particle
    np.testing.assert_allclose(codes, stored["stage/disc_rnn_input"][:, :, 0, :256], atol=STAGE)


def test_merged_objects_and_identities_equal_the_released():
    stages, stored = run()["stages"], published.stored("stages")
    for name in ("what", "where"):
        compare(stages["objects"][name], f"packed/{name}")
    compare(stages["objects"]["logit"], "packed/presence_logit")
    compare(stages["objects"]["hidden"], "stage/hT")
    compare(stages["objects"]["hidden_prior"], "stage/hP")
    presence = published.frames_first(stages["objects"]["pres"])[..., 0]
    np.testing.assert_array_equal(presence, stored["packed/presence"])
    np.testing.assert_array_equal(published.frames_first(stages["track_id"]), stored["packed/obj_id"])
    np.testing.assert_array_equal(published.frames_first(stages["last_id"])[..., None], stored["stage/last"])


def test_frames_equal_the_released():
    decoded = run()["decoded"]
    frames = {name: np.reshape(value, [4, 3, *value.shape[1:]]) for name, value in decoded.items()}
    compare(frames["mean"], "packed/canvas")
    compare(frames["glimpses"], "packed/glimpse")
    compare(frames["painted"], "stage/additive")
    compare(frames["written"], "stage/written")


def test_log_probabilities_equal_the_released():
    result = run()
    for name, key in TERMS.items():
        compare(result["terms"][name], key)
    for name, key in WEIGHTS.items():
        found = np.reshape(result["weights"][name], [4, 3]).astype(np.float64).T
        np.testing.assert_allclose(found, published.stored("stages")[f"frame/{key}"], atol=LOG_WEIGHT, err_msg=name)


def objective(model, form, is_first=True):
    """The published loss, and what it is made of, on the stored noise."""
    video, noise = published.stored_video(), published.stored_noise()
    state = model.particles_before(published.VIDEOS, published.PARTICLES)
    stages, _ = model.unroll_stages(video, state, noise, is_first=is_first)
    found = weights.weights_of(model, video, stages, noise)
    log_w, log_q = tf.reduce_sum(found["log_alpha"], -1), tf.reduce_sum(found["discrete"], -1)
    bound = importance.iwae_bound(log_w)
    surrogate = importance.vimco_surrogate(log_w, log_q, form)
    return -tf.reduce_mean(bound + surrogate) / published.FRAMES, log_w, log_q, bound


@pytest.mark.parametrize("form", ["release", "exact"])
def test_objective_equals_the_released(form):
    stored = published.stored("objective")
    loss, log_w, log_q, bound = objective(published.published_network(), form)
    np.testing.assert_allclose(log_w, stored["run/log_w"], atol=LOG_WEIGHT)
    np.testing.assert_allclose(log_q, stored["run/log_q_disc"], atol=STAGE)
    np.testing.assert_allclose(bound, stored["run/L"], atol=LOG_WEIGHT)
    np.testing.assert_allclose(loss, stored[f"run/loss_{form}"], atol=LOG_WEIGHT)


@pytest.mark.parametrize("is_first", [True, False])
def test_gradients_equal_the_released(is_first):
    """Also where propagation into the first frame is left out, as in training."""
    model, stored = published.published_network(), published.stored("objective")
    variables = [variable.value for variable, _, _ in published.pieces(model)]
    with tf.GradientTape() as tape:
        loss = objective(model, "release", is_first)[0]
    found = [tf.convert_to_tensor(value).numpy().astype(np.float64) for value in tape.gradient(loss, variables)]
    by_name = published.gradients_by_name(model, found)
    assert len(by_name) == len(stored["grad/names"]) == 105
    by_name_without_loops = {name.replace("/while/", "/"): value for name, value in by_name.items()}
    for name, norm, total, head in zip(
        *(stored[f"grad/{key}"] for key in ("names", "norm", "sum", "head")), strict=True
    ):
        gradient = by_name_without_loops[str(name)].ravel()
        # The release's own float32 run deviates twice as much in this one number, a sum with large cancellation.
        tolerance = 2 * GRADIENT if "discovery" in name and name.endswith("scale_offset") else GRADIENT
        assert abs(np.linalg.norm(gradient) - norm) < tolerance * norm, name
        assert abs(gradient.sum() - total) < tolerance * max(abs(total), norm * np.sqrt(gradient.size)), name
        first = gradient[:16]
        np.testing.assert_allclose(first, head[: first.size], atol=tolerance * norm, err_msg=str(name))


def test_network_has_as_many_parameters_as_the_released():
    model = published.published_network()
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 2_951_522
