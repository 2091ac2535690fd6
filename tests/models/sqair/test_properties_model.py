"""The whole network: weights of particles, loss, causality, options, roll-outs, bad input."""

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.models.sqair import SQAIR, terms
from silot_tf.models.sqair.weights import by_particle, weights_of
from silot_tf.ops import importance
from tests.models.sqair.small import FRAME, SEED, batch_of, small, stages_of, video

# ---------------------------------------------------------------------------------------------- weights and the loss


def test_weights_are_likelihoods_where_prior_and_posterior_agree():
    """With the prior's parameters put in place of the posterior's, and its logits, nothing is left of the KL."""
    model, clip = small(), video()
    stages, noise = stages_of(model, clip)
    prior = terms.priors_of(stages, model.propagation_prior, model.where_prior, model.count_prior, False)
    noise = by_particle(noise)
    same = {part: dict(stages[part]) for part in ("propagation", "discovery")}
    for name in ("where_mean", "where_std", "what_mean", "what_std", "logit"):
        same["propagation"][name] = prior["propagation"][name]
    for name in ("where_mean", "where_std"):
        same["discovery"][name] = prior[name]
    what = stages["discovery"]["what"]
    same["discovery"] |= {"what_mean": tf.zeros_like(what), "what_std": tf.ones_like(what)}
    for part in same:  # samples of these distributions
        for name in ("what", "where"):
            same[part][name] = same[part][f"{name}_mean"] + same[part][f"{name}_std"] * noise[part][name]
    found = terms.log_probabilities(stages | same, prior, tf.eye(4), noise)
    kl = np.asarray(found["kl"]) - np.asarray(found["count"]) + np.asarray(found["count_prior"])
    np.testing.assert_allclose(kl, 0, atol=1e-3)
    assert np.any(np.asarray(found["propagation"]) != 0)


