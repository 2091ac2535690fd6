import csv
import pathlib

import gin
import numpy as np
import pytest
from scipy import ndimage

import silot_tf.reporting
from silot_tf.errors import UserError
from silot_tf.evaluation import aggregation, tracks
from silot_tf.layers.backgrounds import ModeColour
from silot_tf.models.baselines import connected_components
from silot_tf.models.baselines.connected_components import ConnectedComponents, Setting, components, link

FOUR_CONNECTED = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 128 / 255, 0.0), (0.0, 0.0, 1.0)


def labelled_by_scipy(mask):
    """Edges of the components of one image, in the order of their first pixels."""
    labels, _ = ndimage.label(mask, FOUR_CONNECTED)
    return [
        (rows.start - 0.5, rows.stop - 0.5, columns.start - 0.5, columns.stop - 0.5)
        for rows, columns in ndimage.find_objects(labels)
    ]


@pytest.mark.parametrize("density", [0.1, 0.4, 0.6, 0.9])
def test_components_agree_with_scipy_image_by_image(density):
    masks = np.random.default_rng(0).random((2, 5, 12, 9)) < density
    image, kind, edges = components(masks)
    expected = [(i, m, *box) for i in range(5) for m in range(2) for box in labelled_by_scipy(masks[m, i])]
    np.testing.assert_array_equal(np.column_stack([image, kind, edges]), expected)


def test_full_images_do_not_grow_together_and_empty_ones_have_nothing():
    image, _, edges = components(np.array([[np.ones((4, 5)), np.zeros((4, 5)), np.ones((4, 5))]], bool))
    np.testing.assert_array_equal(image, [0, 2])
    np.testing.assert_array_equal(edges, [[-0.5, 3.5, -0.5, 4.5]] * 2)
    assert len(components(np.zeros((1, 3, 4, 5), bool))[0]) == 0


def test_diagonal_neighbours_are_two_components():
    assert len(components(np.eye(2, dtype=bool)[None, None])[0]) == 2


def test_foreground_begins_at_the_threshold():
    video = np.zeros((1, 1, 6, 6, 3), np.float32)
    video[0, 0, 1, 1] = 0.25
    video[0, 0, 4, 4] = 0.5
    scan = ConnectedComponents().scan(video)
    found = [int(scan.outputs(Setting(t))["objects"]["pres"].sum()) for t in (0.0001, 0.75, 0.7501, 1.5, 1.51)]
    assert found == [2, 2, 1, 1, 0]


def test_bright_background_counts_by_contrast():
    video = np.ones((1, 1, 6, 6, 3), np.float32)
    video[0, 0, 2:4, 3:5] = 0
    outputs = ConnectedComponents(background=1.0).scan(video).outputs(Setting(0.1))
    np.testing.assert_allclose(tracks.edges_of(outputs["objects"]["where"][0, 0], (6, 6)), [[1.5, 3.5, 2.5, 4.5]])


def test_ids_follow_moving_objects_at_smallest_total_distance():
    centres = [np.array([[0.0, 0], [0, 10]]), np.array([[0.0, 9], [0, 1]]), np.array([[0.0, 9.5], [0, -5]])]
    ids = link(centres, [np.zeros(2, int)] * 3, radius=30)
    assert [list(frame) for frame in ids] == [[0, 1], [1, 0], [1, 0]]


def test_far_or_differently_coloured_objects_get_new_ids():
    first = np.array([[0.0, 0]])
    at_radius, beyond = np.array([[0.0, 30]]), np.array([[0.0, 30.001]])
    red, blue = np.array([0]), np.array([1])
    assert list(link([first, at_radius], [red, red], 30)[1]) == [0]
    assert list(link([first, beyond], [red, red], 30)[1]) == [1]
    assert list(link([first, first], [red, blue], 30)[1]) == [1]


def test_forbidden_pairs_do_not_push_allowed_ones_apart():
    # one object vanishes far away, one stays, one appears: the one that stays keeps its id
    before, after = np.array([[0.0, 0], [90, 90]]), np.array([[45.0, 45], [1, 1]])
    assert list(link([before, after], [np.zeros(2, int)] * 2, 30)[1]) == [2, 0]


def test_ids_do_not_survive_a_gap():
    here, nobody = np.array([[5.0, 5]]), np.zeros((0, 2))
    kinds = [np.zeros(1, int), np.zeros(0, int), np.zeros(1, int)]
    assert [list(ids) for ids in link([here, nobody, here], kinds, 30)] == [[0], [], [1]]


def video_of_squares(corners, colours, side=40):
    """`[1,T,side,side,3]`: squares of 6 pixels at `corners [T,N,2]`."""
    video = np.zeros((1, len(corners), side, side, 3), np.float32)
    for t, frame in enumerate(corners):
        for (top, left), colour in zip(frame, colours, strict=True):
            video[0, t, top : top + 6, left : left + 6] = colour
    return video


def test_touching_colours_are_told_apart_in_colour_mode_only():
    video = video_of_squares([[(5, 5), (5, 11)], [(5, 7), (5, 13)]], [RED, GREEN])
    plain = ConnectedComponents().scan(video).outputs(Setting(0.0001))["objects"]
    assert plain["pres"].shape == (1, 2, 1, 1)
    baseline = ConnectedComponents(colours=[RED, GREEN, BLUE])
    coloured = baseline.scan(video).outputs(Setting(0.0001, 0.95))["objects"]
    np.testing.assert_array_equal(coloured["track_id"], [[[0, 1], [0, 1]]])
    edges = tracks.edges_of(coloured["where"][0, 0], (40, 40))
    np.testing.assert_array_equal(edges, [[4.5, 10.5, 4.5, 10.5], [4.5, 10.5, 10.5, 16.5]])


