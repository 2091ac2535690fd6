import dataclasses
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from reproduce import video_runs
from silot_tf.data import video_background, video_choices, video_clips, video_files
from silot_tf.errors import UserError
from tests.data import videos

EXAMPLE = video_choices.Choices(
    background="median",
    view="difference",
    contrast=1.0,
    foreground_threshold=0.3,
    object_size=(4.0, 4.0),
    objects_per_frame=1.0,
    working_size=(24, 24),
    anchor=(12, 12),
    size_prior_mean=0.0,
    slots=4,
    crop_shape=(24, 24),
)


@pytest.fixture
def prepared(tmp_path):
    """Constructor of data sets over the moving squares, kept whole."""
    video = video_files.open_video(videos.write_folder(tmp_path / "frames", videos.frames()))
    chooser = video_choices.VideoChooser(view="difference", working_size=(48, 64), crop_shape=(24, 24), contrast=1.0)
    choices = chooser.choose(video_choices.survey(video))
    background = video_background.estimate(list(video.frames()), "median")
    view = video_clips.VideoView(choices, background)
    path = video_clips.write_frames(video, tmp_path / "frames.npy", (48, 64), [(0, 16)])

    def make(**settings):
        return video_clips.VideoClips(path, [(0, 16)], view, **{"num_frames": 3, "validation_clips": 5, **settings})

    return make


def test_long_videos_are_kept_in_stretches_spread_over_them():
    assert video_clips.stretches(100, 100, 10) == [(0, 100)]
    kept = video_clips.stretches(1000, 100, 20)
    assert len(kept) == 5 and kept[0] == (0, 20) and kept[-1] == (980, 1000)
    assert all(b - a == 20 for a, b in kept) and all(x[1] <= y[0] for x, y in itertools.pairwise(kept))


def test_kept_frames_are_those_of_the_stretches(tmp_path):
    video = video_files.open_video(videos.write_folder(tmp_path / "frames", videos.frames()))
    path = video_clips.write_frames(video, tmp_path / "f.npy", (24, 32), [(2, 4), (10, 13)])
    stored = np.load(path, mmap_mode="r", allow_pickle=False)
    expected = [video_choices.resize(videos.frames()[t], (24, 32)) for t in (2, 3, 10, 11, 12)]
    np.testing.assert_array_equal(stored, expected)


def test_view_of_differences_is_grey_where_nothing_moves_and_can_be_shown_again(prepared):
    view, frame = prepared()._view, videos.frames()[5]
    seen = view.seen(frame)
    still = (frame == view.background).all(axis=-1)
    assert seen.dtype == np.float32 and 0.8 < still.mean() < 1
    np.testing.assert_array_equal(seen[still], np.float32(0.5))
    assert np.abs(view.shown(seen).astype(int) - frame).max() <= 128  # white on dark is cut off at 0.5 / contrast
    np.testing.assert_array_equal(view.shown(view.seen(view.background)), view.background)
    part = view.seen(frame[10:30, 20:50], (10, 20))
    np.testing.assert_array_equal(part, seen[10:30, 20:50])


def foreground_view(threshold=0.3, contrast=1.5):
    background = np.full((4, 5, 3), 100, np.uint8)
    choices = dataclasses.replace(EXAMPLE, view="foreground", foreground_threshold=threshold, contrast=contrast)
    return video_clips.VideoView(choices, background)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((49, 49, 49), (0.3, 0, 0)),  # darker by 0.2 in each channel
        ((151, 151, 151), (0, 0.3, 0)),
        ((202, 100, 100), (0, 0.2, 0.6)),  # redder by 0.4: lighter by a third of it
        ((202, 49, 49), (0, 0, 0.9)),  # as light as before
        ((112, 112, 112), (0, 0, 0)),  # a sum of 0.14 is below half the threshold
        ((255, 255, 255), (0, 0.9118, 0)),
        ((100, 100, 100), (0, 0, 0)),
    ],
)
def test_foreground_is_what_differs_by_kind(colour, expected):
    view = foreground_view()
    frame = view.background.copy()
    frame[1, 2] = colour
    seen = view.seen(frame)
    np.testing.assert_allclose(seen[1, 2], expected, atol=2e-4)
    seen[1, 2] = 0
    assert seen.dtype == np.float32 and not seen.any()


def test_foreground_fades_in_between_half_the_threshold_and_all_of_it():
    view = foreground_view(threshold=0.6, contrast=1.0)
    frame = view.background + np.arange(20, dtype=np.uint8).reshape(4, 5)[..., None] * np.uint8(5)
    difference = np.arange(20).reshape(4, 5) * 5 / 255
    expected = difference * np.clip((3 * difference - 0.3) / 0.3, 0, 1)
    np.testing.assert_allclose(view.seen(frame)[..., 1], expected, atol=1e-6)


def test_foreground_is_shown_by_its_brightness_on_the_background():
    view = foreground_view()
    frame = view.background.copy()
    frame[0, 0], frame[3, 4] = 30, 190
    np.testing.assert_array_equal(view.shown(view.seen(frame)), frame)
    part = view.seen(frame[2:, 3:], (2, 3))
    np.testing.assert_array_equal(view.shown(part, (2, 3)), frame[2:, 3:])


def test_what_has_no_place_in_the_frame_is_shown_on_grey():
    view = foreground_view()
    nothing, dark = np.zeros((2, 3, 3)), np.array([0.5, 0, 0]) * np.ones((2, 3, 1))
    assert view.shown_alone(dark).shape == (2, 3, 3) and view.shown_alone(dark).dtype == np.uint8
    assert np.all(view.shown_alone(nothing) == 128) and np.all(view.shown_alone(dark) < 100)
    plain = dataclasses.replace(view, choices=dataclasses.replace(view.choices, view="frames"))
    np.testing.assert_array_equal(plain.shown_alone(dark)[0, 0], [128, 0, 0])


