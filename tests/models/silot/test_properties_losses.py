"""Loss terms: properties 31 and 32 of the specification, section 9, and the options of the static size prior."""

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.models.silot import losses
from tests.models.silot import scenes

FRAMES, LOG_ODDS = 3, tf.constant(-4.38)
GAUSSIANS = ("shift", "size", "what", "depth")


def normal_kl(mean, std, prior_mean, prior_std):
    return np.log(prior_std / std) + (std**2 + (mean - prior_mean) ** 2) / (2 * prior_std**2) - 0.5


def run(model, dropout=None, training=True):
    """Stages and loss terms of a training pass; `dropout [T]` are the uniform draws of discovery dropout."""
    video = tf.constant(scenes.moving_squares(frames=FRAMES))
    state = model.initial_state(2)
    noise = model.draw_noise(video, state, scenes.SEED)
    if dropout is not None:
        noise["dropout"] = tf.constant([dropout] * 2, tf.float32)
    stages, _ = model.unroll_stages(video, state, noise, training=training)
    outputs = model.outputs(video, stages)
    return stages, model.terms(video, stages, outputs["reconstruction"], LOG_ODDS)


def test_dropped_discoveries_cost_no_gaussian_kl_but_count(model):
    """Property 31; frame 0 is never dropped."""
    stages, terms = run(model, dropout=[0.999, 0.999, 0.5])
    presence = stages["discovered"]["pres"][..., 0].numpy()
    assert np.all(presence[:, 0] > 0) and np.all(presence[:, 2] > 0)
    np.testing.assert_array_equal(presence[:, 1], 0.0)
    for name in GAUSSIANS:
        cost = terms[f"discovery_{name}_kl"].numpy()
        np.testing.assert_array_equal(cost[:, 1], 0.0)
        assert np.all(cost[:, [0, 2]] > 0)
    per_slot = losses.count_term(stages, LOG_ODDS).numpy()
    assert np.all(per_slot[:, 1, scenes.SLOTS :] > 0.01)  # probabilities stay, so each still pays
    np.testing.assert_allclose(per_slot.sum(-1), terms["count_kl"], rtol=1e-5)


@pytest.mark.parametrize(("draw", "kept"), [(0.6224, True), (0.6226, False)])
def test_discovery_is_kept_with_the_probability_that_is_bound(model, draw, kept):
    stages, _ = run(model, dropout=[draw] * FRAMES)
    assert np.all((stages["discovered"]["pres"][:, 1:] > 0) == kept)


def test_nothing_is_dropped_at_evaluation(model):
    stages, _ = run(model, dropout=[0.999] * FRAMES, training=False)
    assert np.all(stages["discovered"]["pres"] > 0)


def test_perfect_binary_frames_cost_nothing_and_costs_add_up_over_frames():
    """Property 32."""
    image = (np.random.default_rng(0).random((1, 1, 12, 12, 3)) > 0.5).astype(np.float32)
    perfect = losses.reconstruction_nats(image, tf.constant(image))
    assert perfect.shape == (1, 1) and float(perfect[0, 0]) / image.size < 1e-5
    guess = np.random.default_rng(1).uniform(0.1, 0.9, image.shape).astype(np.float32)
    once = losses.reconstruction_nats(image, tf.constant(guess))
    twice = losses.reconstruction_nats(np.repeat(image, 2, 1), tf.constant(np.repeat(guess, 2, 1)))
    assert float(tf.reduce_sum(twice)) == pytest.approx(2 * float(once[0, 0]), rel=1e-6)
    by_hand = -np.sum(np.where(image > 0.5, np.log(guess), np.log(1 - guess)))
    assert float(once[0, 0]) == pytest.approx(by_hand, rel=1e-5)


