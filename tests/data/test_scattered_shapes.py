import itertools
import pathlib
import subprocess
import sys

import gin
import numpy as np
import pytest
from scipy import stats

from silot_tf import contracts
from silot_tf.data import scattered_shapes, shape_masks
from silot_tf.data.scattered_shapes import COLOURS, KINDS, ScatteredShapes
from silot_tf.errors import UserError
from silot_tf.ops import boxes as box_ops

ROOT = pathlib.Path(__file__).parents[2]
FRAME = (40, 50)


@pytest.fixture
def make_dataset(tmp_path):
    """A small dataset; keyword arguments replace its numbers."""

    def make(**changes):
        arguments = {
            "frame_shape": FRAME,
            "num_frames": 3,
            "num_shapes": (1, 3),
            "train_clips": 11,
            "validation_clips": 5,
            "test_clips": 4,
            "test_shape_counts": (1, 4),
            "cache_dir": str(tmp_path / "cache"),
            "shuffle_buffer": 8,
        }
        return ScatteredShapes(**{**arguments, **changes})

    return make


def as_arrays(batches, count=None):
    return [{key: value.numpy() for key, value in batch.items()} for batch in itertools.islice(batches, count)]


def joined(batches):
    batches = as_arrays(batches)
    return {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}


def test_same_seed_gives_identical_clips_and_other_seed_others(make_dataset):
    first, again = (make_dataset().generate("train", (1, 3), 0, 6) for _ in range(2))
    other = make_dataset(seed=1).generate("train", (1, 3), 0, 6)
    for key in first:
        np.testing.assert_array_equal(first[key], again[key])
    assert not np.array_equal(first["video"], other["video"])


def test_clip_does_not_depend_on_the_range_it_is_generated_in(make_dataset, monkeypatch):
    dataset = make_dataset()
    whole = dataset.generate("train", (1, 3), 0, 8)
    monkeypatch.setattr("silot_tf.data.generated_clips._CLIPS_AT_ONCE", 2)
    parts = [dataset.generate("train", (1, 3), *span) for span in ((0, 3), (3, 4), (4, 8))]
    for key in whole:
        np.testing.assert_array_equal(whole[key], np.concatenate([part[key] for part in parts]))


def test_there_are_thirty_kinds_drawn_uniformly(make_dataset):
    assert len(set(KINDS)) == 30 and set(COLOURS) == {"red", "green", "blue", "cyan", "magenta", "yellow"}
    assert COLOURS["green"] == (0, 128, 0) and COLOURS["yellow"] == (255, 255, 0)
    layouts = make_dataset().draw_layouts("train", (4, 4), 0, 750, 30, scattered_shapes.draw_sizes)
    counts = np.bincount(layouts.kind.ravel(), minlength=30)
    assert len(counts) == 30 and np.abs(counts - 100).max() < 5 * 10


def test_colour_and_form_of_a_single_shape_are_those_of_its_label(make_dataset):
    dataset = make_dataset(num_frames=1)
    arrays, scenes = dataset.generate("val", (1, 1), 0, 60), dataset.scenes("val", (1, 1), 0, 60)
    assert len(set(arrays["label"][:, 0])) > 20
    brightest = []
    for image, label, box in zip(arrays["video"][:, 0], arrays["label"][:, 0], arrays["boxes"][:, 0, 0], strict=True):
        shape, colour = KINDS[label]
        visible = image.reshape(-1, 3).max(0)
        brightest.append(visible.max() / max(COLOURS[colour]))
        np.testing.assert_allclose(visible, np.array(COLOURS[colour]) * brightest[-1], atol=1)
        rows, columns = np.round(box[2:] * FRAME).astype(int)
        filled = image.max(-1).sum() / visible.max()
        assert filled / (rows * columns) == pytest.approx(shape_masks.master(shape).mean(), abs=0.06)
    assert min(brightest) > 0.9 and max(brightest) == 254 / 255  # never quite opaque
    np.testing.assert_array_equal(arrays["label"], scenes.label)