def test_clips_are_crops_of_successive_frames_at_their_offset(prepared):
    dataset = prepared()
    batch = dataset.batch(np.random.default_rng(3), 8)
    assert batch["video"].shape == (8, 3, 24, 24, 3) and batch["boxes"].shape == (8, 3, 0, 4)
    whole = np.stack([dataset._view.seen(frame) for frame in videos.frames()])
    for clip, (top, left) in zip(batch["video"], batch["crop_offset"], strict=True):
        windows = whole[:, top : top + 24, left : left + 24]
        assert any(np.array_equal(windows[t : t + 3], clip) for t in range(14))


def test_most_crops_show_something_that_moves(prepared):
    def moving(share):
        batch = prepared(moving_share=share).batch(np.random.default_rng(0), 200)
        return (np.abs(batch["video"] - 0.5).max(axis=(2, 3, 4)) > 0.2).any(axis=1).mean()

    assert moving(1.0) > 0.97 > 0.9 > moving(0.0)


def test_crops_lie_around_what_moves_also_where_the_model_is_told_of_no_background(tmp_path):
    """The still picture is brighter than the threshold; against black all of it would be foreground."""
    video = video_files.open_video(videos.write_folder(tmp_path / "frames", videos.frames()))
    chooser = video_choices.VideoChooser(background="none", working_size=(48, 64), crop_shape=(24, 24))
    choices = chooser.choose(video_choices.survey(video))
    view = video_clips.VideoView(choices, video_runs.background_of(video, choices))
    path = video_clips.write_frames(video, tmp_path / "frames.npy", (48, 64), [(0, 16)])
    dataset = video_clips.VideoClips(path, [(0, 16)], view, num_frames=1, moving_share=1.0)
    frame = videos.frames()[5]
    np.testing.assert_array_equal(view.foreground(frame), (frame != videos.still()).any(axis=-1))
    clips = dataset.batch(np.random.default_rng(0), 100)["video"]
    assert ((clips == (1, 1, 1)).all(axis=-1) | (clips == (1, 0, 0)).all(axis=-1)).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(view.shown(view.seen(frame)), frame)


def test_every_place_and_window_is_drawn(prepared):
    batch = prepared(moving_share=0.0).batch(np.random.default_rng(0), 600)
    offsets = batch["crop_offset"]
    assert offsets.min(axis=0).tolist() == [0, 0] and offsets.max(axis=0).tolist() == [24, 40]
    assert len(np.unique(offsets[:, 1])) > 35


def test_batches_go_on_where_they_were_and_keep_the_contract(prepared):
    from silot_tf import contracts

    dataset = prepared()
    whole = list(dataset.training_batches(2, seed=7).take(3).as_numpy_iterator())
    rest = list(dataset.training_batches(2, seed=7, start_batch=2).take(1).as_numpy_iterator())
    contracts.check_batch(whole[0], annotated=True)
    np.testing.assert_array_equal(whole[2]["video"], rest[0]["video"])
    assert not np.array_equal(whole[0]["video"], whole[1]["video"])
    validation = [len(batch["video"]) for batch in dataset.validation_batches(4).as_numpy_iterator()]
    assert validation == [4, 1]


def test_clips_of_stretches_never_span_two_of_them(tmp_path):
    video = video_files.open_video(videos.write_folder(tmp_path / "f", videos.frames()))
    choices = video_choices.VideoChooser(working_size=(48, 64), crop_shape=(48, 64), view="frames").choose(
        video_choices.survey(video)
    )
    kept = [(0, 4), (9, 13)]
    path = video_clips.write_frames(video, tmp_path / "f.npy", (48, 64), kept)
    view = video_clips.VideoView(choices, np.zeros((48, 64, 3), np.uint8))
    dataset = video_clips.VideoClips(path, kept, view, num_frames=3)
    batch = dataset.batch(np.random.default_rng(0), 60)
    frames = [frame.astype(np.float32) / np.float32(255) for frame in videos.frames()]
    first = [next(t for t in range(16) if np.array_equal(frames[t], clip[0])) for clip in batch["video"]]
    assert set(first) == {0, 1, 9, 10}


def test_too_short_a_video_is_an_error(prepared):
    with pytest.raises(UserError, match=r"16 frames in one piece, clips need 17"):
        prepared(num_frames=17)


def test_missing_or_other_file_of_frames_is_an_error(prepared, tmp_path):
    dataset = prepared()
    np.save(tmp_path / "frames.npy", np.zeros(3))
    with pytest.raises(UserError, match="expected uint8"):
        dataset.prepare()
    (tmp_path / "frames.npy").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        dataset.prepare()


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    """A limit on the size of files stands for the full disk."""
    folder = videos.write_folder(tmp_path / "frames", videos.frames())
    program = (
        "import resource, sys\n"
        "from silot_tf.data import video_clips, video_files\n"
        "from silot_tf.errors import UserError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n"
        "    video_clips.write_frames(video_files.open_video(sys.argv[1]), sys.argv[2], (48, 64), [(0, 16)])\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )
    out = tmp_path / "out" / "frames.npy"
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(out)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0 and "cannot write" in done.stdout and len(done.stdout.splitlines()) == 1, done.stderr
    assert not os.listdir(out.parent)
