import dataclasses

import cv2
import numpy as np
import pytest

from silot_tf.data import foreground_blobs, video_background, video_choices, video_files
from silot_tf.errors import UserError
from tests.data import videos


@pytest.fixture
def survey(tmp_path):
    return video_choices.survey(video_files.open_video(videos.write_folder(tmp_path / "frames", videos.frames())))


def test_running_sample_is_spread_evenly_whatever_the_length():
    for length in (1, 7, 8, 9, 100, 1000):
        sample = video_background.RunningSample(8)
        for number in range(length):
            sample.add(np.full((1,), number))
        found = [int(frame[0]) for frame in sample.frames]
        assert found == list(range(0, length, sample.stride)) and min(length, 4) <= len(found) <= 8


@pytest.mark.parametrize("method", ["median", "mog2"])
def test_background_is_what_is_behind_moving_squares(method):
    image = video_background.estimate(videos.frames(16) * 3, method)
    assert image.dtype == np.uint8
    wrong = np.abs(image.astype(int) - videos.still()).max(axis=-1) > 12
    assert wrong.mean() < (0.001 if method == "median" else 0.1)


def test_median_background_is_the_median_of_every_pixel():
    frames = np.random.default_rng(0).integers(0, 256, (7, 9, 11, 3), np.uint8)
    np.testing.assert_array_equal(video_background.estimate(frames, "median"), np.median(frames, axis=0))


def test_where_models_are_told_of_no_background_things_still_move_before_one():
    frames = videos.frames(16)
    np.testing.assert_array_equal(*(video_background.estimate(frames, method) for method in ("none", "median")))
    with pytest.raises(UserError, match="median, mog2, none"):
        video_background.estimate(videos.frames(2), "mean")


def test_difference_is_summed_over_channels():
    frame, background = np.uint8([[[255, 0, 10]]]), np.uint8([[[0, 255, 10]]])
    assert video_background.difference(frame, background).tolist() == [[2.0]]


def test_survey_counts_and_keeps_a_sample(survey):
    assert (
        survey.num_frames == 16 and survey.frame_size == videos.SIZE and survey.scale == 1 and len(survey.sample) == 16
    )


def test_objects_are_measured_and_frames_resized_to_suit(survey):
    choices = video_choices.VideoChooser(background="median").choose(survey)
    assert np.allclose(choices.object_size, videos.SQUARE, atol=2) and choices.objects_per_frame == 2
    scales = np.divide(choices.working_size, videos.SIZE)
    side = np.sqrt(np.prod(scales * choices.object_size))
    assert side == pytest.approx(17, rel=0.15)
    shape = np.divide(*(scales * choices.object_size))
    assert 1 < shape < choices.object_size[0] / choices.object_size[1]  # less oblong than it was, but still oblong
    assert np.allclose(choices.anchor, 2 * scales * choices.object_size, atol=1)
    assert choices.slots == 16 and abs(choices.size_prior_mean) < 0.2
    assert np.less_equal(choices.crop_shape, choices.working_size).all()
    smaller = video_choices.VideoChooser(prior_share=0.5).choose(survey)
    share, half = (1 / (1 + np.exp(-c.size_prior_mean)) for c in (choices, smaller))
    assert abs(half - share / 2) < 0.005 and smaller.anchor == choices.anchor


def test_what_is_given_wins_over_what_is_measured(survey):
    given = {"object_size": (10, 10), "working_size": (40, 60), "anchor": (30, 20), "slots": 5, "crop_shape": (24, 24)}
    choices = video_choices.VideoChooser(foreground_threshold=0.5, view="frames", **given).choose(survey)
    for name, value in given.items():
        assert tuple(np.atleast_1d(getattr(choices, name))) == tuple(np.atleast_1d(value)), name
    assert choices.foreground_threshold == 0.5 and choices.view == "frames"


def test_without_background_the_model_sees_the_frames(survey):
    assert video_choices.VideoChooser(background="none", object_size=(12, 8)).choose(survey).view == "frames"


def test_without_background_objects_are_measured_as_with_one(survey, caplog):
    with_one, without = (
        video_choices.VideoChooser(background=b, view="frames").choose(survey) for b in ("median", "none")
    )
    assert dataclasses.replace(without, background="median") == with_one and not caplog.records
    given = video_choices.VideoChooser(background="none", object_size=(10, 10)).choose(survey)
    assert given.objects_per_frame == with_one.objects_per_frame == 2
    sentences = without.sentences(survey.frame_size)
    assert len(sentences) == 4 and not [sentence for sentence in sentences if "difference of" in sentence]


