"""Variants of the network and their use elsewhere: property 34 of the specification, section 9, and options."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from silot_tf import contracts
from silot_tf.models.silot import SILOT
from silot_tf.models.silot.rendering import Renderer
from silot_tf.ops import compositing
from tests.models.silot import scenes

SHAPES = {
    "interacting": True, "attention_std": 0.15, "colour_scale": 1.0, "alpha_scale": 1.0, "alpha_shift": 3.0,
    "evaluation_noise": False,
}  # fmt: skip
ATARI = {
    "encoder_hidden": (512, 256), "decoder_hidden": (256, 512), "anchor": (24, 24), "presence_threshold": 0.05,
    "evaluation_noise": False,
}  # fmt: skip


def count(*parts) -> int:
    return sum(int(np.prod(v.shape)) for part in parts for v in part.trainable_variables)


@pytest.fixture(scope="module")
def atari_model():
    return scenes.shared(num_slots=6, noise=0.01, **ATARI)


@pytest.fixture(scope="module")
def shapes_model():
    return scenes.shared(noise=0.01, **SHAPES)


@pytest.mark.parametrize(
    ("fixture", "column"), [("model", "MNIST"), ("shapes_model", "Shapes"), ("atari_model", "Atari")]
)
def test_parameter_counts_are_those_of_appendix_a(request, fixture, column):
    """Less the frame networks that the authors' prior carries along unused."""
    model = request.getfixturevalue(fixture)
    atari, interacting = column == "Atari", column == "Shapes"
    encoder = 449_344 if atari else 191_936
    expected = {
        "backbone": ((model.backbone,), 572_096),
        "discovery attention": ((model.discovery_attention,), 21_184),
        "fusion": ((model.fusion,), 221_376),
        "discovery box": ((model.discovery.where_head,), 9_246),
        "discovery what": ((model.discovery.what_head,), 77_610),
        "discovery depth": ((model.discovery.depth_head,), 52_536),
        "discovery pres": ((model.discovery.pres_head,), 40_000),
        "discovery encoder": ((model.discovery.encoder,), encoder),
        "glimpse and masks": ((model.propagation.first_glimpse,), 56_796),
        "encoder 1": ((model.propagation.first_encoder,), encoder),
        "encoder 2": ((model.propagation.second_encoder,), encoder),
        "where": ((model.propagation.where_head,), 24_008),
        "what (glimpse)": ((model.propagation.what_from_glimpse,), 29_528),
        "what (state)": ((model.propagation.what_from_state,), 56_120),
        "depth": ((model.propagation.depth_head,), 30_402),
        "pres": ((model.propagation.pres_head,), 30_401),
        "recurrent cell": ((model.propagation.cell,), 77_184),
        "prior": ((model.prior,), 247_643),
        "decoder": ((model.renderer,), 550_416 if atari else 242_832),
    }
    attention = [model.object_network] + ([model.neighbour_attention] if interacting else [])
    expected["propagation attention"] = (attention, 46_336 if interacting else 21_056)
    assert {name: count(*parts) for name, (parts, _) in expected.items()} == {n: c for n, (_, c) in expected.items()}
    original = {"MNIST": 2_826_622, "Shapes": 2_851_902, "Atari": 4_421_246}[column]
    unused = (1_203_127 if atari else 688_311) - 247_643
    assert count(model) == original - unused
    assert original - unused == 128 + sum(c for _, c in expected.values())


@pytest.mark.parametrize("frame_shape", [(48, 48), (60, 60), (96, 96), (195, 160), (53, 37)])
@pytest.mark.parametrize("fixture", ["quiet_model", "shapes_model", "atari_model"])
def test_same_weights_serve_frames_of_other_sizes(request, fixture, frame_shape):
    """Property 34."""
    model = request.getfixturevalue(fixture)
    video = tf.constant(scenes.moving_squares(batch=1, frames=2, frame_shape=frame_shape))
    outputs, _ = model.unroll(video, seed=scenes.SEED)
    contracts.check_outputs(outputs)
    assert outputs["reconstruction"].shape == video.shape
    for value in tf.nest.flatten(outputs):
        assert np.all(np.isfinite(value))


def test_frames_of_another_size_show_the_same_objects():
    """With a pointwise fusion cells are independent, so black around a small frame changes nothing of its cells."""
    model = scenes.build(fusion_kernel=1)
    small = scenes.moving_squares(batch=1, frames=1, frame_shape=(48, 48))
    large = np.zeros((1, 1, 96, 120, 3), np.float32)
    large[:, :, :48, :48] = small
    found = []
    for video in (small, large):
        stages, _ = model.unroll_stages(tf.constant(video), model.initial_state(1), None)
        rows, columns = stages["grid"].shape[2:4]
        found.append({k: np.asarray(v)[0, 0].reshape(rows, columns, -1) for k, v in stages["discovered"].items()})
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name][:4, :4], value, atol=1e-5, err_msg=name)


def test_same_weights_serve_another_number_of_slots(quiet_model):
    """Property 34: at the first frame the slots hold the most present of the same discovered objects."""
    video = tf.constant(scenes.moving_squares(frames=2))
    few, _ = quiet_model.unroll(video, seed=scenes.SEED)
    model = SILOT(num_slots=7, evaluation_noise=False)
    model.build_variables((60, 48, 3))
    model.set_weights(quiet_model.get_weights())
    many, _ = model.unroll(video, seed=scenes.SEED)
    assert many["objects"]["what"].shape == (2, 2, 7, 64)
    for b in range(2):
        presence = [np.sort(np.asarray(o["objects"]["pres"])[b, 0, :, 0])[::-1] for o in (few, many)]
        np.testing.assert_allclose(presence[1][: scenes.SLOTS], presence[0], atol=1e-6)


