"""Files of tracks and pictures, from outputs of a model that is made up here."""

import csv
import os
import resource
import signal

import cv2
import gin
import numpy as np
import pytest
import tensorflow as tf

from reproduce import track_files, video_results, video_tracking
from silot_tf import mot_challenge
from silot_tf.data import video_choices, video_clips, video_files
from silot_tf.errors import UserError
from silot_tf.evaluation import video_tracks
from tests.data import videos

ROWS, COLUMNS = videos.SIZE


class Oracle:
    """A model that knows where the squares are; the second one is there in every frame but the third to fifth."""

    causal = has_sprites = True

    def __init__(self):
        self.chunks = []

    def initial_state(self, batch_size, crop_offset=None):
        return {"frame": tf.zeros([batch_size], tf.int32)}

    def unroll(self, video, state, *, seed, training, rollout_from):
        self.chunks.append(int(video.shape[1]))
        where = np.zeros((16 + 8, 3, 4), np.float32)
        for t in range(16):
            for k, (top, left) in enumerate(videos.boxes(t)):
                centre = (top + videos.SQUARE[0] / 2) / ROWS, (left + videos.SQUARE[1] / 2) / COLUMNS
                where[t, k] = *centre, videos.SQUARE[0] / ROWS, videos.SQUARE[1] / COLUMNS
        ids = np.tile(np.array([0, 1, -1], np.int32), (24, 1))
        ids[2:5, 1] = -1
        here = state["frame"][0] + tf.range(video.shape[1])
        objects = {
            "where": tf.gather(where, here)[None],
            "pres": tf.cast(tf.gather(ids, here) >= 0, tf.float32)[None, ..., None],
            "what": tf.tile(tf.constant([[[[0.75], [0.25], [0.5]]]]), [1, video.shape[1], 1, 1]),
            "depth": tf.zeros([1, video.shape[1], 3, 1]),
            "track_id": tf.gather(ids, here)[None],
            "is_new": tf.zeros([1, video.shape[1], 3], tf.bool),
        }
        return {"objects": objects, "reconstruction": video}, {"frame": state["frame"] + video.shape[1]}

    def sprites(self, what):
        return np.tile(np.asarray(what)[..., None, None, :], (2, 5, 4))


@pytest.fixture
def scene(tmp_path):
    """(video, view) of the moving squares."""
    video = video_files.open_video(videos.write_folder(tmp_path / "frames", videos.frames()))
    choices = video_choices.VideoChooser().choose(video_choices.survey(video))
    background = video_choices.resize(videos.still(), choices.working_size)
    return video, video_clips.VideoView(choices, background)


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def track(scene, out, **settings):
    video, view = scene
    settings = {"example_frames": 5, "example_clips": 2, "annotated_width": 0, **settings}
    tracker = video_tracking.Tracker(**settings)
    return tracker.track(Oracle(), video, view, out, num_frames=16, seed=0)


def truth(tmp_path):
    path = tmp_path / "gt.txt"
    path.write_text(videos.ground_truth())
    return mot_challenge.read(path, 16, videos.SIZE)


def test_tracks_are_in_pixels_of_the_video_counted_from_one(scene, out, tmp_path):
    result = track(scene, out)
    assert result["frames"] == 16 and tuple(result["frame_size"]) == videos.SIZE and result["metrics"]["mse"] == 0
    with open(out / "tracks.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 16 + 13 and rows[0]["frame"] == "1" and {row["id"] for row in rows} == {"1", "2"}
    top, left = videos.boxes(7)[0]
    row = next(row for row in rows if (row["frame"], row["id"]) == ("8", "1"))
    assert [float(row[key]) for key in ("x", "y", "width", "height")] == pytest.approx([left, top, 8, 12], abs=0.01)
    assert [line.split(",")[-3:] for line in (out / "tracks_mot.txt").read_text().splitlines()] == [["-1"] * 3] * 29
    scores = video_tracks.score(video_tracks.read_tracks(out / "tracks.csv"), truth(tmp_path), 16)
    assert scores["misses"] == 3 and scores["false_positives"] == 0 and scores["idf1"] == pytest.approx(58 / 61)


def test_video_with_boxes_has_every_frame_and_is_drawn_on(scene, out):
    track(scene, out)
    capture = cv2.VideoCapture(str(out / "annotated.mp4"))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1][..., ::-1])
    assert len(frames) == 16 and frames[0].shape == (ROWS, COLUMNS, 3)
    difference = np.abs(np.stack(frames).astype(int) - np.stack(videos.frames())).max(axis=-1)
    top, left = videos.boxes(7)[0]
    assert difference[7, top, left : left + 8].mean() > 40  # the upper edge of the first square's box
    assert np.median(difference) < 20
    assert sorted(os.listdir(out)) == ["annotated.mp4", "tracks.csv", "tracks_mot.txt"]


def test_frames_of_odd_size_are_padded_for_the_codec(tmp_path, out):
    images = [image[:47, :63] for image in videos.frames()]
    video = video_files.open_video(videos.write_folder(tmp_path / "odd", images))
    choices = video_choices.VideoChooser().choose(video_choices.survey(video))
    view = video_clips.VideoView(choices, video_choices.resize(images[0], choices.working_size))
    video_tracking.Tracker(annotated_width=0).track(Oracle(), video, view, out, num_frames=16, seed=0)
    capture = cv2.VideoCapture(str(out / "annotated.mp4"))
    assert capture.read()[1].shape == (48, 64, 3)


def test_small_frames_are_enlarged_for_the_eye(scene, out):
    track(scene, out, annotated_width=190)
    assert cv2.VideoCapture(str(out / "annotated.mp4")).read()[1].shape == (3 * ROWS, 3 * COLUMNS, 3)


