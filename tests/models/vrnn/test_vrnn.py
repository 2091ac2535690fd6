"""The recurrent network of whole frames against its definition, and the properties of its bounds."""

import gin
import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logsumexp

from silot_tf import configuration
from silot_tf.errors import UserError
from silot_tf.models.vrnn import VRNN
from silot_tf.ops import seeds

SEED = tf.constant([3, 4])
SIZES = {"latent_size": 4, "state_size": 8, "feature_hidden": (8, 8), "head_hidden": (8,), "decoder_hidden": (8,)}
SIZES |= {"likelihood_std": 1.0}  # so that particles have weights of one order
SHAPE = (6, 5, 1)


def build(scale: float = 0.2, shape=SHAPE, **options) -> VRNN:
    """A small network with weights large enough that latents matter."""
    keras.utils.set_random_seed(0)
    model = VRNN(**{**SIZES, **options})
    model.build_variables(shape)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign_add(rng.normal(0, scale, variable.shape))
    return model


def clips(batch: int = 2, frames: int = 3, seed: int = 0) -> dict:
    video = np.random.default_rng(seed).uniform(0, 1, (batch, frames, *SHAPE)).astype(np.float32)
    return {"video": tf.constant(video), "frame_mask": tf.ones([batch, frames], tf.bool)}


def loss_bound(model, batch, seed=SEED) -> np.ndarray:
    """The bound of each sequence, from the loss."""
    terms, _ = model.loss_terms(batch, {}, seed=seed)
    assert list(terms) == ["negative_bound"]
    return -tf.reduce_sum(terms["negative_bound"], axis=1).numpy()


def log_normal(x, mean, std) -> float:
    x, mean, std = (np.asarray(value, np.float64) for value in (x, mean, std))
    return float(np.sum(-0.5 * ((x - mean) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)))


@pytest.mark.parametrize(("file", "weights"), [("vrnn", 2_742_360), ("vrnn_conv", 2_633_509)])
def test_published_sizes(file, weights):
    """Specification 7.2: the concrete MLP; the convolutional one has the paper's 2.6 million."""
    configuration.load([f"gin_configs/models/{file}.gin"])
    try:
        model = gin.get_configurable("vrnn.VRNN")()
    finally:
        gin.clear_config()
    model.build_variables((50, 50, 1))
    assert sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) == weights


@pytest.mark.parametrize("options", [{}, {"add_prior_mean": False}, {"channels": (3, 4), "strides": (1, 2)}])
def test_log_weights_are_those_of_the_definition(options):
    """One particle of one sequence, frame by frame, with the densities written out in float64."""
    particles, frames = 2, 3
    model, batch = build(particles=particles, **options), clips(batch=1, frames=frames)
    video = batch["video"]
    run = model._run_particles(video, tf.ones([1, frames]), particles, SEED, frame_by_frame=False)
    noise = np.stack([seeds.normal([particles, 4], seeds.fold(SEED, t)) for t in range(frames)])
    softplus = lambda raw: np.maximum(np.log1p(np.exp(raw + 0.25)), 1e-4)  # noqa: E731
    for k in range(particles):
        output = cell = tf.zeros([1, 8])
        code_before, latent_code = model.frame_coder(tf.zeros([1, *SHAPE])), tf.zeros([1, 8])
        for t in range(frames):
            output, (_, cell) = model.cell(tf.concat([code_before, latent_code], -1), [output, cell])
            code = model.frame_coder(video[:, t])
            prior_mean, prior_raw = np.split(model.prior(output).numpy()[0], 2)
            mean, raw = np.split(model.posterior(tf.concat([output, code], -1)).numpy()[0], 2)
            if options.get("add_prior_mean", True):
                mean = mean + prior_mean
            latent = mean + softplus(raw) * noise[t, k]
            latent_code = model.latent_coder(latent[None])
            frame = model.decoder(tf.concat([latent_code, output], -1))
            log_likelihood = log_normal(video[0, t], frame[0], 1.0)
            kl = log_normal(latent, mean, softplus(raw)) - log_normal(latent, prior_mean, softplus(prior_raw))
            np.testing.assert_allclose(run["log_likelihood"][0, t, k], log_likelihood, rtol=1e-4, atol=1e-3)
            np.testing.assert_allclose(run["kl"][0, t, k], kl, rtol=1e-4, atol=1e-3)
            np.testing.assert_allclose(run["log_alpha"][0, t, k], log_likelihood - kl, rtol=1e-4, atol=2e-3)
            code_before = code
    weights = tf.reduce_sum(run["log_alpha"], axis=1)
    np.testing.assert_allclose(loss_bound(model, batch), logsumexp(weights, axis=1) - np.log(2), rtol=1e-4)


