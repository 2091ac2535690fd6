import keras
import numpy as np
import pytest
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.models.base import VideoModel
from silot_tf.training import trainer as trainers
from tests.training import fakes

SETTINGS = {"seed": 0, "stage": 0, "step": 0, "learning_rate": 0.1, "gradient_noise": 0.0, "annealed": {}}


class TwoTerms(VideoModel):
    """Loss terms with gradients known by hand: a * w per frame and b * w^2 * scale."""

    annealed_quantities = {"scale": 1.0}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.part = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        self.part.build((None, 1))
        self.own = self.add_weight(shape=(2,), initializer="ones", name="own")

    def initial_state(self, batch_size, crop_offset=None):
        return {}

    def unroll(self, video, state=None, *, seed, training=False, rollout_from=None):
        pres = tf.tile(tf.constant([[[[0.25], [0.75], [1.0]]]]), [tf.shape(video)[0], video.shape[1], 1, 1])
        return {"reconstruction": video, "objects": {"pres": pres}}, {}

    def loss_terms(self, batch, annealed, *, seed):
        video = batch["video"]
        brightness = tf.reduce_sum(video, axis=[2, 3, 4])
        outputs, _ = self.unroll(video, seed=seed)
        return {
            "linear": brightness * self.part.kernel[0, 0],
            "square": tf.ones_like(brightness) * tf.reduce_sum(self.own**2) * annealed["scale"],
        }, outputs


def video_batch(frames=4, masked=0):
    video = np.arange(2 * frames * 4, dtype=np.float32).reshape(2, frames, 2, 2, 1) / 50
    mask = np.ones((2, frames), bool)
    if masked:
        mask[:, -masked:] = False
    return {"video": tf.constant(video), "frame_mask": tf.constant(mask)}


@pytest.mark.parametrize("square", [0.5, 1.0])
def test_objective_is_the_weighted_sum_over_time_averaged_over_the_batch(square):
    """Terms without a weight weigh 1."""
    model = TwoTerms()
    weights = {"linear": 2.0} if square == 1.0 else {"linear": 2.0, "square": square}
    trainer = trainers.Trainer(model, loss_weights=weights)
    batch = video_batch()
    result = trainer.update(batch, frames=3, **SETTINGS | {"annealed": {"scale": 4.0}})
    brightness = batch["video"].numpy()[:, :3].sum((2, 3, 4))
    objective = (2.0 * brightness + square * 2 * 4.0).sum(1).mean()
    assert result["loss"] == pytest.approx(objective / 3, rel=1e-6)
    assert result["term/linear"] == pytest.approx(brightness.mean(), rel=1e-6)
    assert result["term/square"] == pytest.approx(8.0, rel=1e-6)
    gradient_part = 2.0 * brightness.sum(1).mean()
    gradient_own = square * 3 * 4.0 * 2.0 * np.ones(2)
    assert result["gradient_norm/part"] == pytest.approx(gradient_part, rel=1e-6)
    assert result["gradient_norm/model"] == pytest.approx(np.linalg.norm(gradient_own), rel=1e-6)
    assert result["gradient_norm"] == pytest.approx(np.hypot(gradient_part, np.linalg.norm(gradient_own)), rel=1e-6)
    assert result["objects_on"] == 2
    assert result["objects_pres"] == pytest.approx(2.0)


def test_objective_can_be_a_mean_over_time():
    """Then gradients do not grow with the clip; what is logged stays the same."""
    found = {}
    for mean in (False, True):
        trainer = trainers.Trainer(TwoTerms(), mean_over_time=mean)
        found[mean] = trainer.update(video_batch(), frames=3, **SETTINGS | {"annealed": {"scale": 1.0}})
    for name, value in found[False].items():
        divisor = 3 if name.startswith("gradient_norm") else 1
        assert found[True][name] == pytest.approx(value / divisor, rel=1e-6), name