def test_slots_may_outnumber_cells_and_cells_slots():
    for slots, frame_shape in ((11, (24, 12)), (1, (48, 48))):
        model = scenes.build(num_slots=slots, frame_shape=frame_shape)
        height, width = frame_shape
        video = tf.constant(scenes.moving_squares(frames=2, frame_shape=(48, 48))[:, :, :height, :width])
        outputs, _ = model.unroll(video, seed=scenes.SEED)
        assert outputs["objects"]["pres"].shape == (2, 2, slots, 1)


def run_at_offset(model, offset=None):
    """Stages of two frames of a clip cropped at `offset`, without noise."""
    video = tf.constant(scenes.moving_squares(frames=2))
    return model.unroll_stages(video, model.initial_state(2, offset), None)


def test_crop_offset_is_added_to_positions_and_felt_from_the_second_frame(quiet_model):
    offset = tf.constant([[12, 24], [0, 36]])
    (here, _), (there, state) = run_at_offset(quiet_model), run_at_offset(quiet_model, offset)
    position = state["objects"]["position"] - state["objects"]["box"][..., :2]
    np.testing.assert_allclose(position, np.broadcast_to(offset[:, None] / 48, position.shape), atol=1e-5)
    for name in ("box", "what", "pres"):
        np.testing.assert_array_equal(there["selected"][name][:, 0], here["selected"][name][:, 0])
    assert np.max(np.abs(there["propagation"]["attended"] - here["propagation"]["attended"])[:, 1]) > 1e-3
    assert np.max(np.abs(there["attention"]["known"] - here["attention"]["known"])[:, 1]) > 1e-3


def test_crop_offset_is_not_felt_without_positions():
    """D5, the option for translation-invariant networks."""
    model = scenes.shared(use_position=False)
    (here, _), (there, _) = run_at_offset(model), run_at_offset(model, tf.constant([[12, 24], [0, 36]]))
    for part in ("attention", "propagation", "prior", "discovery"):
        scenes.assert_equal_trees(there[part], here[part])


def test_boxes_are_given_in_fractions_of_the_frame(quiet_model):
    video = tf.constant(scenes.moving_squares(frames=1, frame_shape=(36, 60)))
    outputs, state = quiet_model.unroll(video, seed=scenes.SEED)
    pixels = state["objects"]["box"].numpy() * 48
    np.testing.assert_allclose(outputs["objects"]["where"][:, 0], pixels / [36, 60, 36, 60], atol=1e-6)


def overlapping_sprites(importance):
    """Frame of one present and one absent sprite over each other."""
    keras.utils.set_random_seed(0)
    render = Renderer(importance=importance)
    where = tf.constant([[[0.5, 0.5, 0.9, 0.9]] * 2])
    depth, pres = tf.constant([[[0.6], [0.9]]]), tf.constant([[[1.0], [0.0]]])
    what = tf.random.stateless_normal([1, 2, 64], [0, 1])
    alone, _ = render(what[:, :1], pres[:, :1], depth[:, :1], where[:, :1], frame_shape=(36, 36))
    both, _ = render(what, pres, depth, where, frame_shape=(36, 36))
    return alone.numpy(), both.numpy()


def test_importance_may_be_the_softmax_of_the_text_of_the_paper():
    """With it an absent object cannot dim a present one; with the authors' formula it does, a little."""
    alone, both = overlapping_sprites("softmax")
    np.testing.assert_allclose(both, alone, atol=1e-6)
    alone, both = overlapping_sprites("linear")
    assert 1e-3 < np.max(alone - both) < 0.1
    assert SILOT(importance="softmax").renderer.importance is compositing.softmax_importance
    with pytest.raises(ValueError, match="importance must be one of"):
        SILOT(importance="hard")


def test_glimpses_and_sprites_may_have_another_size():
    """21 x 21, as a configuration of the authors asks (D44), and the parameter count of appendix A for it."""
    model = scenes.build(glimpse_shape=(21, 21), num_slots=4, noise=0.01, **ATARI)
    assert count(model.discovery.encoder) == 825_664
    assert count(model.propagation.first_glimpse) == 106_286
    assert count(model.renderer) == 1_053_156
    assert count(model) == 6_904_566 - (2_005_257 - 247_643)
    outputs, _ = model.unroll(tf.constant(scenes.moving_squares(frames=1)), seed=scenes.SEED)
    assert outputs["reconstruction"].shape == (2, 1, 36, 36, 3)


def test_plain_kernels_compute_the_same_network(interacting_model):
    """Gathers, pairwise attention and count recursion against the fast forms, interacting variant."""
    plain = scenes.build(interacting=True, attention_std=0.15, noise=0.01, plain=True)
    video = tf.constant(scenes.moving_squares(frames=2))
    batch = {"video": video, "frame_mask": tf.ones([2, 2], tf.bool)}
    annealed = {"training_wheels": tf.constant(0.0), "count_log_odds": tf.constant(-4.0)}
    (fast_terms, fast), (plain_terms, other) = (
        m.loss_terms(batch, annealed, seed=scenes.SEED) for m in (interacting_model, plain)
    )
    scenes.assert_equal_trees(other, fast, rtol=1e-3, atol=1e-4)
    scenes.assert_equal_trees(plain_terms, fast_terms, rtol=1e-3, atol=1e-3)
