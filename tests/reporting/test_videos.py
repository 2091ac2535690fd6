import io

import numpy as np
from PIL import Image, ImageSequence

from silot_tf.reporting import drawing, videos
from silot_tf.reporting.examples import Clip, Objects, View
from silot_tf.reporting.videos import ClipStyle

SIZE, FACTOR, FRAMES = 20, 6, 4


def objects(is_new, *, pres=1.0, track_id=3, box=(0.5, 0.5, 0.5, 0.5)):
    shape = (FRAMES, 1)
    return Objects(
        np.broadcast_to(np.asarray(box, np.float64), (*shape, 4)),
        np.full(shape, pres),
        np.full(shape, track_id),
        np.broadcast_to(np.asarray(is_new, bool).reshape(-1, 1), shape),
    )


def drawn(is_new, **options):
    """Pixels in the colour of track 3 along the top edge of its box."""
    image = Image.new("RGB", (SIZE * FACTOR, SIZE * FACTOR))
    drawing.draw_objects(image, objects([is_new] * FRAMES, **options), 0, tags=False)
    edge = np.asarray(image)[30, 30:90]  # the box covers pixels 30..89
    return (edge == drawing.track_colour(3)).all(-1)


def test_propagated_objects_have_solid_boxes():
    assert drawn(False).all()


def test_new_objects_have_dashed_boxes():
    on = drawn(True)
    assert on[0]
    starts = np.flatnonzero(np.diff(on.astype(int)) == 1)
    assert len(starts) >= 5
    assert 0.4 < on.mean() < 0.8


def test_only_frames_with_is_new_are_dashed():
    image = [Image.new("RGB", (120, 120)) for _ in range(FRAMES)]
    tracked = objects([True, False, False, True])
    for t in range(FRAMES):
        drawing.draw_objects(image[t], tracked, t, tags=False)
    top = [(np.asarray(i)[30, 30:90] == drawing.track_colour(3)).all(-1).all() for i in image]
    left = [(np.asarray(i)[30:90, 30] == drawing.track_colour(3)).all(-1).all() for i in image]
    assert top == left == [False, True, True, False]


def test_absent_objects_are_not_drawn():
    assert not drawn(False, pres=0.5).any()
    assert not drawn(False, pres=float("nan")).any()
    assert not drawn(False, box=(np.nan,) * 4).any()


def test_colours_of_tracks_are_stable_and_distinct():
    first = [drawing.track_colour(k) for k in range(60)]
    assert first == [drawing.track_colour(np.int32(k)) for k in range(60)]
    close = np.abs(np.array(first[:12])[:, None] - np.array(first[:12])[None]).sum(-1) + 999 * np.eye(12)
    assert close.min() > 60
    assert all(max(colour) > 150 for colour in first)


def clip(rollout_from=2, truth=None):
    rng = np.random.default_rng(0)
    video = rng.integers(0, 255, (FRAMES, SIZE, SIZE, 3), np.uint8)
    view = View(video // 2, objects([True, False, False, False]))
    return Clip(video, truth, {"": view, "rollout_": view}, "c", rollout_from)


def test_enlarging_keeps_every_pixel_a_square():
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    large = np.asarray(drawing.upscale(image, 4))
    np.testing.assert_array_equal(large, image.repeat(4, axis=0).repeat(4, axis=1))


def test_reconstruction_stands_below_the_input():
    silent = clip()
    silent = Clip(silent.video, None, {"": View(silent.views[""].reconstruction, None)}, "", None)
    frame = np.asarray(videos.clip_frames(silent, "", ClipStyle(SIZE))[1])
    top = videos.BAR + videos.MARGIN
    np.testing.assert_array_equal(frame[top : top + SIZE, 4 : 4 + SIZE], silent.video[1])
    below = top + SIZE + videos.MARGIN
    np.testing.assert_array_equal(frame[below : below + SIZE, 4 : 4 + SIZE], silent.video[1] // 2)


def test_roll_out_marks_the_frames_that_the_model_does_not_see():
    def border(frame):
        return tuple(np.asarray(frame)[-1, 60])

    rollout = [border(f) for f in videos.clip_frames(clip(), "rollout_", ClipStyle(SIZE * FACTOR))]
    assert [c == videos.IMAGINED for c in rollout] == [False, False, True, True]
    posterior = [border(f) for f in videos.clip_frames(clip(), "", ClipStyle(SIZE * FACTOR))]
    assert videos.IMAGINED not in posterior


def test_annotation_is_drawn_thin_and_white_over_the_input_only():
    truth = objects([False] * FRAMES, box=(0.5, 0.5, 0.8, 0.8))
    frame = np.asarray(videos.clip_frames(clip(truth=truth), "", ClipStyle(SIZE * FACTOR))[1])
    white = (frame == 255).all(-1)
    half = videos.BAR + videos.MARGIN + SIZE * FACTOR
    assert white[:half].sum() >= 4 * (0.8 * SIZE * FACTOR - 1) - 40
    assert not white[half:].any()
    hidden = videos.clip_frames(clip(truth=truth), "", ClipStyle(SIZE * FACTOR, show_truth=False))[1]
    assert not (np.asarray(hidden) == 255).all(-1).any()


def test_gif_is_an_endless_loop_with_every_frame():
    gif = Image.open(io.BytesIO(videos.to_gif(videos.clip_frames(clip(), "", ClipStyle(60)), 4.0)))
    assert gif.format == "GIF"
    assert gif.info["loop"] == 0
    pauses = [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]
    assert pauses == [250, 250, 250, 500]


def test_film_strip_has_a_column_per_frame_and_a_line_at_the_switch():
    strip = np.asarray(videos.film_strip(clip(), "rollout_", ClipStyle(SIZE)))
    assert strip.shape == (
        videos.BAR + 2 * (SIZE + videos.MARGIN),
        videos.MARGIN + FRAMES * (SIZE + videos.MARGIN),
        3,
    )
    columns = np.flatnonzero((strip == videos.IMAGINED).all(-1).all(0))
    np.testing.assert_array_equal(columns, 2 * (SIZE + videos.MARGIN) + np.arange(videos.MARGIN))


def test_long_clips_are_thinned_in_strips():
    video = np.zeros((50, 8, 8, 3), np.uint8)
    long = Clip(video, None, {"": View(video, None)}, "", None)
    width = videos.film_strip(long, "", ClipStyle(8)).width
    assert width == videos.MARGIN + videos.MAX_STRIP_FRAMES * (8 + videos.MARGIN)