def test_cosine_does_not_depend_on_brightness_and_black_is_no_colour():
    video = video_of_squares([[(5, 5), (20, 20)]], [(0.2, 0.0, 0.0), (0.5, 0.5, 0.0)])
    scan = ConnectedComponents(colours=[RED]).scan(video)
    found = [int(scan.outputs(Setting(0.1, c))["objects"]["pres"].sum()) for c in (0.7, 0.72, 0.9999)]
    assert found == [2, 1, 1]  # the second square is at 45 degrees from red: cosine .7071
    assert not scan.masks(Setting(0.0, 0.0001))[0, 0, 0, 0, 0]


def test_separate_squares_are_found_and_tracked_perfectly():
    rng = np.random.default_rng(0)
    steps = np.arange(5)[:, None, None]
    corners = np.array([[2, 2], [2, 22], [22, 10]])[None] + steps * rng.integers(0, 3, (1, 3, 2))
    video = np.concatenate(
        [video_of_squares(corners, [(1, 1, 1)] * 3), video_of_squares(corners[::-1], [(1, 1, 1)] * 3)]
    )
    truth = np.stack([corners, corners[::-1]]).astype(np.float64)
    batch = {
        "video": video,
        "frame_mask": np.ones((2, 5), bool),
        "boxes": np.concatenate([(truth + 3) / 40, np.full((2, 5, 3, 2), 6 / 40)], axis=-1).astype(np.float32),
        "present": np.ones((2, 5, 3), bool),
        "track_id": np.tile(np.arange(3), (2, 5, 1)),
    }
    outputs = ConnectedComponents().scan(video).outputs(Setting(0.5))
    values = aggregation.measure(tracks.clips_from(outputs, batch)).values
    assert values["ap"] == 1 and values["mota"] == 1 and values["idf1"] == 1 and values["count_error"] == 0
    assert outputs["objects"]["is_new"][:, 0].all() and not outputs["objects"]["is_new"][:, 1:].any()
    np.testing.assert_array_equal(outputs["objects"]["track_id"][:, 0], [[0, 1, 2]] * 2)


def test_padding_and_black_videos_are_no_objects():
    video = video_of_squares([[(5, 5), (20, 20)], [(5, 5), (5, 5)]], [(1, 1, 1)] * 2)
    objects = ConnectedComponents().scan(video).outputs(Setting(0.5))["objects"]
    np.testing.assert_array_equal(objects["pres"][0, ..., 0], [[1, 1], [1, 0]])
    np.testing.assert_array_equal(objects["track_id"][0], [[0, 1], [0, -1]])
    black = ConnectedComponents().scan(np.zeros_like(video)).outputs(Setting(0.5))["objects"]
    assert black["where"].shape == (1, 2, 0, 4)


def test_equal_masks_have_equal_fingerprints_and_others_do_not():
    video = video_of_squares([[(5, 5), (20, 20)]], [(1, 1, 1), (0.5, 0.5, 0.5)])
    scan = ConnectedComponents().scan(video)
    low, also_low, high = (scan.fingerprint(Setting(threshold)) for threshold in (0.1, 1.5, 1.6))
    assert low == also_low != high


def test_published_grids_and_coarser_ones():
    full = connected_components.published_foreground_thresholds()
    assert len(full) == 52 and full[0] == 0.0001 and full[51] == pytest.approx(3.0001)
    coarse = connected_components.published_foreground_thresholds(6)
    assert len(coarse) == 6 and set(coarse) <= set(full) and coarse[0] == full[0] and coarse[-1] == full[-1]
    cosines = connected_components.published_cosine_thresholds()
    assert len(cosines) == 27 and cosines[26] == pytest.approx(1.0001)
    assert len(ConnectedComponents(colours=[RED]).settings) == 52 * 27
    with pytest.raises(UserError, match="count"):
        connected_components.published_foreground_thresholds(53)
    with pytest.raises(UserError, match="empty"):
        ConnectedComponents(foreground_thresholds=())


def test_published_thresholds_lie_on_the_published_grid():
    targets = pathlib.Path(silot_tf.reporting.__file__).parent / "targets"
    with open(targets / "connected_components_thresholds.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    foreground = connected_components.published_foreground_thresholds()
    cosine = connected_components.published_cosine_thresholds()
    assert len(rows) == 3 * 12 + 3 * 8 and all(row["source"] for row in rows)
    for row in rows:
        assert float(row["foreground_threshold"]) == pytest.approx(foreground[int(row["foreground_index"])], abs=1e-6)
        if row["cosine_index"]:
            assert float(row["cosine_threshold"]) == pytest.approx(cosine[int(row["cosine_index"])], abs=1e-6)


def test_gin_binds_the_baseline():
    gin.clear_config()
    gin.parse_config(
        "baselines.ConnectedComponents.foreground_thresholds = @baselines.published_foreground_thresholds()\n"
        "baselines.published_foreground_thresholds.count = 4"
    )
    try:
        assert len(ConnectedComponents().settings) == 4
    finally:
        gin.clear_config()


@pytest.mark.parametrize("background", [(0.2, 0.4, 0.6), ModeColour()], ids=["colour", "layer"])
def test_foreground_is_what_differs_from_the_background(background):
    corners = [[(5, 5), (20, 20)], [(7, 5), (20, 24)]]
    on_black = video_of_squares(corners, [RED, GREEN])
    video = np.where(on_black.max(axis=-1, keepdims=True) == 0, np.float32([0.2, 0.4, 0.6]), on_black)
    expected = ConnectedComponents().scan(on_black).outputs(Setting(0.0001))["objects"]
    found = ConnectedComponents(background=background).scan(video).outputs(Setting(0.0001))["objects"]
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
    assert ConnectedComponents().scan(video).masks(Setting(0.0001)).all()
