"""AIR: what particles of a frame weigh, frames that know nothing of each other, bounds, roll-outs, bad input."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from silot_tf.errors import UserError
from silot_tf.models.sqair import AIR
from silot_tf.ops import seeds
from tests.models.sqair.air.small import SIZES, found_in, small, small_classical
from tests.models.sqair.small import FRAME, SEED, batch_of, video


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def frames_of(clip):
    return tf.reshape(clip, [-1, *clip.shape[2:]])


def logmeanexp(log_weight, axis=-1):
    return np.logaddexp.reduce(np.asarray(log_weight, np.float64), axis=axis) - np.log(log_weight.shape[axis])


# --------------------------------------------------------------------------------------------- weights and the bound


@pytest.mark.parametrize("scale_prior", [-2.0, 0.0])
@pytest.mark.parametrize("count_prior", ["truncated_geometric", "geometric", (0.1, 0.2, 0.3, 0.4)])
def test_log_weights_are_those_of_the_definition(scale_prior, count_prior):
    model = small(scale_prior=scale_prior, count_prior=count_prior, count_success=0.6)
    frames, particles = frames_of(video(2, 2)), 3
    found, noise = found_in(model, frames, particles)
    weighed = model.weigh(frames, found, noise, particles)
    f = {name: np.asarray(value, np.float64) for name, value in found.items()}
    pres, number = f["pres"][..., 0], f["pres"].sum((1, 2)).astype(int)

    chances = {
        "truncated_geometric": 0.6 ** np.arange(4) / np.sum(0.6 ** np.arange(4)),
        "geometric": stats.geom.pmf(np.arange(4) + 1, 0.4),
    }.get(count_prior, count_prior)
    log_p = np.log(chances)[number]
    log_p += np.sum(pres[..., None] * stats.norm.logpdf(f["what"]), (1, 2))
    log_p += np.sum(pres[..., None] * stats.norm.logpdf(f["where"], [scale_prior, scale_prior, 0, 0], 1), (1, 2))

    going_on, log_q = sigmoid(f["logit"][..., 0]), np.zeros(len(number))
    for m, n in enumerate(number):
        log_q[m] = np.sum(np.log(going_on[m, :n])) + (np.log(1 - going_on[m, n]) if n < 3 else 0)
    np.testing.assert_allclose(np.reshape(weighed["discrete"], -1), log_q, atol=1e-4)
    for name in ("what", "where"):
        log_density = stats.norm.logpdf(f[name], f[f"{name}_mean"], f[f"{name}_std"])
        log_q += np.sum(pres[..., None] * log_density, (1, 2))
    np.testing.assert_allclose(np.reshape(weighed["kl"], -1), log_q - log_p, rtol=1e-3, atol=2e-3)

    latents = {name: found[name] for name in ("what", "where", "pres")}
    mean = np.asarray(model.decoder(**latents, frame_shape=FRAME)["mean"], np.float64)  # [M,H,C,W]
    target = np.repeat(np.moveaxis(np.asarray(frames, np.float64), -1, -2), particles, axis=0)
    likelihood = stats.norm.logpdf(target, mean, 0.3).sum((1, 2, 3))
    np.testing.assert_allclose(np.reshape(weighed["log_likelihood"], -1), likelihood, rtol=1e-4)
    assert len(set(number)) > 1


def test_frames_in_one_batch_are_frames_by_themselves():
    model, frames = small(), frames_of(video(2, 3))
    found, noise = found_in(model, frames, 2)
    together = np.asarray(model.weigh(frames, found, noise, 2)["log_likelihood"])
    for r in range(6):
        own = {name: value[2 * r : 2 * r + 2] for name, value in noise.items()}
        alone = model.find(frames[r : r + 1], own, 2)
        for name in alone:
            np.testing.assert_allclose(alone[name], found[name][2 * r : 2 * r + 2], atol=1e-5, err_msg=name)
        weighed = model.weigh(frames[r : r + 1], alone, own, 2)
        np.testing.assert_allclose(weighed["log_likelihood"][0], together[r], rtol=1e-5)


def test_loss_of_a_frame_depends_on_that_frame_only():
    model, clip = small(), video(2, 3)
    changed = tf.concat([1 - clip[:, :1], clip[:, 1:2], 1 - clip[:, 2:]], axis=1)
    one, other = (model.loss_terms(batch_of(c), {}, seed=SEED)[0] for c in (clip, changed))
    for name in one:
        np.testing.assert_allclose(one[name][:, 1], other[name][:, 1], rtol=1e-5, err_msg=name)
        assert not np.allclose(one[name][:, 0], other[name][:, 0])


@pytest.mark.parametrize("form", ["exact", "release"])
def test_loss_is_vimco_frame_by_frame(form):
    model, clip = small(vimco=form), video(2, 2)
    loss, _ = model.loss_terms(batch_of(clip), {}, seed=SEED)
    results = model.importance_weights(clip, 3, seed=SEED)
    log_w, log_q = (np.asarray(results[name], np.float64) for name in ("log_weight", "log_discrete"))
    assert log_w.shape == (4, 3)
    np.testing.assert_allclose(np.reshape(loss["negative_bound"], -1), -logmeanexp(log_w), rtol=1e-5)
    score = np.zeros(4)
    for k in range(3):
        others = np.delete(log_w, k, axis=1)
        baseline = logmeanexp(np.concatenate([others, others.mean(1, keepdims=True)], axis=1))
        signal = logmeanexp(log_w) - baseline if form == "exact" else (log_w[:, k] - baseline) / 3
        score += signal * log_q[:, k]
    np.testing.assert_allclose(np.reshape(loss["score_function"], -1), -score, rtol=1e-3, atol=2e-3)


def test_bound_of_a_clip_is_the_sum_of_its_frames_bounds():
    model, clip, truth = small(), video(2, 3), np.array([[1, 0, 2], [3, 1, 1]])
    mask = np.array([[True, True, True], [True, False, True]])
    more = {"object_count": tf.constant(truth), "frame_mask": tf.constant(mask)}
    found = model.bound(clip, 7, seed=SEED, particles_per_chunk=3, **more)
    rows, log_w, number, kl = frames_of(clip)[:, None], [], [], []
    for done, particles in ((0, 3), (3, 3), (6, 1)):
        results = model.importance_weights(rows, particles, seed=seeds.fold(SEED, done))
        log_w.append(results["log_weight"])
        number.append(np.reshape(np.sum(results["stages"]["objects"]["pres"], (1, 2, 3)), [6, particles]))
        kl.append(results["terms"]["kl"][..., 0])
    log_w, number, kl = (np.concatenate(parts, axis=1).astype(np.float64) for parts in (log_w, number, kl))
    omega = np.exp(log_w - np.logaddexp.reduce(log_w, axis=1)[:, None])
    correct = np.abs(number - truth.reshape(6, 1)) < 0.5
    by_frame = {"bound": logmeanexp(log_w), "elbo": log_w.mean(1), "kl": (omega * kl).sum(1), "sample_kl": kl.mean(1)}
    for name, value in by_frame.items():
        np.testing.assert_allclose(found[name], (value.reshape(2, 3) * mask).sum(1), rtol=1e-4, atol=1e-2, err_msg=name)
    means = {"count_accuracy": (omega * correct).sum(1), "sample_count_accuracy": correct.mean(1)}
    means |= {"objects": (omega * number).sum(1), "effective_sample_size": 1 / (omega**2).sum(1)}
    for name, value in means.items():
        expected = [value[:3].mean(), value[[3, 5]].mean()]
        np.testing.assert_allclose(found[name], expected, rtol=1e-2, atol=5e-3, err_msg=name)
    with pytest.raises(UserError, match="num_particles"):
        model.bound(clip, 0, seed=SEED)


def test_logged_counting_accuracy_is_the_weighted_share_of_right_counts():
    model, clip = small(), video(2, 2)
    present = tf.constant([[[True, True], [True, False]], [[False, False], [True, False]]])
    _, outputs = model.loss_terms(batch_of(clip, present=present), {}, seed=SEED)
    results = model.importance_weights(clip, 3, seed=SEED)
    number = np.reshape(np.sum(results["stages"]["objects"]["pres"], (1, 2, 3)), [4, 3])
    omega = np.asarray(tf.nn.softmax(results["log_weight"]))
    right = number == np.asarray(present).sum(2).reshape(4, 1)
    found = np.reshape(outputs["diagnostics"]["count_accuracy"], -1)
    np.testing.assert_allclose(found, np.sum(omega * right, axis=1), atol=1e-4)


# ------------------------------------------------------------------------------------------------- sizes, clips, show


@pytest.mark.parametrize(("cell", "size"), [("rnn", 1_400_831), ("gru", 1_691_391)])
def test_network_sizes_are_those_of_the_specification(cell, size):
    for mean_image in (False, True):
        model = AIR(cell=cell, mean_image=mean_image)
        model.build_variables((50, 50, 1))
        assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == size + 2500 * mean_image


def test_without_seed_there_is_no_noise():
    model, clip = small(), video()
    quiet, _ = small(evaluation_noise=False).unroll(clip, seed=SEED)
    for found in (model.unroll(clip, seed=None)[0], model.unroll(clip, seed=None)[0]):
        tf.nest.map_structure(np.testing.assert_array_equal, found, quiet)
    noisy, _ = model.unroll(clip, seed=SEED)
    assert np.any(np.abs(noisy["objects"]["what"] - quiet["objects"]["what"]) > 1e-3)


def test_features_are_what_is_seen_of_present_objects():
    outputs, _ = small(discovery_bias=1.0).unroll(video(2, 3), seed=SEED)
    objects = outputs["objects"]
    expected = np.asarray(objects["pres"]) * np.asarray(objects["what"])
    np.testing.assert_array_equal(outputs["features"], expected.reshape(2, 3, -1))


def test_shown_particle_is_drawn_by_weight_in_each_frame():
    """A particle that is far more likely than the others is shown."""
    model, clip = small(evaluation_particles=4, output_std=0.02), video(3, 3)
    outputs, _ = model.unroll(clip, seed=SEED)
    results = model.importance_weights(clip, 4, seed=SEED)
    log_w = np.asarray(results["log_weight"], np.float64)
    ordered, best = np.sort(log_w, axis=1), np.argmax(log_w, axis=1)
    certain = ordered[:, -1] - ordered[:, -2] > 20
    assert certain.sum() > 3
    pres = np.reshape(results["stages"]["objects"]["pres"], [9, 4, 3])[np.arange(9), best]
    np.testing.assert_array_equal(np.reshape(outputs["objects"]["pres"], [9, 3])[certain], pres[certain])


def test_objects_far_from_all_before_are_new():
    """With a tiny gate everything is always new, and no identity comes twice."""
    outputs, state = small(distance_gate=1e-6, discovery_bias=2.0).unroll(video(4, 5), seed=SEED)
    objects = {name: np.asarray(value) for name, value in outputs["objects"].items()}
    np.testing.assert_array_equal(objects["is_new"], objects["pres"][..., 0] > 0)
    for b in range(4):
        ids = objects["track_id"][b][objects["pres"][b, ..., 0] > 0]
        np.testing.assert_array_equal(ids, np.arange(len(ids)))
        assert int(state["last_id"][b]) == len(ids) - 1
    linked, _ = small(distance_gate=2.0, discovery_bias=2.0).unroll(video(4, 5), seed=SEED)
    assert np.asarray(linked["objects"]["is_new"])[:, 1:].mean() < objects["is_new"][:, 1:].mean()


def test_mean_image_starts_as_the_mean_of_the_data():
    model, clips = small(seed=3), [video(2, 2, seed=s) for s in (0, 1)]
    model.initialize_from_data([batch_of(clip) for clip in clips])
    np.testing.assert_allclose(model.decoder.mean_image, np.concatenate(clips).mean((0, 1)), rtol=1e-5)
    small(mean_image=False).initialize_from_data([])


# --------------------------------------------------------------------------------------------------- prior, roll-outs


def test_scenes_of_the_prior_are_draws_of_its_distributions():
    model = small(count_success=0.5)
    _, noise = found_in(model, tf.zeros([500, *FRAME]), 1)
    imagined = {name: np.asarray(value) for name, value in model.imagine(noise, 500).items()}
    share = np.bincount(imagined["pres"].sum((1, 2)).astype(int), minlength=4) / 500
    np.testing.assert_allclose(share, np.array([8, 4, 2, 1]) / 15, atol=0.07)
    assert np.all(np.diff(imagined["pres"][..., 0], axis=1) <= 0)
    for i, mean in enumerate((-2, -2, 0, 0)):
        assert stats.kstest(imagined["where"][..., i].ravel(), "norm", (mean, 1)).pvalue > 1e-4
    assert stats.kstest(imagined["what"].ravel(), "norm").pvalue > 1e-4


def test_frames_of_a_rollout_are_scenes_of_their_own():
    """Every object has a fresh identity; the most probable scene is empty."""
    model, clip = small(), video(6, 5)
    objects = model.unroll(clip, seed=SEED, rollout_from=2)[0]["objects"]
    present = np.asarray(objects["pres"])[..., 0] > 0
    assert present[:, 2:].any()
    np.testing.assert_array_equal(np.asarray(objects["is_new"])[:, 2:], present[:, 2:])
    assert not np.any(model.unroll(clip, seed=None, rollout_from=0)[0]["objects"]["pres"])
    generated = model.generate(4, 3, FRAME, seed=SEED)
    assert generated["reconstruction"].shape == (4, 3, *FRAME) and np.any(generated["objects"]["pres"])


# --------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"num_particles": 1}, "num_particles.*VIMCO"),
        ({"num_slots": 0}, "num_slots"),
        ({"num_slots": 13}, "num_slots.*12"),
        ({"cell": "lstm"}, "cell"),
        ({"count_prior": "categorical"}, "count_prior"),
        ({"count_prior": (0.5, 0.5)}, "count_prior.*num_slots"),
        ({"count_success": 0.0}, "count_success"),
        ({"distance_gate": 0.0}, "distance_gate"),
        ({"vimco": "reinforce"}, "vimco"),
        ({"encoder": "resnet"}, "encoder"),
        ({"decoder": "convolution", "glimpse_shape": (10, 10)}, "glimpse_shape.*multiples of 4"),
        ({"evaluation_particles": 0}, "evaluation_particles"),
        ({"glimpse_shape": (30, 30)}, "glimpse_shape"),
    ],
)
def test_bad_settings_are_one_line_that_names_the_parameter(options, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        AIR(**(SIZES | options)).build_variables(FRAME)
    assert "\n" not in str(caught.value) and "air.AIR." in str(caught.value)


@pytest.mark.parametrize("build", [small, small_classical])
def test_sprites_are_glimpses_in_three_channels_that_hide_all_of_their_box(build):
    model = build()
    what = np.random.default_rng(0).normal(0, 3, (2, 4, model.what_size)).astype(np.float32)
    sprites = model.sprites(what).numpy()
    glimpses = np.clip(model.decoder.glimpses(what.reshape(8, -1)), 0, 1)[:, :, 0]
    assert sprites.shape == (2, 4, *model.glimpse_shape, 4) and np.all(sprites[..., 3] == 1)
    for channel in range(3):
        np.testing.assert_allclose(sprites[..., channel].reshape(glimpses.shape), glimpses, atol=1e-6)
