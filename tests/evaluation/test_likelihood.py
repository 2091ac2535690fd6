"""The likelihood measure against closed forms, enumeration and plain NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logsumexp
from scipy.stats import norm

from silot_tf.errors import UserError
from silot_tf.evaluation import measures
from silot_tf.evaluation.likelihood import Likelihood
from silot_tf.ops import importance, seeds
from tests.evaluation.fakes import DriftingBoxes

X = 1.3  # the observation of specification 11.7
LOG_P = -1.68801


class Toy:
    """z ~ N(0, 1), x | z ~ N(z, 1), q(z) = N(.2 x + .1, .9^2): the likelihood is known in closed form.

    The "number of objects" of a sample is 1 where z > 1, else 0. Particle k has the same noise in chunks of any size.
    """

    def bound(self, video, num_particles, *, seed, particles_per_chunk=None, object_count=None, frame_mask=None):
        size, chunk = video.shape[0], particles_per_chunk or num_particles
        self.chunks, running, plain = [], None, 0.0
        for start in range(0, num_particles, chunk):
            noise = seeds.normal([size, num_particles], seed)[:, start : start + chunk]
            log_w, count = self.weigh(tf.reduce_max(video, axis=[1, 2, 3, 4])[:, None], noise)
            values = {"count_accuracy": tf.cast(count == tf.cast(object_count[:, :1], tf.float32), tf.float32)}
            running = running or importance.no_particles(size, values)
            running = importance.add_particles(running, log_w, values)
            plain += tf.reduce_sum(log_w, axis=1) / num_particles
            self.chunks.append((log_w.numpy(), values["count_accuracy"].numpy()))
        return importance.bound_of(running) | {"elbo": plain}

    def weigh(self, x, noise):
        mean, std = 0.2 * x + 0.1, 0.9
        z = mean + std * noise

        def log_normal(value, mean, std):
            return -0.5 * ((value - mean) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)

        log_w = log_normal(z, 0.0, 1.0) + log_normal(x, z, 1.0) - log_normal(z, mean, std)
        return log_w, tf.cast(z > 1, tf.float32)


def batch_of(clips, count=1, x=X, frames=1, **more):
    label = np.full((clips, frames, 2), -1, np.int32)
    label[:, :, :count] = 5
    return {
        "video": np.full((clips, frames, 1, 1, 1), x, np.float32),
        "frame_mask": np.ones((clips, frames), bool),
        "present": np.zeros((clips, frames, 2), bool),  # out of sight
        "label": label,
    } | more


@pytest.mark.parametrize(("particles", "expected"), [(1, -1.840), (2, -1.743), (5, -1.706), (50, -1.690)])
def test_bound_of_a_known_model(particles, expected):
    found = Likelihood(particles).evaluate(Toy(), [batch_of(4000)], seed=1)
    assert found["bound"] == pytest.approx(expected, abs=0.03)
    assert found["elbo"] == pytest.approx(-1.840, abs=0.03)
    assert found["particles"] == particles


def test_chunks_change_nothing_and_are_what_numpy_says():
    results = []
    for chunk in (None, 64, 7, 1):
        model = Toy()
        results.append(Likelihood(64, particles_per_chunk=chunk).evaluate(model, [batch_of(3)], seed=2))
        log_w, right = (np.concatenate(part, axis=1) for part in zip(*model.chunks, strict=True))
        assert log_w.shape == (3, 64) and len(model.chunks) == {None: 1, 64: 1, 7: 10, 1: 64}[chunk]
        expected = logsumexp(log_w.astype(np.float64), axis=1) - np.log(64)
        assert results[-1]["bound"] == pytest.approx(expected.mean(), abs=1e-5)
        weights = np.exp(log_w - logsumexp(log_w, axis=1, keepdims=True))
        assert results[-1]["weighted_count_accuracy"] == pytest.approx((weights * right).sum(1).mean(), abs=1e-5)
    for other in results[1:]:
        assert other == pytest.approx(results[0], rel=1e-5)


def test_counting_is_weighted_by_the_posterior_not_by_the_proposal():
    """With many particles it is p(z > 1 | x), where z | x ~ N(x / 2, 1 / 2); the proposal's share is another."""
    found = Likelihood(2000).evaluate(Toy(), [batch_of(50)], seed=3)
    posterior, proposal = norm.sf(1, X / 2, np.sqrt(0.5)), norm.sf(1, 0.2 * X + 0.1, 0.9)
    assert abs(posterior - proposal) > 0.05
    assert found["weighted_count_accuracy"] == pytest.approx(posterior, abs=0.01)


