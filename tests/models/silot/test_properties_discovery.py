"""Discovery: properties 4-6 of the specification, section 9."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models.silot import scenes

CELL, ANCHOR = 12, 48


def discover(model, frame, noise=None):
    """Stages of one frame without known objects."""
    video = tf.constant(frame[None, None].astype(np.float32))
    state = model.initial_state(1)
    if noise is not None:
        noise = tf.nest.map_structure(lambda x: noise * x, model.draw_noise(video, state, scenes.SEED))
    stages, _ = model.unroll_stages(video, state, noise)
    grid = stages["grid"].shape[2:4]
    as_grid = lambda value: np.asarray(value)[0, 0].reshape(*grid, -1)  # noqa: E731
    return {name: as_grid(stages["discovered"][name]) for name in ("box", "what", "depth", "pres")} | {
        "local": as_grid(stages["discovery"]["local"])
    }


@pytest.mark.parametrize("shift", [(1, 1), (0, 1), (1, 0)])
def test_scene_moved_by_a_cell_is_discovered_one_cell_further(model, shift):
    """Property 4: no noise, no known objects, at least 36 pixels of black around the content."""
    down, right = shift
    texture = np.random.default_rng(0).random((24, 24, 3))
    frame, moved = np.zeros((120, 120, 3)), np.zeros((120, 120, 3))
    frame[48:72, 48:72] = texture
    moved[48 + CELL * down : 72 + CELL * down, 48 + CELL * right : 72 + CELL * right] = texture
    before, after = discover(model, frame), discover(model, moved)
    # Within two cells of the border the SAME padding of the fusion is felt.
    inner, shifted = np.s_[2:7, 2:7], np.s_[2 + down : 7 + down, 2 + right : 7 + right]
    for name in ("what", "depth", "pres", "local"):
        np.testing.assert_allclose(after[name][shifted], before[name][inner], atol=1e-5, err_msg=name)
        assert np.ptp(before[name][inner], axis=(0, 1)).max() > 1e-3, f"{name} does not depend on the content"
    expected = before["box"][inner] + np.array([down, right, 0, 0]) * CELL / ANCHOR
    np.testing.assert_allclose(after["box"][shifted], expected, atol=1e-5)


def test_glimpses_of_the_authors_code_are_not_exactly_translation_equivariant():
    """Why half-pixel glimpses are the default: with aligned corners a shift by 12 pixels moves them by 12 (S-1)/S."""
    model = scenes.build(align_corners=True)
    texture = np.random.default_rng(0).random((24, 24, 3))
    frame, moved = np.zeros((120, 120, 3)), np.zeros((120, 120, 3))
    frame[48:72, 48:72], moved[60:84, 60:84] = texture, texture
    difference = discover(model, moved)["what"][3:8, 3:8] - discover(model, frame)["what"][2:7, 2:7]
    assert np.max(np.abs(difference)) > 1e-4


def test_centres_stay_within_half_a_cell_of_their_cell_and_sizes_below_the_anchor(model):
    """Property 5, with noise strong enough to reach the clipped ends."""
    frame = np.random.default_rng(1).random((36, 60, 3))
    box = discover(model, frame, noise=8.0)["box"]
    for axis, cells in ((0, 3), (1, 5)):
        index = np.arange(cells).reshape((-1, 1) if axis == 0 else (1, -1))
        pixels = box[..., axis] * ANCHOR
        assert np.all((index - 0.5) * CELL < pixels) and np.all(pixels < (index + 1.5) * CELL)
        assert np.ptp(pixels - index * CELL) > 1.9 * CELL  # the whole range is in use
    assert np.all((box[..., 2:] > 0) & (box[..., 2:] < 1))


def test_zero_latents_are_the_cell_centre_and_half_the_anchor():
    """Property 6, anchor and frame not square."""
    model = scenes.build(anchor=(48, 24))
    scenes.set_zero(model.discovery.where_head)
    found = discover(model, np.random.default_rng(2).random((36, 60, 3)))
    rows, columns = np.meshgrid(np.arange(3), np.arange(5), indexing="ij")
    expected = np.stack([(rows + 0.5) * 12 / 48, (columns + 0.5) * 12 / 24], -1)
    np.testing.assert_allclose(found["box"][..., :2], expected, atol=1e-6)
    np.testing.assert_allclose(found["box"][..., 2:], 0.5, atol=1e-6)
    np.testing.assert_allclose(found["local"], 0.5, atol=1e-6)


def test_positions_of_discovered_objects_count_from_the_corner_of_the_uncropped_frame(model):
    video = tf.constant(scenes.moving_squares(frames=1))
    offset = tf.constant([[0, 0], [24, 12]])
    stages, _ = model.unroll_stages(video, model.initial_state(2, offset), None)
    difference = stages["discovered"]["position"] - stages["discovered"]["box"][..., :2]
    np.testing.assert_allclose(difference[:, 0], np.broadcast_to([[[0, 0]], [[0.5, 0.25]]], (2, 9, 2)), atol=1e-6)


def test_released_objects_are_in_nobodys_way():
    """As if their slots were empty; without release they are attended to until others take their slots."""
    model, keeping = scenes.build(release_below=0.2), scenes.build()
    state = scenes.known_objects(model)
    faded = tf.constant([1.0, 0.1, 1.0, 0.1])[None, :, None]
    objects = state["objects"] | {"pres": faded * tf.ones_like(state["objects"]["pres"])}
    without = objects | {"exists": objects["exists"] * tf.cast(faded > 0.5, tf.float32)}
    video = tf.constant(scenes.moving_squares(frames=1))

    def known(network, objects):
        stages, _ = network.unroll_stages(video, state | {"objects": objects}, None)
        assert np.all(stages["posterior"]["pres"][:, 0, ::2] > 0.2)  # these are to stay
        return stages["attention"]["known"].numpy()

    found = known(model, objects)
    np.testing.assert_allclose(found, known(keeping, without), atol=1e-6)
    assert np.abs(found - known(keeping, objects)).max() > 1e-3
