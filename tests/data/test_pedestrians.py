import os
import pathlib

import cv2
import numpy as np
import pytest

from silot_tf import contracts
from silot_tf.data import digits
from silot_tf.data.pedestrians import Pedestrians
from silot_tf.errors import UserError

FRAMES, ROWS, COLUMNS = 100, 40, 70
#: (id, top, left at frame 0, pixels to the right per frame, brightness) of people of 12x5 pixels.
PEOPLE = ((3, 4, 0, 1.0, 90), (7, 22, 60, -1.0, 120), (8, 20, 30, 0.5, 60))


def place(person, t):
    _, top, left, speed, _ = person
    return top, round(left + speed * t) % (COLUMNS + 10) - 5


@pytest.fixture
def folder(tmp_path):
    """Frames of rectangles that walk before a textured wall, and their ground truth."""
    wall = np.random.default_rng(0).integers(60, 120, (ROWS, COLUMNS, 3)).astype(np.uint8)
    rows = []
    (tmp_path / "frames").mkdir()
    for t in range(FRAMES):
        frame = wall.copy()
        for person in PEOPLE:
            top, left = place(person, t)
            frame[top : top + 12, max(0, left) : max(0, left + 5)] += np.uint8(person[-1])
            if left + 5 > 0 and left < COLUMNS:
                rows.append(f"{t + 1},{person[0]},{left},{top},5,12,1,-1,-1,-1")
        rows.append(f"{t + 1},99,1,1,5,12,0,-1,-1,-1")  # to be ignored
        cv2.imwrite(str(tmp_path / "frames" / f"{t}.png"), frame)
    (tmp_path / "gt.txt").write_text("\n".join(rows[::-1]) + "\n")
    return tmp_path


@pytest.fixture
def make_dataset(folder):
    def make(**changes):
        arguments = {"video": "frames", "ground_truth": "gt.txt", "data_dir": str(folder), "frame_shape": (24, 30)}
        arguments |= {"pedestrian_height": 12.0, "train_clips": 9, "validation_clips": 5, "test_clips": 2}
        arguments |= {"cache_dir": str(folder / "cache"), "shuffle_buffer": 8, "num_frames": 3}
        return Pedestrians(**{**arguments, **changes})

    return make


def test_empty_scene_is_black_and_people_are_where_the_ground_truth_says(make_dataset):
    footage = make_dataset().footage
    assert footage.frames.shape == (FRAMES, ROWS, COLUMNS) and footage.frames.dtype == np.uint8
    drawn = np.zeros(footage.frames.shape, int)
    for t in range(FRAMES):
        for person in PEOPLE:
            top, left = place(person, t)
            area = drawn[t, top : top + 12, max(0, left) : max(0, left + 5)]
            area[...] = np.maximum(area, person[-1])
    np.testing.assert_array_equal(footage.frames > 0, drawn > 0)
    alone = drawn == footage.frames  # where two overlap both add up
    assert alone.mean() > 0.99
    boxes = footage.boxes
    assert np.all(np.diff(boxes.frame) >= 0) and set(boxes.track_id) == {3, 7, 8}
    for frame, number, edges in zip(boxes.frame, boxes.track_id, boxes.edges, strict=True):
        top, left = place(next(p for p in PEOPLE if p[0] == number), frame)
        np.testing.assert_allclose(edges, [top, top + 12, left, left + 5])


def test_frames_are_resized_so_that_people_have_the_wanted_height(make_dataset):
    footage = make_dataset(pedestrian_height=6.0, frame_shape=(12, 15)).footage
    assert footage.frames.shape == (FRAMES, 20, 35)
    np.testing.assert_allclose(footage.boxes.edges[:, 1] - footage.boxes.edges[:, 0], 6)
    given = make_dataset(pedestrian_height=6.0, original_height=24.0, frame_shape=(8, 8)).footage
    assert given.frames.shape == (FRAMES, 10, 18)


@pytest.mark.parametrize("split", ["train", "val"])
def test_clips_are_windows_of_their_part_with_one_to_three_people(make_dataset, split):
    dataset = make_dataset(num_pedestrians=(1, 3))
    arrays, (first, stop) = dataset.generate(split, (1, 3), 0, 30), dataset.span(split)
    assert (first, stop) == {"train": (0, 90), "val": (95, 100)}[split]
    windows = np.lib.stride_tricks.sliding_window_view(dataset.footage.frames[first:stop], (3, 24, 30))
    places = {
        window.tobytes(): i for i, window in np.ndenumerate(np.empty(windows.shape[:3])) for window in [windows[i]]
    }
    for c in range(30):
        t, top, left = places[arrays["video"][c, ..., 0].tobytes()]
        for frame in range(3):
            expected = {}
            for person in PEOPLE:
                y, x = np.subtract(place(person, first + t + frame), (top, left))
                if 0 <= y + 6 < 24 and 0 <= x + 2.5 < 30:
                    edges = np.clip([y, y + 12, x, x + 5], 0, [24, 24, 30, 30])
                    centre, size = (edges[::2] + edges[1::2]) / 2, edges[1::2] - edges[::2]
                    expected[person[0]] = [*centre / (24, 30), *size / (24, 30)]
            assert 1 <= len(expected) <= 3
            valid = arrays["valid"][c, frame]
            found = dict(zip(arrays["track_id"][c, frame, valid], arrays["boxes"][c, frame, valid], strict=True))
            assert found.keys() == expected.keys()
            for number, box in expected.items():
                np.testing.assert_allclose(found[number], box, atol=1e-6)