def test_pictures_equal_a_pixel_by_pixel_drawing(make_dataset):
    """Patches in order of their rows, later ones on top, each pixel blended and cut to an integer."""
    dataset = make_dataset(num_frames=4, num_shapes=(3, 5))
    arrays, scenes = dataset.generate("train", (3, 5), 0, 6), dataset.scenes("train", (3, 5), 0, 6)
    edges = box_ops.to_edges(arrays["boxes"], FRAME)
    for c, t in np.ndindex(6, 4):
        image = np.zeros((*FRAME, 3), np.uint8)
        for n in range(scenes.count[c]):
            shape, colour = KINDS[scenes.label[c, n]]
            rows, columns = scenes.size[c, n]
            alpha = shape_masks.patch(shape, rows, columns)[..., None].astype(np.float64) / 255
            bottom, right = np.round(edges[c, t, n, 1::2] + 0.5).astype(int)
            below = image[bottom - rows : bottom, right - columns : right]
            image[bottom - rows : bottom, right - columns : right] = alpha * COLOURS[colour] + (1 - alpha) * below
        difference = np.abs(image.astype(int) - arrays["video"][c, t])
        # Rounding may fall on the other side of an integer, where a patch covers another.
        assert difference.max() <= 1 and (difference > 0).mean() < 2e-3


def test_boxes_are_the_drawn_rectangles(make_dataset):
    """Of single shapes: box edges at the outermost pixels of any colour, cut at the border of the frame."""
    arrays = make_dataset(num_frames=6).generate("train", (1, 1), 0, 60)
    edges = box_ops.to_edges(arrays["boxes"][:, :, 0], FRAME)
    at_border = 0
    for c, t in np.ndindex(60, 6):
        rows, columns = (np.flatnonzero(arrays["video"][c, t].any((axis, 2))) for axis in (1, 0))
        drawn = np.array([rows[0] - 0.5, rows[-1] + 0.5, columns[0] - 0.5, columns[-1] + 0.5])
        at_border += (drawn < 0).any()
        np.testing.assert_allclose(edges[c, t], np.maximum(drawn, 0), atol=1e-4)
    assert arrays["valid"].all() and at_border > 3


def test_sides_follow_the_published_distribution():
    sides = scattered_shapes.draw_sizes(np.random.default_rng(0), 100_000)
    assert sides.dtype == np.int64 and sides.shape == (100_000, 2)
    assert sides.mean() == pytest.approx(14.5, abs=0.02) and sides.std() == pytest.approx(1.43, abs=0.02)
    assert 7 <= sides.min() <= 9 and 19 <= sides.max() <= 23
    assert abs(np.corrcoef(sides.T)[0, 1]) < 0.02
    for side in range(10, 20):  # ceil(x) = side iff side - 1 < x <= side, x normal about 14 with deviation 1.4
        expected = np.diff(stats.norm.cdf([side - 1, side], 14, 1.4))[0]
        assert (sides == side).mean() == pytest.approx(expected, abs=0.004)


def test_half_the_size_is_the_smallest():
    class AllSmall:
        def standard_normal(self, shape):
            return np.full(shape, -9.0)

    assert (scattered_shapes.draw_sizes(AllSmall(), 3) == 7).all()


def test_first_frame_overlaps_at_most_98_square_pixels_with_earlier_shapes():
    """35 shapes at the published size, counted pixel by pixel."""
    dataset = ScatteredShapes()
    layouts = dataset.draw_layouts("test", (35, 35), 0, 12, 30, scattered_shapes.draw_sizes)
    assert (layouts.count == 35).all() and (layouts.position == np.round(layouts.position)).all()
    largest = 0
    for clip in range(12):
        corners, sizes = layouts.position[clip].astype(int), layouts.size[clip]
        assert corners.min() >= 0 and (corners + sizes).max() <= 96
        covered = np.zeros((96, 96), int)
        for (top, left), (rows, columns) in zip(corners, sizes, strict=True):
            overlap = covered[top : top + rows, left : left + columns].sum()
            largest = max(largest, overlap)
            assert overlap <= 98
            covered[top : top + rows, left : left + columns] += 1
    assert largest > 85