def test_short_tracks_are_left_out(scene, out):
    track(scene, out, least_frames=14, annotate=False)
    found = video_tracks.read_tracks(out / "tracks.csv")
    assert set(found.track_id) == {1} and len(found.frame) == 16 and not (out / "annotated.mp4").exists()


def test_examples_are_spread_over_the_video_and_look_like_it(scene, out):
    examples = track(scene, out)["examples"]
    assert examples["first_frames"].tolist() == [0, 11] and examples["video"].shape[:2] == (2, 5)
    frame = video_choices.resize(videos.frames()[11], scene[1].choices.working_size)
    assert np.median(np.abs(examples["video"][1, 0].astype(int) - frame)) == 0
    assert examples["track_id"][0, 0].tolist() == [1, 2, -1]


def test_sprites_of_examples_look_like_the_video_too(scene, out):
    examples, view = track(scene, out)["examples"], scene[1]
    found = examples["sprites"]
    assert found.shape == (2, 5, 3, 2, 5, 4) and found.dtype == np.uint8
    opacity = np.array([191, 64, 0])  # the third is never there
    np.testing.assert_array_equal(found[1, 0, :, 1, 4, 3], opacity)
    grey = view.shown_alone(np.float32([[[0.75] * 3, [0.25] * 3]]))[0, :, 0]
    np.testing.assert_allclose(found[1, 0, :, 0, 0, 0], [*grey, 0], atol=2)
    assert not found[0, 2:, 1].any()  # nor is the second in these frames


def test_frames_are_not_collected(scene, out, monkeypatch):
    """However long the video, no more frames are alive than a chunk and the delay need."""
    most = 0
    original = track_files.TrackFiles.add

    def add(self, frame, tracks):
        nonlocal most
        most = max(most, len(self._delayed))
        return original(self, frame, tracks)

    monkeypatch.setattr(track_files.TrackFiles, "add", add)
    track(scene, out, least_frames=3, chunk_frames=4)
    assert most <= 3


def test_what_was_lost_and_is_found_anew_keeps_its_id(scene, out):
    """The second square is hidden in three frames; here the model takes it for something new afterwards."""

    class Forgetful(Oracle):
        def unroll(self, *arguments, **options):
            outputs, state = super().unroll(*arguments, **options)
            objects = outputs["objects"]
            here = state["frame"][0] - objects["track_id"].shape[1] + tf.range(objects["track_id"].shape[1])
            found_again = (objects["track_id"] == 1) & (here >= 5)[None, :, None]
            return outputs | {"objects": objects | {"track_id": tf.where(found_again, 7, objects["track_id"])}}, state

    video, view = scene
    for frames, expected in ((0, {1, 2, 8}), (3, {1, 2, 3}), (4, {1, 2})):
        tracker = video_tracking.Tracker(reconnect_frames=frames, annotate=False, example_clips=1, example_frames=16)
        result = tracker.track(Forgetful(), video, view, out, num_frames=16, seed=0)
        assert set(video_tracks.read_tracks(out / "tracks.csv").track_id) == expected
        assert set(np.unique(result["examples"]["track_id"])) == expected | {-1}  # the report says what the files say


def test_a_film_of_earlier_tracks_does_not_stay_beside_new_ones(scene, out):
    track(scene, out)
    (out / ".tracking.killed.unfinished").mkdir()  # by a process that was killed
    track(scene, out, annotate=False)
    assert sorted(os.listdir(out)) == ["tracks.csv", "tracks_mot.txt"]


def test_ctrl_c_ends_the_tracking_and_leaves_nothing(scene, out, capfd):
    class Slow(Oracle):
        def initial_state(self, batch_size, crop_offset=None):
            signal.raise_signal(signal.SIGINT)  # while the first chunk is on its way
            return super().initial_state(batch_size, crop_offset)

    video, view = scene
    with pytest.raises(KeyboardInterrupt):
        video_tracking.Tracker().track(Slow(), video, view, out, num_frames=16, seed=0)
    assert not os.listdir(out) and "SIGINT: leaving" in capfd.readouterr().err


def test_an_error_in_the_middle_leaves_earlier_files_as_they_were(scene, out, tmp_path):
    track(scene, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (tmp_path / "frames" / "frame9.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"frame9\.png"):
        track(scene, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_full_disk_is_one_line_and_leaves_nothing(scene, out):
    """A limit on the size of files stands for the full disk; it holds for text and for OpenCV's film."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    for annotate in (True, False):
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, old[1]))
        try:
            with pytest.raises(UserError, match=r"cannot be written|could not be written|cannot write") as caught:
                track(scene, out, annotate=annotate)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
        assert "\n" not in str(caught.value) and not os.listdir(out)


def test_connected_components_of_well_separated_squares_are_perfect(scene, tmp_path):
    scores, tracks = video_results.ForegroundBaseline(thresholds=(0.2, 2.5)).score(*scene, truth(tmp_path))
    assert set(tracks) == set(scores) and set(tracks["connected_components_tuned"].track_id) == {1, 2}
    assert set(scores) == {"connected_components", "connected_components_tuned"}
    assert scores["connected_components"]["mota"] > 0.8  # resized by no whole number, so edges are not exact
    assert scores["connected_components_tuned"]["mota"] >= scores["connected_components"]["mota"]


def test_settings_out_of_range_are_errors():
    wrong = {"chunk_frames": 0, "least_frames": 0, "most_overlap": 0.0, "codec": "h", "frame_rate": 0}
    for name, value in (wrong | {"reconnect_frames": -1, "reconnect_reach": 0}).items():
        with pytest.raises(UserError, match="Tracker"):
            video_tracking.Tracker(**{name: value})
    with pytest.raises(UserError, match="ForegroundBaseline"):
        video_results.ForegroundBaseline(thresholds=())
    gin.clear_config()
