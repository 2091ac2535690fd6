"""What the model of an own video sees, inside of an export."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from reproduce import video_export, video_runs
from silot_tf.data import video_choices, video_clips
from silot_tf.errors import UserError
from tests.data import videos

VIEWS = [("median", "foreground"), ("median", "difference"), ("median", "frames"), ("none", "frames")]


def record(background="median", view="foreground", working_size=(40, 52), **others):
    found = video_choices.Survey(2, videos.SIZE, [videos.still()] * 2, 1.0)
    chooser = video_choices.VideoChooser(
        background=background, view=view, object_size=(12, 8), objects_per_frame=3, working_size=working_size
    )
    fields = {"frames": 16, "frame_size": videos.SIZE, "choices": chooser.choose(found)} | others
    return video_runs.VideoRecord(video="film.mp4", fingerprint="", **fields)


@pytest.fixture
def folder(tmp_path):
    """Writes the background that belongs to a record; gives the folder."""

    def write(made):
        background = video_choices.resize(videos.still(), made.choices.working_size)
        video_runs.write_background(tmp_path, background if made.choices.background != "none" else background * 0)
        return tmp_path

    return write


@pytest.mark.parametrize(("background", "view"), VIEWS)
@pytest.mark.parametrize("working_size", [(24, 32), (40, 52), (56, 48), (60, 96)])
def test_the_graph_shows_to_the_last_bit_what_the_model_was_trained_on(folder, background, view, working_size):
    made = record(background, view, working_size)
    shape, preprocessing = video_export.preprocessing(folder(made), made, None)
    noise = np.random.default_rng(0).integers(-40, 41, (16, *videos.SIZE, 3))  # near the threshold
    frames = np.clip(np.stack(videos.frames()) + noise, 0, 255).astype(np.uint8)
    seen = video_clips.VideoView(made.choices, np.load(folder(made) / video_runs.BACKGROUND))
    expected = np.stack([seen.seen(seen.resized(frame)) for frame in frames])
    assert shape == (*videos.SIZE, 3) and preprocessing.seen_shape == (*working_size, 3)
    np.testing.assert_array_equal(preprocessing.live(frames), expected)
    found = tf.function(preprocessing.in_graph)(tf.constant(frames))
    assert found.dtype == tf.float32 and found.shape == expected.shape and expected.std() > 0.01
    np.testing.assert_array_equal(found, expected)
    # Compilers round once where others do twice, and bytes stay what they are.
    compiled = tf.function(preprocessing.in_graph, jit_compile=True)(tf.constant(frames))
    np.testing.assert_allclose(compiled, expected, atol=1e-6)


def test_the_description_says_view_and_sizes(folder):
    made = record()
    description = video_export.preprocessing(folder(made), made, None)[1].description
    assert description["video_size"] == list(videos.SIZE) and description["working_size"] == [40, 52]
    assert description["view"] == "foreground" and description["background"] == "median"
    assert "reproduce.Tracker" in description["not_inside"]
    assert "resized to 40x52" in description["sentence"] and "darker" in description["sentence"]


def test_frames_of_another_size_may_come_in_if_they_have_the_same_shape(folder):
    made = record()
    shape, preprocessing = video_export.preprocessing(folder(made), made, (96, 128))
    assert shape == (96, 128, 3) and preprocessing.seen_shape == (40, 52, 3)
    with pytest.raises(UserError, match=r"--frame_shape=64,48: the model was trained on frames of 48x64") as error:
        video_export.preprocessing(folder(made), made, (64, 48))
    assert "\n" not in str(error.value)
    unknown = dataclasses.replace(made, frame_size=None)
    with pytest.raises(UserError, match="expected --frame_shape=HEIGHT,WIDTH of the video"):
        video_export.preprocessing(folder(made), unknown, None)


def test_a_folder_that_only_tracked_names_that_of_the_weights(folder):
    made = record(trained_in="runs/film")
    with pytest.raises(UserError, match=r"no weights of its own.*--run_dir=runs/film"):
        video_export.experiment(folder(made), made, [], [])