def test_shapes_stay_inside_move_by_their_speed_and_come_back_from_walls(make_dataset):
    dataset = make_dataset(num_frames=30, speed=5.0)
    arrays, layouts = (
        dataset.generate("train", (2, 2), 0, 20),
        dataset.draw_layouts("train", (2, 2), 0, 20, 30, scattered_shapes.draw_sizes),
    )
    np.testing.assert_allclose(np.linalg.norm(layouts.velocity, axis=-1), 5.0, rtol=1e-9)
    edges = box_ops.to_edges(arrays["boxes"], FRAME)
    corners = np.round(edges[..., 1::2] + 0.5) - layouts.size[:, None]
    room = np.array(FRAME) - layouts.size
    assert arrays["valid"].all() and corners.min() >= 0 and (corners <= room[:, None]).all()
    for c, n in np.ndindex(20, 2):
        # Mirroring the frame at its walls again and again makes the path a straight line.
        line = layouts.position[c, n] + np.arange(30)[:, None] * layouts.velocity[c, n]
        for axis in range(2):
            for t in range(30):
                place = line[t, axis]
                while not 0 <= place <= room[c, n, axis]:
                    place = -place if place < 0 else 2 * room[c, n, axis] - place
                assert corners[c, t, n, axis] == int(place)


def test_number_of_shapes_is_uniform_over_its_range(make_dataset):
    layouts = make_dataset().draw_layouts("train", (1, 3), 0, 900, 30, scattered_shapes.draw_sizes)
    counts = np.bincount(layouts.count, minlength=5)
    assert counts[0] == counts[4] == 0 and np.abs(counts[1:4] - 300).max() < 5 * np.sqrt(300)


def test_batches_follow_the_contract_and_equal_the_generated_clips(make_dataset):
    dataset = make_dataset()
    assert dataset.frame_shape == (*FRAME, 3) and dataset.max_objects == 4
    assert dataset.condition_label == "shapes per frame"
    batches = as_arrays(dataset.validation_batches(2))
    assert [len(batch["video"]) for batch in batches] == [2, 2, 1]
    for batch in batches:
        contracts.check_batch(batch, annotated=True)
    whole, arrays = joined(dataset.validation_batches(2)), dataset.generate("val", (1, 3), 0, 5)
    np.testing.assert_array_equal(whole["video"], arrays["video"] / np.float32(255))
    np.testing.assert_array_equal(whole["boxes"][:, :, :3], arrays["boxes"])
    np.testing.assert_array_equal(whole["present"][:, :, :3], arrays["valid"])
    assert not whole["present"][:, :, 3].any()
    assert (whole["track_id"] == whole["track_id"][:, :1]).all()  # constant over frames
    np.testing.assert_array_equal(whole["track_id"], np.where(whole["present"], np.arange(4), -1))


def test_test_conditions_have_the_exact_number_of_shapes_on_whole_frames(make_dataset):
    dataset = make_dataset(crop_shape=(20, 24))
    assert dataset.test_conditions == {"1 shape": 1, "4 shapes": 4}
    for name, count in dataset.test_conditions.items():
        test, validation = joined(dataset.test_batches(name, 3)), joined(dataset.validation_condition_batches(name, 3))
        for batch, clips in ((test, 4), (validation, 5)):
            assert batch["video"].shape == (clips, 3, *FRAME, 3) and (batch["present"].sum(-1) == count).all()
            assert (batch["crop_offset"] == 0).all()
        assert not {clip.tobytes() for clip in test["video"]} & {clip.tobytes() for clip in validation["video"]}
    with pytest.raises(UserError, match="no test condition '2 shapes'"):
        dataset.test_batches("2 shapes", 3)


