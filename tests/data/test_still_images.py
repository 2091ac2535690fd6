import numpy as np
import pytest

from silot_tf.data import still_images
from silot_tf.data.still_images import StillImage
from silot_tf.errors import UserError
from silot_tf.layers.backgrounds import read_image


def moving_block(frames=9, shape=(12, 15), seed=0):
    """An 8-bit clip `[1,T,H,W,3]` of a bright block that crosses a textured scene, and the scene."""
    rng = np.random.default_rng(seed)
    scene = rng.integers(0, 200, (*shape, 3), np.uint8)
    clip = np.repeat(scene[None, None], frames, axis=1)
    for t in range(frames):
        clip[0, t, 4:8, t : t + 3] = 255
    return clip, scene


@pytest.mark.parametrize("statistic", ["median", "mode"])
def test_image_is_the_scene_without_what_moves_through_it(statistic):
    clip, scene = moving_block()
    still = StillImage()
    still.add(clip)
    np.testing.assert_array_equal(still.image(statistic), scene)
    assert still.num_frames == 9 and still.image().dtype == np.uint8


def test_mode_finds_what_is_seen_less_than_half_of_the_time():
    clip = np.array([10, 10, 10, 90, 120, 150, 180], np.uint8).reshape(1, -1, 1, 1, 1) * np.ones((2, 2, 3), np.uint8)
    still = StillImage()
    still.add(clip)
    assert np.all(still.image("mode") == 10) and np.all(still.image("median") == 90)


@pytest.mark.parametrize("frames", [1, 6, 7])
def test_median_is_that_of_numpy_the_lower_one_of_an_even_number(frames):
    video = np.random.default_rng(frames).integers(0, 256, (1, frames, 5, 6, 3), np.uint8)
    still = StillImage()
    still.add(video)
    expected = np.percentile(video[0], 50, axis=0, method="inverted_cdf")
    np.testing.assert_array_equal(still.image(), expected)


def test_pieces_and_floats_count_as_the_whole():
    video = np.random.default_rng(3).integers(0, 256, (3, 4, 5, 6, 3), np.uint8)
    whole, pieces = StillImage(), StillImage()
    whole.add(video)
    for clip in video:
        pieces.add(clip[None, :3].astype(np.float32) / 255.0)
        pieces.add(clip[None, 3:])
    np.testing.assert_array_equal(pieces.image(), whole.image())


def test_crops_are_counted_where_they_lie():
    """Every pixel is the median of the crops that show it."""
    rng = np.random.default_rng(4)
    offsets = np.array([[y, x] for y in (0, 2, 3) for x in (0, 1, 4)])
    crops = rng.integers(0, 256, (len(offsets), 1, 4, 5, 3), np.uint8)
    still = StillImage()
    still.add(crops[:5], offsets[:5])
    still.add(crops[5:], offsets[5:])
    found = still.image()
    assert found.shape == (7, 9, 3)
    for y, x in np.ndindex(7, 9):
        seen = [
            crop[0, y - top, x - left]
            for crop, (top, left) in zip(crops, offsets, strict=True)
            if 0 <= y - top < 4 and 0 <= x - left < 5
        ]
        np.testing.assert_array_equal(found[y, x], np.percentile(seen, 50, axis=0, method="inverted_cdf"))


def test_padding_frames_do_not_count():
    video = np.zeros((1, 3, 2, 2, 3), np.uint8)
    video[:, 0] = 7
    still = StillImage()
    still.add(video, frame_mask=[[True, False, False]])
    assert np.all(still.image() == 7) and still.num_frames == 1


def test_pixels_that_no_crop_shows_are_told():
    still = StillImage()
    still.add(np.zeros((1, 1, 2, 3, 3), np.uint8), [[1, 0]])
    with pytest.raises(UserError, match="3 of 9 pixels are in none of the 1 frames"):
        still.image()
    with pytest.raises(UserError, match="none of the 0 frames"):
        StillImage().image()


def test_unknown_statistic_and_too_many_frames_are_told(monkeypatch):
    still = StillImage()
    monkeypatch.setattr(still_images, "MOST_FRAMES", 2)
    with pytest.raises(UserError, match="more than 2 frames"):
        still.add(np.zeros((1, 3, 2, 3, 3), np.uint8))
    with pytest.raises(UserError, match="expected one of median, mode"):
        still.image("mean")


def test_record_stops_after_enough_clips_of_contract_batches():
    read = []

    def batches():
        for value in (10, 20, 30, 40):
            read.append(value)
            video = np.full((2, 1, 2, 2, 3), value / 255, np.float32)
            yield {"video": video, "frame_mask": np.ones((2, 1), bool), "crop_offset": np.zeros((2, 2), np.int32)}

    assert np.all(still_images.record(batches(), num_clips=3) == 10)  # 10, 10, 20
    assert read == [10, 20]


@pytest.mark.parametrize("name", ["still.png", "still.npy"])
def test_written_image_is_read_by_the_background(tmp_path, name):
    image = moving_block()[1]
    assert still_images.write(tmp_path / name, image) == tmp_path / name
    np.testing.assert_array_equal(read_image(str(tmp_path / name)), image.astype(np.float32) / np.float32(255))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_other_kinds_of_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"ends in \.npy or \.png"):
        still_images.write(tmp_path / "still.jpg", moving_block()[1])