def test_clips_of_unequal_batches_count_the_same_and_later_ones_can_be_left_out():
    class Brightness:
        sizes = ()

        def bound(self, video, num_particles, **settings):
            self.sizes += (video.shape[0],)
            return {"bound": video[:, 0, 0, 0, 0], "kl": 2 * video[:, 0, 0, 0, 0]}

    batches = [batch_of(4, x=1.0), batch_of(4, x=2.0), batch_of(2, x=5.0)]
    model = Brightness()
    assert Likelihood(3).evaluate(model, batches, seed=0) == {"bound": 2.2, "weighted_kl": 4.4, "particles": 3.0}
    assert model.sizes == (4, 4, 4)  # compiled once
    assert Likelihood(3, clips=5).evaluate(model, batches, seed=0)["bound"] == pytest.approx((4 + 2) / 5)


def test_objects_out_of_sight_exist():
    batch = batch_of(2, count=2, frames=3)
    batch["label"][1, 2] = -1
    np.testing.assert_array_equal(measures.existing_objects(batch), [[2, 2, 2], [2, 2, 0]])
    batch.pop("label")
    np.testing.assert_array_equal(measures.existing_objects(batch), np.zeros((2, 3)))
    batch.pop("present")
    assert measures.existing_objects(batch) is None


@pytest.mark.parametrize("weight", [-np.inf, np.nan])
def test_weights_that_are_not_finite_stop_the_measurement_with_the_batch(weight):
    class Diverged(Toy):
        def weigh(self, x, noise):
            log_w, count = super().weigh(x, noise)
            return tf.where(tf.range(noise.shape[0])[:, None] == 1, weight, log_w), count

    batch = batch_of(3)
    with pytest.raises(
        measures.NonFiniteError, match=r"all -inf, or not numbers, for clips \[1\] of batch 0"
    ) as caught:
        Likelihood(4).evaluate(Diverged(), [batch], seed=0)
    np.testing.assert_array_equal(caught.value.batch["video"], batch["video"])
    assert "\n" not in str(caught.value)


def test_some_particles_without_weight_do_no_harm():
    class Partly(Toy):
        def weigh(self, x, noise):
            log_w, count = super().weigh(x, noise)
            return tf.where(tf.range(noise.shape[1])[None] > 0, -np.inf, log_w), count

    found = Likelihood(4).evaluate(Partly(), [batch_of(2)], seed=0)
    assert np.isfinite(found["bound"]) and found["effective_sample_size"] == pytest.approx(1)


@pytest.mark.parametrize("name", ["particles", "clips", "particles_per_chunk"])
def test_numbers_out_of_range_are_refused_by_name(name):
    with pytest.raises(UserError, match=rf"evaluation\.Likelihood\.{name} is 0"):
        Likelihood(**{name: 0})


def test_models_without_a_bound_and_empty_sets_are_refused():
    with pytest.raises(UserError, match="DriftingBoxes gives no bound"):
        Likelihood(2).evaluate(DriftingBoxes(), [batch_of(2)], seed=0)
    with pytest.raises(UserError, match="no clips"):
        Likelihood(2).evaluate(Toy(), [], seed=0)


def test_every_number_is_explained_with_its_particles():
    texts = Likelihood(37, clips=9).protocol
    found = Likelihood(37, clips=9).evaluate(Toy(), [batch_of(9)], seed=0)
    assert set(found) <= set(texts)
    assert "37" in texts["bound"] and "first 9 clips" in texts["bound"]