def test_padding_frames_do_not_count():
    trainer = trainers.Trainer(TwoTerms())
    masked = trainer.update(video_batch(masked=1), frames=4, **SETTINGS | {"annealed": {"scale": 1.0}})
    brightness = video_batch()["video"].numpy()[:, :3].sum((2, 3, 4))
    assert masked["term/linear"] == pytest.approx(brightness.mean(), rel=1e-6)
    assert masked["loss"] == pytest.approx((brightness + 2.0).sum(1).mean() / 4, rel=1e-6)


def test_loss_weights_must_name_terms():
    trainer = trainers.Trainer(TwoTerms(), loss_weights={"linear": 1.0, "squared": 1.0})
    with pytest.raises(UserError, match=r"Trainer.loss_weights.*\['linear', 'square'\]"):
        trainer.update(video_batch(), frames=2, **SETTINGS | {"annealed": {"scale": 1.0}})


def test_gradients_are_clipped_to_the_global_norm_before_the_update():
    class Sgd(keras.optimizers.SGD):
        pass

    model = TwoTerms()
    trainer = trainers.Trainer(model, make_optimizer=Sgd, clip_norm=0.5)
    before = [np.asarray(v).copy() for v in model.trainable_variables]
    trainer.update(video_batch(), frames=4, **SETTINGS | {"annealed": {"scale": 1.0}})
    change = [b - np.asarray(v) for b, v in zip(before, model.trainable_variables, strict=True)]
    assert np.sqrt(sum((c**2).sum() for c in change)) == pytest.approx(0.1 * 0.5, rel=1e-4)


def test_gradient_noise_comes_after_clipping_and_depends_on_seed_stage_and_step_alone():
    def weights_after(**position):
        model = TwoTerms()
        trainer = trainers.Trainer(model, make_optimizer=keras.optimizers.SGD, clip_norm=1e-6)
        trainer.update(
            video_batch(), frames=2, **SETTINGS | {"annealed": {"scale": 1.0}, "gradient_noise": 1.0} | position
        )
        return np.concatenate([np.ravel(v) for v in model.trainable_variables])

    base = weights_after()
    assert 0.01 < np.abs(base - 1).max() < 0.1 * 2 + 1e-5  # truncated at two deviations, learning rate 0.1
    np.testing.assert_array_equal(base, weights_after())
    for other in ({"seed": 1}, {"stage": 1}, {"step": 1}):
        assert np.abs(weights_after(**other) - base).max() > 1e-3


def test_non_finite_results_name_the_term_before_the_gradient():
    assert trainers.non_finite({"loss": 1.0, "term/a": 2.0}) == []
    nan = float("nan")
    scalars = {"loss": nan, "term/a": nan, "term/b": 1.0, "gradient_norm": nan, "gradient_norm/part": nan}
    assert trainers.non_finite(scalars) == ["loss term 'a'"]
    assert trainers.non_finite(scalars | {"term/a": 0.0}) == ["gradient of 'part'"]


def test_too_many_frames_is_an_error():
    with pytest.raises(UserError, match="asks for 5 frames, the clips have 4"):
        trainers.first_frames(video_batch(), 5)


def test_a_few_updates_lower_the_loss_of_the_baseline():
    model = fakes.build_model()
    trainer = trainers.Trainer(model)
    batch = tf.nest.map_structure(tf.constant, fakes.batch_number(0, 4, 0))
    losses = [trainer.update(batch, frames=2, **SETTINGS | {"step": step})["loss"] for step in range(30)]
    # mean Bernoulli cross entropy of the best constant image is below that of grey
    assert losses[-1] < losses[0] - 1
    assert losses[0] == pytest.approx(np.log(2) * np.prod(fakes.FRAME), rel=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_variants_agree(jit_compile):
    model = fakes.build_model()
    trainer = trainers.Trainer(model, jit_compile=jit_compile)
    batch = tf.nest.map_structure(tf.constant, fakes.batch_number(0, 4, 0))
    trainer.update(batch, frames=3, **SETTINGS)
    expected = fakes.build_model()
    trainers.Trainer(expected).update(batch, frames=3, **SETTINGS)
    for a, b in zip(model.variables, expected.variables, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5)
