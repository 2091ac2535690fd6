"""Paths of objects over a clip as one picture: annotated ones above, tracks of the model below."""

import itertools
import math

import numpy as np
from PIL import Image, ImageDraw

from silot_tf.reporting.drawing import corners_of, draw_rectangle, label_font, track_colour, upscale
from silot_tf.reporting.examples import Clip, Objects
from silot_tf.reporting.videos import BACKGROUND, BAR, IMAGINED, MARGIN, SEEN, ClipStyle

#: Frames in one panel; longer clips get several panels from left to right.
MOST_FRAMES = 25
DIMMED = 0.4  # of the frame behind the paths, whose colours would drown in it
_SMOOTH = 2  # paths are drawn so much larger and then shrunk, for smooth edges


def trajectory_picture(clip: Clip, mode: str, style: ClipStyle) -> Image.Image | None:
    """The centres of all boxes as lines over the last frame, every track in its colour; None without boxes.

    Annotated paths are drawn in shades of white: colours belong to the tracks of the model. A ring stands where a
    track begins in the panel, a box where it is in the panel's last frame, a cross where it ended before. In a
    roll-out, paths are dashed from the first frame on that the model does not see.

    Args:
      clip: the clip.
      mode: key of `clip.views`.
      style: `size` is the width of one panel in pixels.
    """
    view = clip.views[mode]
    if view.objects is None:
        return None
    rows = [] if clip.truth is None or not style.show_truth else [(clip.video, clip.truth, 0.5, None, _white)]
    rows.append((view.reconstruction, view.objects, style.threshold, style.switch(clip, mode), track_colour))
    factor = style.factor(clip)
    high, wide = (n * factor for n in clip.video.shape[1:3])
    spans = _spans(len(clip.video))
    picture = Image.new("RGB", (MARGIN + len(spans) * (wide + MARGIN), BAR + len(rows) * (high + MARGIN)), BACKGROUND)
    painter = ImageDraw.Draw(picture)
    for column, (first, last) in enumerate(spans):
        left = MARGIN + column * (wide + MARGIN)
        for row, (frames, objects, threshold, switch, colour_of) in enumerate(rows):
            panel = _panel(frames[last], objects, (first, last), factor, threshold, switch, colour_of)
            picture.paste(panel, (left, BAR + row * (high + MARGIN)))
        text = f"t = {first} to {last}" if last > first else f"t = {last}"
        switch = style.switch(clip, mode)
        unseen = switch is not None and first >= switch
        painter.text((left + 2, BAR / 2), text, fill=IMAGINED if unseen else SEEN, font=label_font(15), anchor="lm")
    return picture


def _spans(length: int) -> list[tuple[int, int]]:
    """(first, last) frame of each panel; panels are about equally long, and one begins where the one before ends."""
    panels = max(1, math.ceil((length - 1) / MOST_FRAMES))
    edges = np.linspace(0, length - 1, panels + 1).round().astype(int)
    return [(int(a), int(b)) for a, b in itertools.pairwise(edges)]


def _panel(
    frame, objects: Objects, span: tuple[int, int], factor: int, threshold: float, switch, colour_of
) -> Image.Image:
    """Paths over one frame."""
    first, last = span
    image = upscale((frame * DIMMED).astype(np.uint8), factor * _SMOOTH)
    painter = ImageDraw.Draw(image)
    paths = _paths(objects, first, last, threshold, image.size)
    for track_id, points in paths.items():
        colour, times = colour_of(track_id), sorted(points)
        for before, after in itertools.pairwise(times):
            if after != before + 1:
                continue  # not there in between
            ends = (points[before], points[after])
            if switch is not None and after >= switch:
                _dashed_line(painter, *ends, colour)
            else:
                painter.line(ends, fill=colour, width=2 * _SMOOTH, joint="curve")
    for track_id, points in paths.items():  # marks lie above all lines
        colour, times = colour_of(track_id), sorted(points)
        _ring(painter, points[times[0]], colour)
        if times[-1] < last:
            _cross(painter, points[times[-1]], colour)
    for box, pres, track_id, is_new in zip(
        objects.boxes[last], objects.pres[last], objects.track_id[last], objects.is_new[last], strict=True
    ):
        if pres > threshold and track_id >= 0 and np.isfinite(box).all():
            corners = corners_of(box, image.size)
            draw_rectangle(painter, corners, colour_of(track_id), 2 * _SMOOTH, dashed=bool(is_new))
    return image.resize((image.width // _SMOOTH, image.height // _SMOOTH), Image.Resampling.BOX)


def _white(track_id: int) -> tuple[int, int, int]:
    return ((235, 235, 235), (190, 190, 190), (150, 150, 150))[track_id % 3]


def _paths(objects: Objects, first: int, last: int, threshold: float, size: tuple[int, int]) -> dict[int, dict]:
    """Track id -> frame -> (x, y) of the centre in pixels."""
    paths: dict[int, dict] = {}
    for t in range(first, last + 1):
        for box, pres, track_id in zip(objects.boxes[t], objects.pres[t], objects.track_id[t], strict=True):
            if pres > threshold and track_id >= 0 and np.isfinite(box).all():
                y, x = np.clip(box[:2], -9, 9)  # a diverged model must not make us draw for ever
                paths.setdefault(int(track_id), {})[t] = (x * size[0], y * size[1])
    return paths


def _dashed_line(painter: ImageDraw.ImageDraw, start, end, colour) -> None:
    """Three dashes, whatever the length: one per frame and a half would not be seen on short steps."""
    start, end = np.array(start), np.array(end)
    for piece in range(3):
        a, b = (start + (end - start) * share / 6 for share in (2 * piece, 2 * piece + 1))
        painter.line((*a, *b), fill=colour, width=2 * _SMOOTH)


def _ring(painter: ImageDraw.ImageDraw, centre, colour) -> None:
    radius = 4 * _SMOOTH
    box = (centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius)
    painter.ellipse(box, fill=BACKGROUND, outline=colour, width=2 * _SMOOTH)


def _cross(painter: ImageDraw.ImageDraw, centre, colour) -> None:
    reach = 5 * _SMOOTH
    for sign in (1, -1):
        ends = (centre[0] - reach, centre[1] - sign * reach, centre[0] + reach, centre[1] + sign * reach)
        painter.line(ends, fill=BACKGROUND, width=5 * _SMOOTH)
        painter.line(ends, fill=colour, width=3 * _SMOOTH)