def test_gaussian_terms_are_presence_times_the_formula(model):
    """Specification 3.1 and 3.2, every static prior written out."""
    stages, terms = run(model)
    size, found = (-np.log(9.0), 0.5), {}
    for kind, stage, presence, what, depth, priors in (
        ("discovery", "discovery", "discovered", "what_mean", "depth_mean", [(0, 1), size, (0, 1), (0, 1)]),
        ("propagation", "propagation", "posterior", "what_change_mean", "depth_change_mean",
         [(0, 0.3), size, (0, 0.4), (0, 1)]),
    ):  # fmt: skip
        get = lambda name, stage=stage: stages[stage][name].numpy().astype(np.float64)  # noqa: E731
        where_mean, where_std = get("where_mean"), get("where_std")
        means = [where_mean[..., :2], where_mean[..., 2:], get(what), get(depth)]
        stds = [where_std[..., :2], where_std[..., 2:], get("what_std"), get("depth_std")]
        weight = stages[presence]["pres"].numpy()
        for name, mean, std, prior in zip(GAUSSIANS, means, stds, priors, strict=True):
            found[f"{kind}_{name}_kl"] = np.sum(weight * normal_kl(mean, std, *prior), axis=(2, 3))
    for name, expected in found.items():
        np.testing.assert_allclose(terms[name], expected, rtol=1e-4, err_msg=name)


def test_learned_terms_compare_the_posterior_with_the_prior_network(model):
    stages, terms = run(model)
    posterior, prior = ({k: v.numpy() for k, v in stages[part].items()} for part in ("propagation", "prior"))
    weight = stages["posterior"]["pres"].numpy()
    for name, mean, std in (("what", "what_change_mean", "what_std"), ("depth", "depth_change_mean", "depth_std")):
        kl = normal_kl(posterior[mean], posterior[std], prior[mean], prior[std])
        np.testing.assert_allclose(terms[f"learned_{name}_kl"], np.sum(weight * kl, axis=(2, 3)), rtol=1e-4)
    y, q, p = posterior["pre_sigmoid"], posterior["log_odds"], prior["log_odds"]
    softplus = lambda x: np.logaddexp(0, x)  # noqa: E731
    presence = (q - p) - 2 * (softplus(q - y) - softplus(p - y))  # specification 3.4, not weighted by presence
    np.testing.assert_allclose(terms["learned_pres_kl"], presence.sum(axis=(2, 3)), rtol=1e-3, atol=1e-3)


def test_size_prior_may_be_put_on_the_change_as_in_the_table_of_the_paper(model):
    stages, terms = run(scenes.build(size_prior_on_change=True))
    change = stages["propagation"]["where_mean"].numpy()[..., 2:] - stages["propagated"]["old_size_logit"].numpy()
    kl = normal_kl(change, stages["propagation"]["where_std"].numpy()[..., 2:], 0.0, 0.3)
    expected = np.sum(stages["posterior"]["pres"].numpy() * kl, axis=(2, 3))
    np.testing.assert_allclose(terms["propagation_size_kl"], expected, rtol=1e-4)
    # Only this term differs from the default, on the same weights and noise.
    _, default = run(model)
    assert {n for n in terms if not np.allclose(terms[n], default[n], rtol=1e-6)} == {"propagation_size_kl"}


def test_old_size_logits_are_those_of_the_frame_before(model):
    stages, _ = run(model)
    old = stages["propagated"]["old_size_logit"]
    np.testing.assert_array_equal(old[:, 0], 0.0)
    np.testing.assert_array_equal(old[:, 1:], stages["selected"]["size_logit"][:, :-1])


def test_static_size_prior_can_be_bound():
    stages, terms = run(scenes.build(size_prior=(-1.0, 0.25)))
    where_mean, where_std = (stages["discovery"][n].numpy()[..., 2:] for n in ("where_mean", "where_std"))
    weight = stages["discovered"]["pres"].numpy()
    expected = np.sum(weight * normal_kl(where_mean, where_std, -1.0, 0.25), axis=(2, 3))
    np.testing.assert_allclose(terms["discovery_size_kl"], expected, rtol=1e-4)


def test_padding_frames_cost_nothing(model):
    video = tf.constant(scenes.moving_squares(frames=FRAMES))
    mask = tf.constant([[True, True, True], [True, False, False]])
    annealed = {"training_wheels": tf.constant(0.0), "count_log_odds": LOG_ODDS}
    terms, _ = model.loss_terms({"video": video, "frame_mask": mask}, annealed, seed=scenes.SEED)
    whole, _ = model.loss_terms({"video": video, "frame_mask": tf.ones_like(mask)}, annealed, seed=scenes.SEED)
    for name, term in terms.items():
        np.testing.assert_array_equal(term, np.where(mask, whole[name], 0.0))