def test_training_and_validation_are_cropped_versions_of_the_same_clips(make_dataset):
    """Cropped and whole conditions share their caches, crops are windows of the clips."""
    whole = make_dataset()
    dataset = make_dataset(crop_shape=(20, 24), crops_per_clip=4)
    assert dataset.frame_shape == (20, 24, 3)
    assert dataset._cache("val", (1, 3), 5).folder == whole._cache("val", (1, 3), 5).folder
    clips, crops = joined(whole.validation_batches(5)), joined(dataset.validation_batches(7))
    assert crops["video"].shape == (5 * 4, 3, 20, 24, 3)
    for i, (top, left) in enumerate(crops["crop_offset"]):
        window = clips["video"][i // 4, :, top : top + 20, left : left + 24]
        np.testing.assert_array_equal(crops["video"][i], window)
    for batch in as_arrays(dataset.training_batches(4, seed=0), 3):
        contracts.check_batch(batch, annotated=True)
        assert batch["video"].shape == (4, 3, 20, 24, 3) and batch["crop_offset"].any()


def test_epoch_of_crops_is_four_times_as_long(make_dataset):
    dataset = make_dataset(crop_shape=(20, 24), crops_per_clip=4)
    batches = as_arrays(dataset.training_batches(11, seed=5), 8)  # 44 crops: 4 batches per epoch
    epochs = [[clip.tobytes() for batch in part for clip in batch["video"]] for part in (batches[:4], batches[4:])]
    assert len(set(epochs[0])) == 44 and set(epochs[0]) == set(epochs[1]) and epochs[0] != epochs[1]


@pytest.mark.parametrize("start", [1, 4, 9])
def test_stream_of_crops_started_late_equals_the_rest_of_an_uninterrupted_one(make_dataset, start):
    dataset = make_dataset(crop_shape=(20, 24))
    whole = as_arrays(dataset.training_batches(11, seed=3), 12)
    for a, b in zip(as_arrays(dataset.training_batches(11, seed=3, start_batch=start), 3), whole[start:], strict=False):
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def test_prepare_generates_every_split(make_dataset, tmp_path):
    make_dataset().prepare()
    names = sorted(path.name.rsplit("-", 1)[0] for path in (tmp_path / "cache").iterdir())
    assert names == [f"scattered_shapes-{rest}" for rest in ("test-1", "test-4", "train-1-3", "val-1-3")]


def test_too_many_shapes_are_an_error(make_dataset, monkeypatch):
    monkeypatch.setattr("silot_tf.data.moving_patches.MAX_RESTARTS", 1)
    with pytest.raises(UserError, match="60 patches do not fit into a frame of 40x50"):
        make_dataset(num_shapes=(60, 60)).prepare()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train_clips", 0),
        ("validation_clips", 0),
        ("test_clips", -1),
        ("num_frames", 0),
        ("num_shapes", (4, 2)),
        ("num_shapes", 3),
        ("frame_shape", (20, 96)),
        ("frame_shape", (96, 96, 3)),
        ("crop_shape", (41, 20)),
        ("crop_shape", (0, 20)),
        ("crop_shape", 20),
        ("crop_shape", (20.0, 20.0)),
        ("crops_per_clip", 0),
        ("speed", -1.0),
        ("test_shape_counts", ()),
        ("test_shape_counts", (1, 1)),
        ("shuffle_buffer", 0),
        ("seed", -1),
    ],
)
def test_impossible_number_is_named(make_dataset, name, value):
    with pytest.raises(UserError, match=f"data.ScatteredShapes.{name} = .*expected"):
        make_dataset(**{name: value})


def test_colours_for_the_baseline_are_those_of_the_shapes():
    np.testing.assert_allclose(np.array(scattered_shapes.shape_colours()) * 255, list(COLOURS.values()))


def test_importing_and_building_the_dataset_does_not_start_tensorflow():
    code = (
        "import sys; from silot_tf.data.scattered_shapes import ScatteredShapes; ScatteredShapes(crop_shape=(60, 60)); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_gin_file_builds_the_dataset_of_the_paper():
    gin.clear_config()
    try:
        with gin.unlock_config():
            gin.add_config_file_search_path(str(ROOT))
            gin.parse_config_file("gin_configs/datasets/scattered_shapes.gin")
        dataset = gin.get_configurable("data.ScatteredShapes")()
    finally:
        gin.clear_config()
    plain = ScatteredShapes()
    for name in ("frame_shape", "num_frames", "num_shapes", "speed", "crops", "train_clips", "validation_clips"):
        assert getattr(dataset, name) == getattr(plain, name)
    assert dataset.test_conditions == plain.test_conditions and list(plain.test_conditions.values()) == [*range(1, 36)]