def test_posterior_equal_to_the_prior_costs_nothing():
    model, batch = build(), clips()
    for variable in (*model.prior.dense_layers[-1].trainable_variables, *model.posterior.trainable_variables):
        variable.assign(tf.zeros_like(variable))
    run = model._run_particles(batch["video"], tf.ones([2, 3]), 5, SEED, frame_by_frame=True)
    np.testing.assert_allclose(run["kl"], 0, atol=1e-5)
    np.testing.assert_allclose(run["log_alpha"], run["log_likelihood"], atol=1e-4)


def test_log_likelihood_has_its_constants():
    """Specification 2.4: a black frame of 50x50 pixels that is predicted exactly, over 10 frames."""
    model, batch = build(shape=(50, 50, 1), likelihood_std=0.3), {"video": tf.zeros([1, 10, 50, 50, 1])}
    for variable in model.decoder.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    found = model.bound(batch["video"], 2, seed=SEED)
    assert float(found["log_likelihood"][0]) == pytest.approx(7125.857, abs=0.01)


@pytest.mark.parametrize("bound", ["iwae", "fivo"])
def test_bound_grows_with_particles_on_average(bound):
    batch, means = clips(batch=4), []
    for particles in (1, 4, 16):
        model = build(particles=particles, bound=bound)
        means.append(np.mean([loss_bound(model, batch, tf.constant([i, 0])) for i in range(12)]))
    assert means[0] < means[1] < means[2]


def test_filtering_bound_without_resampling_is_the_importance_weighted_one():
    batch = clips()
    expected = loss_bound(build(bound="iwae"), batch)
    np.testing.assert_allclose(loss_bound(build(bound="fivo", resample_below=0.0), batch), expected, rtol=1e-5)
    assert np.all(np.abs(loss_bound(build(bound="fivo", resample_below=2.0), batch) - expected) > 1e-3)


def test_filtering_with_one_particle_never_changes_anything():
    batch = clips()
    expected = loss_bound(build(bound="iwae", particles=1), batch)
    np.testing.assert_allclose(
        loss_bound(build(bound="fivo", particles=1, resample_below=2.0), batch), expected, rtol=1e-5
    )


def test_bound_with_many_particles_is_that_of_the_loss_whatever_the_chunks():
    model, batch = build(particles=6), clips()
    found = model.bound(batch["video"], 6, seed=SEED)
    np.testing.assert_allclose(found["bound"], loss_bound(model, batch, seeds.fold(SEED, 0)), rtol=1e-5)
    assert np.all(found["effective_sample_size"] >= 1) and np.all(found["effective_sample_size"] <= 6)
    chunked = model.bound(batch["video"], 6, seed=SEED, particles_per_chunk=4)
    parts = [
        loss_bound(build(particles=k), batch, seeds.fold(SEED, number)) + np.log(k) for number, k in ((0, 4), (4, 2))
    ]
    np.testing.assert_allclose(chunked["bound"], np.logaddexp(*parts) - np.log(6), rtol=1e-5)