def test_test_conditions_have_the_exact_number_in_the_fullest_frame(make_dataset):
    dataset = make_dataset(test_pedestrian_counts=(1, 2))
    assert dataset.test_conditions == {"1 pedestrian": 1, "2 pedestrians": 2}
    for name, count in dataset.test_conditions.items():
        (batch,) = [{key: value.numpy() for key, value in b.items()} for b in dataset.test_batches(name, 2)]
        contracts.check_batch(batch, annotated=True)
        assert batch["video"].shape == (2, 3, 24, 30, 1) and batch["present"].shape == (2, 3, 3)
        people = batch["present"].sum(-1)
        assert np.all(people.max(1) == count) and people.min() >= 1
        np.testing.assert_array_equal(batch["track_id"] >= 0, batch["present"])
        assert set(np.unique(batch["track_id"])) <= {-1, 3, 7, 8}


def test_same_seed_gives_identical_clips_whatever_the_range(make_dataset):
    whole = make_dataset().generate("train", (1, 3), 0, 6)
    part = make_dataset().generate("train", (1, 3), 3, 6)
    for key, value in whole.items():
        np.testing.assert_array_equal(value[3:], part[key])
    assert not np.array_equal(make_dataset(seed=1).generate("train", (1, 3), 0, 6)["video"], whole["video"])


def test_without_ground_truth_blobs_stand_for_people(make_dataset):
    dataset = make_dataset(ground_truth=None)
    footage = dataset.footage
    assert footage.frames.shape == (FRAMES, ROWS, COLUMNS)  # height 12 found by itself
    lone = [t for t in range(FRAMES) if (footage.boxes.frame == t).any()]
    assert len(lone) > 90
    found = footage.boxes.edges[:, 1] - footage.boxes.edges[:, 0]
    assert np.median(found) == 12
    assert len(np.unique(footage.boxes.track_id)) == len(footage.boxes.track_id)
    arrays = dataset.generate("train", (1, 3), 0, 5)
    assert arrays["valid"].any(-1).all()


def test_cache_depends_on_video_and_ground_truth(make_dataset, folder):
    before = make_dataset().all_parameters("train", (1, 3))
    assert make_dataset().all_parameters("train", (1, 3)) == before
    with open(folder / "gt.txt", "a") as file:
        file.write("1,5,1,1,5,12,1\n")
    assert make_dataset().all_parameters("train", (1, 3)) != before


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"video": "nothing.mp4"}, r"video nothing\.mp4 does not exist.*data\.Pedestrians\.video"),
        ({"ground_truth": "nothing.txt"}, r"nothing\.txt does not exist"),
        ({"frame_shape": (200, 30)}, r"data\.Pedestrians\.frame_shape = \(200, 30\)"),
        ({"num_pedestrians": (9, 9)}, "9 pedestrians was found"),
        ({"held_out": 0.01}, r"0 are for the val split"),
    ],
)
def test_what_cannot_be_cut_is_told(make_dataset, changes, complaint):
    with pytest.raises(UserError, match=complaint):
        dataset = make_dataset(**changes)
        dataset.all_parameters("val", (1, 3))
        dataset.generate("val", dataset._counts, 0, 1)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"num_pedestrians": (0, 3)}, r"data\.Pedestrians\.num_pedestrians"),
        ({"threshold": 1.5}, r"data\.Pedestrians\.threshold"),
        ({"held_out": 1.0}, r"data\.Pedestrians\.held_out"),
        ({"original_height": 0}, r"data\.Pedestrians\.original_height"),
        ({"gap": -1}, r"data\.Pedestrians\.gap"),
    ],
)
def test_bad_numbers_are_refused_by_name(changes, complaint):
    with pytest.raises(UserError, match=complaint):
        Pedestrians(**changes)


def has_pets() -> bool:
    folder = os.environ.get(digits.DATA_DIR_VARIABLE)
    return folder is not None and (pathlib.Path(folder) / "pets09_s2l1" / "gt.txt").is_file()


@pytest.mark.skipif(not has_pets(), reason=f"{digits.DATA_DIR_VARIABLE} names no folder with pets09_s2l1")
def test_real_people_are_bright_on_black_inside_of_their_boxes():
    dataset = Pedestrians()
    arrays = dataset.generate("train", (1, 3), 0, 40)
    assert arrays["video"].shape == (40, 5, 64, 64, 1)
    heights = 64 * arrays["boxes"][arrays["valid"]][:, 2]
    assert 20 <= np.median(heights) <= 28
    inside = np.zeros(arrays["video"].shape[:-1], bool)
    for c, t, n in zip(*np.nonzero(arrays["valid"]), strict=True):
        y, x, height, width = 64 * arrays["boxes"][c, t, n]
        inside[c, t, round(y - height / 2) : round(y + height / 2), round(x - width / 2) : round(x + width / 2)] = True
    video = arrays["video"][..., 0] / 255
    assert video[inside].mean() > 15 * video[~inside].mean()
    assert (video[~inside] == 0).mean() > 0.9