@pytest.fixture
def panned():
    """A camera that turns over a picture of smooth blobs by two pixels a frame."""
    wide = np.random.default_rng(0).integers(0, 256, (12, 40, 3), np.uint8)
    wide = cv2.resize(wide, (320, 96), interpolation=cv2.INTER_CUBIC)
    return video_choices.Survey(60, (96, 128), [wide[:, 2 * t : 2 * t + 128] for t in range(60)], 1.0)


def test_before_a_moving_camera_sizes_and_numbers_are_asked_for(panned, caplog):
    for given in ({}, {"object_size": (12, 8)}, {"objects_per_frame": 5}):
        with pytest.raises(UserError, match=r"camera moves.*object_size = .*objects_per_frame") as caught:
            video_choices.VideoChooser(background="none", **given).choose(panned)
        assert "\n" not in str(caught.value)
    choices = video_choices.VideoChooser(background="none", object_size=(12, 8), objects_per_frame=7).choose(panned)
    assert choices.slots == 24 and not caplog.records
    video_choices.VideoChooser(background="median").choose(panned)
    assert ["cameras that do not move" in record.getMessage() for record in caplog.records] == [True]


def test_noise_is_no_moving_camera(survey):
    rng = np.random.default_rng(0)
    noisy = [np.clip(f + rng.normal(0, 16, f.shape), 0, 255).astype(np.uint8) for f in survey.sample]
    background = video_background.estimate(noisy, "median")
    found = foreground_blobs.measure(noisy, background, foreground_blobs.threshold_of(noisy, background))
    assert found.changed_share < foreground_blobs.MOVING_SHARE


def test_one_frame_is_told_as_one_frame(tmp_path):
    found = video_choices.survey(video_files.open_video(videos.write_folder(tmp_path / "frames", videos.frames(1))))
    for background in ("median", "none"):
        with pytest.raises(UserError, match="the video has one frame"):
            video_choices.VideoChooser(background=background).choose(found)


def test_many_pixels_are_reduced(survey):
    choices = video_choices.VideoChooser(most_pixels=2000).choose(survey)
    assert np.prod(choices.working_size) < 2400


def test_a_still_video_is_an_error_with_the_cure(tmp_path):
    video = video_files.open_video(videos.write_folder(tmp_path / "frames", [videos.still()] * 5))
    found = video_choices.survey(video)
    with pytest.raises(UserError, match=r"object_size") as caught:
        video_choices.VideoChooser().choose(found)
    assert "\n" not in str(caught.value)
    assert video_choices.VideoChooser(object_size=(12, 8)).choose(found).object_size == (12, 8)


@pytest.mark.parametrize(
    "wrong",
    [
        {"background": "mean"}, {"view": "sideways"}, {"object_size": (0, 3)}, {"object_size": 12}, {"slots": 0},
        {"anchor": (3, 3)}, {"working_size": (200,)}, {"squareness": 2}, {"anchor_factor": 1}, {"slot_range": (5, 2)},
        {"contrast": 0}, {"object_size": (40, "a")}, {"object_size": (40, float("nan"))}, {"object_size": "ab"},
        {"anchor_factor": "a"}, {"squareness": "a"}, {"slots": float("inf")},
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_told_by_their_gin_name(wrong):
    with pytest.raises(UserError, match=rf"data\.VideoChooser\.{next(iter(wrong))}"):
        video_choices.VideoChooser(**wrong)


def test_choices_survive_json(survey):
    choices = video_choices.VideoChooser().choose(survey)
    assert video_choices.Choices.from_json(choices.to_json()) == choices
    assert len(choices.sentences(survey.frame_size)) == 5


def test_persons_in_real_cctv_are_measured_right(tmp_path):
    """Annotated persons are 14x41 pixels in the median."""
    found = video_choices.survey(video_files.open_video(videos.pedestrians() / "video.mp4"))
    height, width = video_choices.VideoChooser().choose(found).object_size
    assert 34 <= height <= 48 and 12 <= width <= 19 and found.num_frames == 600
