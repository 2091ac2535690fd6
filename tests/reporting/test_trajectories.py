import numpy as np

from silot_tf.reporting.drawing import track_colour
from silot_tf.reporting.examples import Clip, Objects, View
from silot_tf.reporting.trajectories import MOST_FRAMES, trajectory_picture
from silot_tf.reporting.videos import BAR, IMAGINED, MARGIN, ClipStyle

SIZE, FACTOR = 20, 10
STYLE = ClipStyle(SIZE * FACTOR)


def moving(ids, *, pres=1.0, start=0.1, step=0.1):
    """One object that moves from left to right along the middle; its id in every frame, -1: not tracked."""
    frames = len(ids)
    boxes = np.zeros((frames, 1, 4))
    boxes[:, 0] = [(0.5, start + step * t, 0.1, 0.1) for t in range(frames)]
    track_id = np.array(ids)[:, None]
    return Objects(boxes, np.where(track_id >= 0, pres, 0.0), track_id, np.zeros((frames, 1), bool))


def clip_of(objects, *, truth=None, rollout_from=None, mode=""):
    video = np.zeros((len(objects.boxes), SIZE, SIZE, 3), np.uint8)
    return Clip(video, truth, {mode: View(video, objects)}, "c", rollout_from)


def picture(objects, mode="", **options):
    return np.asarray(trajectory_picture(clip_of(objects, mode=mode, **options), mode, STYLE))


def on_path(image, track_id, row=0):
    """Pixels of the track's colour on the middle line of the first panel of a row, by x in fractions."""
    y = BAR + row * (SIZE * FACTOR + MARGIN) + SIZE * FACTOR // 2
    line = image[y - 1 : y + 1, MARGIN : MARGIN + SIZE * FACTOR]
    return (line == track_colour(track_id)).all(-1).any(0)


def covered(image, track_id, start, stop, row=0):
    found = on_path(image, track_id, row)
    return found[round(start * SIZE * FACTOR) : round(stop * SIZE * FACTOR)].mean()


def test_path_goes_through_the_centres_in_the_colour_of_the_track():
    image = picture(moving([3] * 8))
    assert covered(image, 3, 0.15, 0.75) == 1
    assert covered(image, 3, 0.9, 1.0) == 0


def test_a_change_of_identity_is_a_change_of_colour_with_nothing_in_between():
    image = picture(moving([3, 3, 3, 3, 4, 4, 4, 4]))
    assert covered(image, 3, 0.15, 0.35) == 1 and covered(image, 4, 0.56, 0.74) == 1
    assert covered(image, 3, 0.47, 0.9) == covered(image, 4, 0.0, 0.46) == 0


def test_frames_in_which_a_track_is_away_leave_a_gap():
    image = picture(moving([3, 3, 3, -1, -1, 3, 3, 3]))
    assert covered(image, 3, 0.36, 0.54) == 0
    assert covered(image, 3, 0.62, 0.74) == 1


def test_absent_objects_have_no_path():
    assert not on_path(picture(moving([3] * 8, pres=0.5)), 3).any()
    broken = moving([3] * 8)
    broken.boxes[2:] = np.nan
    assert covered(picture(broken), 3, 0.3, 1.0) == 0


def test_frames_that_the_model_does_not_see_are_dashed():
    image = picture(moving([3] * 8), mode="rollout_", rollout_from=4)
    assert covered(image, 3, 0.15, 0.38) == 1
    assert 0.3 < covered(image, 3, 0.42, 0.74) < 0.75


def test_annotated_paths_stand_above_in_white():
    truth = moving([0] * 8)
    image = picture(moving([3] * 8), truth=truth)
    assert image.shape[0] == BAR + 2 * (SIZE * FACTOR + MARGIN)
    row = image[BAR + SIZE * FACTOR // 2, MARGIN + 40 : MARGIN + 140]
    assert (row == row[:, :1]).all() and (row > 200).all()
    assert covered(image, 3, 0.15, 0.75, row=1) == 1
    hidden = trajectory_picture(clip_of(moving([3] * 8), truth=truth), "", ClipStyle(SIZE * FACTOR, show_truth=False))
    assert hidden.height == BAR + SIZE * FACTOR + MARGIN


def test_long_clips_get_several_panels_and_those_not_seen_an_amber_heading():
    frames = 2 * MOST_FRAMES + 1
    image = picture(moving([3] * frames, step=0.01), mode="rollout_", rollout_from=MOST_FRAMES)
    assert image.shape[1] == MARGIN + 2 * (SIZE * FACTOR + MARGIN)
    amber = (image[:BAR] == IMAGINED).all(-1).any(0)
    assert not amber[: MARGIN + SIZE * FACTOR].any() and amber[MARGIN + SIZE * FACTOR :].any()


def test_single_frames_have_a_panel():
    assert picture(moving([3])).shape[1] == 2 * MARGIN + SIZE * FACTOR


def test_views_without_boxes_have_no_picture():
    video = np.zeros((3, SIZE, SIZE, 3), np.uint8)
    assert trajectory_picture(Clip(video, None, {"": View(video, None)}, "c", None), "", STYLE) is None