def test_absent_objects_weigh_nothing():
    model, clip = small(discovery_bias=-60.0), video()
    stages, noise = stages_of(model, clip)
    prior = terms.priors_of(stages, model.propagation_prior, model.where_prior, model.count_prior, False)
    found = terms.log_probabilities(stages, prior, model.propagation.covariance_factor(), by_particle(noise))
    for name in ("discovery_what", "discovery_where", "propagation", "propagation_prior", "discrete", "discovery"):
        np.testing.assert_allclose(found[name], 0, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(found["kl"], -found["count_prior"], atol=1e-5)


def test_particles_with_the_same_noise_weigh_the_same():
    model, clip = small(), video()
    noise = model.draw_noise(clip, 3, tf.zeros([2], tf.int32), SEED)
    noise = tf.nest.map_structure(lambda value: tf.repeat(value[:, :, :1], 3, axis=2), noise)
    stages, _ = model.unroll_stages(clip, model.particles_before(2, 3), noise)
    weights = np.asarray(weights_of(model, clip, stages, noise)["log_alpha"])
    np.testing.assert_allclose(weights, weights[:, :1].repeat(3, 1), rtol=1e-5)


@pytest.mark.parametrize("form", ["exact", "release"])
def test_mean_of_the_terms_is_the_published_loss(form):
    model, clip = small(vimco=form), video(2, 4)
    mask = tf.constant([[True] * 4, [True, True, True, False]])
    found, _ = model.loss_terms(batch_of(clip) | {"frame_mask": mask}, {}, seed=SEED)
    results = model.importance_weights(clip, 3, seed=SEED, mask=tf.cast(mask, tf.float32))
    log_w, log_q = (np.asarray(results[name], np.float64) for name in ("log_weight", "log_discrete"))
    alpha = np.asarray(results["terms"]["log_alpha"])
    np.testing.assert_allclose(log_w, [alpha[0].sum(-1), alpha[1, :, :3].sum(-1)], rtol=1e-5)
    bound = np.log(np.mean(np.exp(log_w - log_w.max(1, keepdims=True)), 1)) + log_w.max(1)
    baseline = np.zeros_like(log_w)
    for k in range(3):
        others = np.delete(log_w, k, axis=1)
        replaced = np.concatenate([others, others.mean(1, keepdims=True)], 1)
        baseline[:, k] = np.logaddexp.reduce(replaced, axis=1) - np.log(3)
    if form == "exact":
        score = np.sum((bound[:, None] - baseline) * log_q, axis=1)
    else:
        score = np.mean((log_w - baseline) * log_q, axis=1)
    frames = np.array([4, 3])
    for name, value in (("negative_bound", -bound), ("score_function", -score)):
        np.testing.assert_allclose(found[name][0], value[0] / 4, rtol=1e-4, atol=1e-3, err_msg=name)
        np.testing.assert_allclose(np.sum(found[name], 1) / frames, value / frames, rtol=1e-4, atol=1e-3)


def test_bound_in_chunks_is_the_bound_of_all_particles():
    model, clip = small(), video(2, 2)
    truth = tf.constant([[1, 1], [0, 2]])
    found = model.bound(clip, 7, seed=SEED, particles_per_chunk=3, object_count=truth)
    from silot_tf.ops import seeds

    log_w, correct = [], []
    for done, particles in ((0, 3), (3, 3), (6, 1)):
        results = model.importance_weights(clip, particles, seed=seeds.fold(SEED, done))
        log_w.append(results["log_weight"])
        numbers = np.reshape(np.sum(results["stages"]["objects"]["pres"], (2, 3)), [2, particles, 2])
        correct.append(np.mean(np.abs(numbers - np.asarray(truth)[:, None]) < 0.5, axis=-1))
    log_w, correct = np.concatenate(log_w, 1).astype(np.float64), np.concatenate(correct, 1)
    expected = np.logaddexp.reduce(log_w, axis=1) - np.log(7)
    np.testing.assert_allclose(found["bound"], expected, atol=2e-3)
    np.testing.assert_allclose(found["elbo"], log_w.mean(1), rtol=1e-5)
    weights = np.exp(log_w - np.logaddexp.reduce(log_w, axis=1)[:, None])
    np.testing.assert_allclose(found["count_accuracy"], np.sum(weights * correct, 1), atol=5e-3)
    np.testing.assert_allclose(found["effective_sample_size"], 1 / np.sum(weights**2, 1), rtol=5e-3)
    with pytest.raises(UserError, match="num_particles"):
        model.bound(clip, 0, seed=SEED)


def test_weights_that_are_not_finite_are_seen_in_the_loss():
    clip = tf.fill([1, 2, *FRAME], float("nan"))
    found, _ = small().loss_terms(batch_of(clip), {}, seed=SEED)
    assert not np.isfinite(found["negative_bound"]).any()


# ------------------------------------------------------------------------------------------------ causality, compiled


def test_fewer_frames_give_the_same_beginning():
    model, clip = small(), video(2, 4)
    whole, _ = stages_of(model, clip)
    part, _ = stages_of(model, clip[:, :2])
    changed, _ = stages_of(model, tf.concat([clip[:, :2], 1 - clip[:, 2:]], 1))
    for name in ("what", "where", "pres"):
        np.testing.assert_allclose(whole["objects"][name][:, :2], part["objects"][name], atol=1e-6)
        np.testing.assert_allclose(whole["objects"][name][:, :2], changed["objects"][name][:, :2], atol=1e-6)
    assert np.any(np.abs(whole["objects"]["what"][:, 2:] - changed["objects"]["what"][:, 2:]) > 1e-4)


def test_first_frame_without_propagation_is_the_same():
    model, clip = small(), video(2, 3)
    whole, noise = stages_of(model, clip)
    quick, _ = stages_of(model, clip, is_first=True)
    present = np.asarray(whole["objects"]["pres"]) > 0
    np.testing.assert_array_equal(quick["objects"]["pres"], whole["objects"]["pres"])
    for name in ("what", "where", "hidden", "hidden_prior"):
        difference = np.abs(np.asarray(whole["objects"][name] - quick["objects"][name]))
        assert np.max(difference * present) < 1e-5, name
    for name in ("log_alpha", "discrete"):
        one, other = (weights_of(model, clip, stages, noise)[name] for stages in (whole, quick))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("jit", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_compiled_loss_equals_eager(jit):
    model, batch = small(num_slots=2), batch_of(video(2, 2))
    eager, _ = model.loss_terms(batch, {}, seed=SEED)
    compute = tf.function(lambda batch: model.loss_terms(batch, {}, seed=SEED)[0], autograph=False, jit_compile=jit)
    compiled = compute(batch)
    for name in eager:
        np.testing.assert_allclose(compiled[name], eager[name], rtol=1e-4, atol=1e-3)


# -------------------------------------------------------------------------------------------------------- gradients


def test_presences_carry_no_pathwise_gradient_and_everything_else_does():
    model, clip = small(discovery_bias=2.0), video(3, 3)
    with tf.GradientTape() as tape:
        results = model.importance_weights(clip, 3, seed=SEED)
        likelihood = tf.reduce_sum(results["terms"]["log_likelihood"])
    heads = [*model.discovery.presence_hidden.kernels, model.discovery.presence_out.bias]
    others = [model.discovery.recurrent.initial, model.propagation.covariance, model.decoder.output_scale]
    gradients = tape.gradient(likelihood, heads + others)
    assert all(g is None or not np.any(g) for g in gradients[: len(heads)])
    assert all(g is not None and np.any(g) for g in gradients[len(heads) :])


# ---------------------------------------------------------------------------------------------------------- options


def test_network_sizes_are_the_published():
    def size(frame=(50, 50, 1), **options):
        model = SQAIR(**options)
        model.build_variables(frame)
        return sum(int(np.prod(v.shape)) for v in model.trainable_variables)

    assert size() == 2_951_522
    assert size(units=128) == 1_102_946
    assert size(units=128, encoder="convolution", decoder="convolution") == 2_696_051


def test_count_prior_alone_depends_on_the_number_of_slots():
    def size(**options):
        return sum(int(np.prod(v.shape)) for v in small(**options).trainable_variables)

    assert size(num_slots=5) - size() == 13 * 2
    assert size() - size(count_prior="truncated_geometric") == 20 + 13 * 4


def test_cap_lets_no_object_be_lost():
    options = {"discovery_bias": 3.0, "num_slots": 2, "moved": 0.0}
    for cap in (False, True):
        stages, _ = stages_of(small(cap_discovery=cap, **options), video(8, 4))
        numbers = [np.asarray(stages[part]["pres"]).sum((2, 3)) for part in ("propagation", "discovery", "objects")]
        assert np.all(numbers[0] + numbers[1] == numbers[2]) == cap
    prior = terms.priors_of(
        stages,
        *(getattr(small(cap_discovery=True, **options), f"{p}_prior") for p in ("propagation", "where", "count")),
        True,
    )
    room = np.asarray(stages["room"])
    impossible = np.arange(3) > room
    np.testing.assert_allclose(np.exp(prior["count"])[impossible], 0, atol=1e-6)
    np.testing.assert_allclose(np.exp(prior["count"]).sum(-1), 1, rtol=1e-5)


def test_forced_count_is_found_in_the_first_frame_and_stays():
    model = small(forced_count=2, propagation_bias=-5.0)
    stages, noise = stages_of(model, video(4, 3))
    np.testing.assert_array_equal(np.asarray(stages["objects"]["pres"]).sum((2, 3)), 2)
    np.testing.assert_array_equal(np.asarray(stages["discovery"]["pres"]).sum((2, 3))[:, 1:], 0)
    found = weights_of(model, video(4, 3), stages, noise)
    np.testing.assert_allclose(found["discrete"], 0, atol=1e-5)


def test_told_count_is_forced_from_the_given_number_on():
    model = small(forced_count="told", told_from=2, discovery_bias=-60.0)
    state = model.initial_state(3, object_count=tf.constant([1, 2, 3]))
    outputs, state = model.unroll(video(3, 2), state, seed=SEED)
    more, _ = model.unroll(video(3, 2), state, seed=SEED)
    for found in (outputs, more):
        np.testing.assert_array_equal(np.asarray(found["objects"]["pres"]).sum((2, 3)), [[0, 0], [2, 2], [3, 3]])
    with pytest.raises(UserError, match="num_slots"):
        model.initial_state(1, object_count=tf.constant([4]))


@pytest.mark.parametrize("choice", ["running", "clip"])
def test_shown_particle_is_drawn_by_weight(choice):
    """One particle that is far more likely than the others is shown."""
    model = small(particle_choice=choice, evaluation_particles=4, output_std=0.02)
    clip = video(2, 3)
    outputs, _ = model.unroll(clip, seed=SEED)
    results = model.importance_weights(clip, 4, seed=SEED)
    alpha = np.asarray(results["terms"]["log_alpha"], np.float64)
    weights = np.cumsum(alpha, -1) if choice == "running" else alpha.sum(-1, keepdims=True).repeat(3, -1)
    best = np.argmax(weights, axis=1)
    margin = np.sort(weights, axis=1)
    certain = margin[:, -1] - margin[:, -2] > 20
    assert certain.any()
    pres = np.reshape(results["stages"]["objects"]["pres"], [2, 4, 3, 3])
    expected = np.take_along_axis(pres, best[:, None, :, None], axis=1)[:, 0]
    np.testing.assert_array_equal(np.asarray(outputs["objects"]["pres"])[certain][..., 0], expected[certain])


def test_fewer_scalars_shown_than_certain():
    """Confidence is that of the latest decision, 0 where nothing is."""
    outputs, _ = small().unroll(video(), seed=SEED)
    objects = {name: np.asarray(value) for name, value in outputs["objects"].items()}
    assert np.all((objects["confidence"] > 0) == (objects["pres"] > 0)) and np.all(objects["confidence"] <= 1)


# ---------------------------------------------------------------------------------------------- roll-outs, generation


def test_rollout_brings_no_new_objects_unless_asked():
    clip = video(6, 5)
    for wanted in (False, True):
        model = small(rollout_discovery=wanted, discovery_bias=0.0, count_prior="geometric")
        outputs, _ = model.unroll(clip, seed=SEED, rollout_from=2)
        assert np.asarray(outputs["objects"]["is_new"])[:, 2:].any() == wanted


def test_rollout_moves_objects_as_the_prior_says():
    model = small(propagation_bias=20.0, propagation_prior_bias=20.0, discovery_bias=3.0)
    clip = video(2, 4)
    state = model.particles_before(2, 1)
    noise = model.draw_noise(clip, 1, state["frame"], SEED)
    stages, _ = model.unroll_stages(clip, state, noise, rollout_from=2)
    prior = terms.priors_of(stages, model.propagation_prior, model.where_prior, model.count_prior, False)["propagation"]
    for name in ("where", "what"):
        drawn = np.asarray(noise["propagation"][name])[:, :, 0]
        expected = np.asarray(prior[f"{name}_mean"]) + np.asarray(prior[f"{name}_std"]) * drawn
        np.testing.assert_allclose(np.asarray(stages["propagation"][name])[:, 2:], expected[:, 2:], atol=1e-5)


def test_generation_draws_the_first_count_from_its_prior():
    model = small(moved=0.0, count_prior="truncated_geometric", count_success=0.5)
    outputs = model.generate(300, 1, FRAME, seed=SEED)
    counts = np.asarray(outputs["objects"]["pres"]).sum((1, 2, 3)).astype(int)
    found = np.bincount(counts, minlength=4) / 300
    np.testing.assert_allclose(found, np.array([8, 4, 2, 1]) / 15, atol=0.1)
    assert np.all(np.isfinite(outputs["reconstruction"]))
    np.testing.assert_array_equal(model.generate(2, 2, FRAME, seed=SEED)["objects"]["pres"].shape, [2, 2, 3, 1])


def test_removed_and_moved_objects_stay_removed_and_moved():
    model = small(propagation_bias=20.0, discovery_bias=3.0)
    _, state = model.unroll(video(2, 2), seed=SEED)
    remove = tf.constant([[True, False, False]] * 2)
    shift = tf.constant([[[0.0, 0.0], [0.1, 0.0], [0.0, 0.0]]] * 2)
    edited = model.edit_state(state, FRAME, remove=remove, shift=shift)
    assert not np.any(np.asarray(edited["objects"]["pres"])[:, 0, 0])
    before, after = (np.tanh(np.asarray(s["objects"]["where"])[:, 0, 1, 2:]) for s in (state, edited))
    np.testing.assert_allclose(after - before, [[0.0, 0.2]] * 2, atol=1e-4)


# --------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"num_particles": 0}, "num_particles"),
        ({"num_particles": 1}, "num_particles.*VIMCO"),
        ({"num_slots": 0}, "num_slots"),
        ({"num_slots": 3, "forced_count": 4}, "forced_count.*num_slots"),
        ({"forced_count": "all"}, "forced_count"),
        ({"count_prior": "poisson"}, "count_prior"),
        ({"count_prior": (0.5, 0.5)}, "count_prior.*num_slots"),
        ({"count_prior": "geometric", "count_success": 1.5}, "count_success"),
        ({"where_prior": "uniform"}, "where_prior"),
        ({"propagation_prior": "lstm"}, "propagation_prior"),
        ({"vimco": "reinforce"}, "vimco"),
        ({"encoder": "resnet"}, "encoder"),
        ({"decoder": "resnet"}, "decoder"),
        ({"decoder": "convolution", "glimpse_shape": (10, 10)}, "glimpse_shape.*multiples of 4"),
        ({"particle_choice": "best"}, "particle_choice"),
        ({"evaluation_particles": 0, "particle_choice": "clip"}, "evaluation_particles"),
        ({"glimpse_shape": (1, 5)}, "glimpse_shape"),
        ({"output_std": 0.0}, "output_std"),
    ],
)
def test_bad_settings_are_one_line_that_names_the_parameter(options, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        SQAIR(**({"units": 8, "what_size": 3} | options)).build_variables(FRAME)
    assert "\n" not in str(caught.value) and "sqair.SQAIR." in str(caught.value)


def test_frames_of_another_size_are_refused():
    with pytest.raises(UserError, match="frame"):
        small().unroll(video(frame_shape=(20, 20, 1)), seed=SEED)


def test_mean_image_starts_as_the_mean_of_the_data():
    model = small(seed=3)
    clips = [video(2, 2, seed=s) for s in (0, 1)]
    model.initialize_from_data([batch_of(clip) for clip in clips])
    np.testing.assert_allclose(model.decoder.mean_image, np.concatenate(clips).mean((0, 1)), rtol=1e-5)


def test_vimco_of_one_particle_is_refused_by_the_shared_op():
    with pytest.raises(ValueError, match="at least 2"):
        importance.vimco_surrogate(tf.zeros([2, 1]), tf.zeros([2, 1]))


# -------------------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("channels", [1, 3])
def test_sprites_are_glimpses_that_hide_all_of_their_box(channels):
    """A box that is the whole frame, of as many pixels as a glimpse has, shows the sprite as it is."""
    model = small(frame_shape=(*FRAME[:2], channels), mean_image=False, output_scale=2.0)
    what = np.random.default_rng(0).normal(0, 3, (2, 3, model.what_size)).astype(np.float32)
    sprites = model.sprites(what).numpy()
    assert sprites.shape == (2, 3, *model.glimpse_shape, 4) and np.all(sprites[..., 3] == 1)
    assert sprites.min() == 0 and 0.1 < sprites[..., :3].max() <= 1
    whole, shape = np.tile(np.float32([60, 60, 0, 0]), (6, 1, 1)), (*model.glimpse_shape, channels)
    mean = model.decoder(what.reshape(6, 1, -1), whole, np.ones((6, 1, 1), np.float32), shape)["mean"]
    painted = np.clip(np.moveaxis(mean.numpy(), 2, 3), 0, 1).reshape(*sprites.shape[:-1], channels)
    np.testing.assert_allclose(sprites[..., :3], np.broadcast_to(painted, (*sprites.shape[:-1], 3)), atol=1e-5)