def test_parts_of_the_bound_are_averaged_by_weight():
    model, batch = build(), clips()
    run = model._run_particles(batch["video"], tf.ones([2, 3]), 7, seeds.fold(SEED, 0), frame_by_frame=False)
    log_weights = tf.reduce_sum(run["log_alpha"], axis=1).numpy().astype(np.float64)
    omega = np.exp(log_weights - log_weights.max(1, keepdims=True))
    omega /= omega.sum(1, keepdims=True)
    found = model.bound(batch["video"], 7, seed=SEED)
    for name in ("log_likelihood", "kl"):
        per_particle = run[name].numpy().sum(1)
        np.testing.assert_allclose(found[name], (omega * per_particle).sum(1), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found[f"sample_{name}"], per_particle.mean(1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["elbo"], log_weights.mean(1), rtol=1e-4)
    assert np.all(omega.max(1) < 0.99)


@pytest.mark.parametrize("bound", ["iwae", "fivo"])
def test_padding_frames_do_not_count(bound):
    model, batch = build(bound=bound), clips(frames=4)
    mask = tf.constant([[True, True, False, False], [True, True, True, True]])
    other = tf.concat([batch["video"][:, :2], 1 - batch["video"][:, 2:]], axis=1)
    first, second = (loss_bound(model, {"video": video, "frame_mask": mask}) for video in (batch["video"], other))
    assert first[0] == pytest.approx(second[0], rel=1e-5) and abs(first[1] - second[1]) > 1e-2
    short = {name: value[:, :2] for name, value in batch.items()}
    assert first[0] == pytest.approx(loss_bound(model, short)[0], rel=1e-5)
    found = model.bound(batch["video"], 3, seed=SEED, frame_mask=mask)["bound"]
    assert float(found[0]) == pytest.approx(float(model.bound(short["video"], 3, seed=SEED)["bound"][0]), rel=1e-5)


@pytest.mark.parametrize("bound", ["iwae", "fivo"])
def test_outputs_of_training_are_those_of_a_particle_that_has_weight(bound):
    model, batch = build(bound=bound, particles=8, likelihood_std=0.05), clips()
    _, outputs = model.loss_terms(batch, {}, seed=SEED)
    run = model._run_particles(
        batch["video"], tf.ones([2, 3]), 8, SEED, frame_by_frame=bound == "fivo", resample=bound == "fivo"
    )
    for b in range(2):
        for t in range(3):
            k = np.flatnonzero(np.all(np.isclose(run["latent"][b, t], outputs["features"][b, t]), axis=-1))
            assert len(k) and np.exp(run["log_weights"][b, t, k[0]]) > 1e-4
    assert set(outputs["diagnostics"]) == {"log_likelihood", "kl", "effective_sample_size"}
    for value in outputs["diagnostics"].values():
        assert value.shape == (2, 3) and np.all(np.isfinite(value))


def test_generation_from_the_prior_sees_no_frame_at_all():
    model = build()
    found, other = (model.unroll(clips(seed=seed, frames=5)["video"], seed=SEED, rollout_from=0)[0] for seed in (0, 1))
    np.testing.assert_array_equal(found["reconstruction"], other["reconstruction"])
    again, _ = model.unroll(clips(seed=0, frames=5)["video"], seed=tf.constant([9, 9]), rollout_from=0)
    assert np.max(np.abs(again["features"] - found["features"])) > 0.1


def test_roll_out_feeds_its_own_frames_back():
    """With a posterior that equals the prior, looking at what the roll-out made up gives the roll-out again."""
    model, video = build(evaluation_noise=False), clips(frames=5)["video"]
    for variable in model.posterior.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    rolled, _ = model.unroll(video, seed=SEED, rollout_from=2)
    imagined = tf.concat([video[:, :2], rolled["reconstruction"][:, 2:]], axis=1)
    looked, _ = model.unroll(imagined, seed=SEED)
    np.testing.assert_allclose(looked["reconstruction"], rolled["reconstruction"], atol=1e-5)
    seen, _ = model.unroll(video, seed=SEED)
    assert np.max(np.abs(seen["reconstruction"] - rolled["reconstruction"])[:, 3:]) > 1e-3


def test_no_seed_means_no_noise():
    model, quiet, video = build(), build(evaluation_noise=False), clips()["video"]
    expected = quiet.unroll(video, seed=SEED)[0]["features"]
    np.testing.assert_array_equal(model.unroll(video, seed=None)[0]["features"], expected)
    assert np.any(model.unroll(video, seed=SEED)[0]["features"] != expected)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"particles": 0}, r"vrnn\.VRNN\.particles = 0"),
        ({"bound": "elbo"}, r"vrnn\.VRNN\.bound = elbo: expected one of iwae, fivo"),
        ({"channels": (8,), "strides": ()}, r"vrnn\.VRNN\.strides"),
        ({"likelihood_std": 0.0}, r"vrnn\.VRNN\.likelihood_std"),
    ],
)
def test_bad_settings_are_refused_by_name(options, complaint):
    with pytest.raises(UserError, match=complaint):
        VRNN(**{**SIZES, **options})


def test_frames_of_another_size_and_no_particles_are_refused():
    model = build()
    with pytest.raises(UserError, match="frames of the same size"):
        model.unroll(tf.zeros([1, 2, 7, 5, 1]), seed=SEED)
    with pytest.raises(UserError, match="num_particles of the bound is 0"):
        model.bound(clips()["video"], 0, seed=SEED)
