"""Clips as pictures: input over reconstruction, boxes in the colour of their track; GIFs and film strips."""

import colorsys
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from silot_tf.reporting.examples import Clip, Objects

# Bright, mutually distinct on black and on grey; neighbours in the list differ in hue and lightness.
PALETTE = (
    (255, 99, 71), (64, 196, 255), (255, 214, 0), (118, 255, 3), (224, 130, 255), (255, 145, 0),
    (29, 233, 182), (255, 138, 190), (150, 175, 255), (205, 220, 57), (188, 143, 100), (236, 64, 122),
)  # fmt: skip
BACKGROUND = (20, 24, 30)
SEEN = (120, 132, 148)
IMAGINED = (255, 176, 32)
TRUTH = (255, 255, 255)
DASH, GAP = 5, 4
BAR, MARGIN = 26, 4
MAX_STRIP_FRAMES = 10
MAX_GIF_FRAMES = 80


def track_colour(track_id: int) -> tuple[int, int, int]:
    """Colour (red, green, blue) of a track, always the same for an id; the first twelve are hand-picked.

    Later ids turn the hue by the golden ratio, so that close ids stay far apart.
    """
    track_id = max(int(track_id), 0)
    if track_id < len(PALETTE):
        return PALETTE[track_id]
    hue = (0.11 + track_id * 0.61803398875) % 1.0
    level = (1.0, 0.82)[track_id % 2]
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.55 + 0.3 * (track_id % 3) / 2, level))


def upscale(image: np.ndarray, factor: int) -> Image.Image:
    """`[H,W,3]` uint8 enlarged by a whole factor, every pixel a square."""
    return Image.fromarray(np.ascontiguousarray(image)).resize(
        (image.shape[1] * factor, image.shape[0] * factor), Image.Resampling.NEAREST
    )


def draw_objects(
    image: Image.Image,
    objects: Objects,
    frame: int,
    *,
    threshold: float = 0.5,
    tags: bool = True,
    width: int = 2,
) -> None:
    """Draw the boxes of one frame into `image`: solid for propagated objects, dashed for new ones.

    Args:
      image: enlarged frame; boxes are fractions of it.
      objects: boxes of the clip.
      frame: frame number.
      threshold: objects with presence at or below it are not drawn.
      tags: whether to write ids at the boxes.
      width: line width in pixels.
    """
    painter = ImageDraw.Draw(image)
    for box, pres, track_id, is_new in zip(
        objects.boxes[frame], objects.pres[frame], objects.track_id[frame], objects.is_new[frame], strict=True
    ):
        if not pres > threshold or not np.isfinite(box).all():
            continue
        colour = track_colour(track_id)
        corners = _corners(box, image.size)
        _rectangle(painter, corners, colour, width, dashed=bool(is_new))
        if tags and track_id >= 0:
            _tag(painter, corners, str(int(track_id)), colour, image.size)


def draw_truth(image: Image.Image, truth: Objects, frame: int) -> None:
    """Draw annotated boxes of one frame as thin white lines."""
    painter = ImageDraw.Draw(image)
    for box, present in zip(truth.boxes[frame], truth.pres[frame], strict=True):
        if present:
            _rectangle(painter, _corners(box, image.size), TRUTH, 1, dashed=False)


def clip_frames(
    clip: Clip,
    mode: str,
    *,
    size: int = 288,
    threshold: float = 0.5,
    show_truth: bool = True,
    rollout_from=None,
) -> list[Image.Image]:
    """Frames of a clip in one mode ("" or "rollout_"): a time bar, the input, the reconstruction below it.

    In a roll-out, frames from `rollout_from` on have an amber bar and border, and their input is dimmed,
    since the model does not look at it.

    Args:
      clip: the clip.
      mode: key of `clip.views`.
      size: width of one panel in pixels, rounded to a whole factor of the frame width.
      threshold: presence above which objects are drawn.
      show_truth: whether to draw annotations over the input.
      rollout_from: first frame not looked at; None takes the clip's own.
    """
    view, factor = clip.views[mode], max(1, round(size / clip.video.shape[2]))
    switch = (clip.rollout_from if rollout_from is None else rollout_from) if mode else None
    frames = []
    for t in range(min(len(clip.video), MAX_GIF_FRAMES)):
        imagined = switch is not None and t >= switch
        pair = _panels(clip, view, t, factor, imagined, threshold, show_truth, tags=True, width=2)
        wide, high = pair[0].size
        canvas = Image.new("RGB", (wide + 2 * MARGIN, BAR + 2 * high + 3 * MARGIN), BACKGROUND)
        for row, panel in enumerate(pair):
            canvas.paste(panel, (MARGIN, BAR + MARGIN + row * (high + MARGIN)))
        _time_bar(canvas, t, len(clip.video), switch)
        if imagined:
            edge = (0, BAR, canvas.width - 1, canvas.height - 1)
            ImageDraw.Draw(canvas).rectangle(edge, outline=IMAGINED, width=MARGIN - 1)
        frames.append(canvas)
    return frames


def film_strip(
    clip: Clip,
    mode: str,
    *,
    size: int = 144,
    threshold: float = 0.5,
    show_truth: bool = True,
    rollout_from=None,
) -> Image.Image:
    """The clip as one still: time from left to right, an amber line where the roll-out starts."""
    view, factor = clip.views[mode], max(1, round(size / clip.video.shape[2]))
    switch = (clip.rollout_from if rollout_from is None else rollout_from) if mode else None
    times = np.unique(np.linspace(0, len(clip.video) - 1, MAX_STRIP_FRAMES).round().astype(int))
    high, wide = (n * factor for n in clip.video.shape[1:3])
    strip = Image.new("RGB", (MARGIN + len(times) * (wide + MARGIN), BAR + 2 * (high + MARGIN)), BACKGROUND)
    painter = ImageDraw.Draw(strip)
    for column, t in enumerate(times):
        imagined = switch is not None and t >= switch
        left = MARGIN + column * (wide + MARGIN)
        for row, panel in enumerate(_panels(clip, view, t, factor, imagined, threshold, show_truth, True, 2)):
            strip.paste(panel, (left, BAR + row * (high + MARGIN)))
        text = f"t = {t}" + ("  not seen" if imagined and wide >= 90 else "")
        painter.text((left + 2, BAR / 2), text, fill=IMAGINED if imagined else SEEN, font=_font(15), anchor="lm")
        if imagined and (column == 0 or times[column - 1] < switch):
            painter.rectangle((left - MARGIN, 0, left - 1, strip.height), fill=IMAGINED)
    return strip


def to_gif(frames: Sequence[Image.Image], frames_per_second: float = 3.0) -> bytes:
    """Endless animated GIF with one palette for all frames (tracks do not flicker) and a rest on the last."""
    sample = Image.new("RGB", (frames[0].width, sum(f.height for f in frames[:16])))
    for place, frame in enumerate(frames[:16]):
        sample.paste(frame, (0, place * frame.height))
    palette = sample.quantize(255, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    indexed = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    pause = round(1000 / frames_per_second)
    stream = io.BytesIO()
    indexed[0].save(
        stream, "GIF", save_all=True, append_images=indexed[1:], loop=0, optimize=False,
        duration=[pause] * (len(frames) - 1) + [2 * pause],
    )  # fmt: skip
    return stream.getvalue()


def to_png(image: Image.Image) -> bytes:
    """PNG of a picture."""
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _panels(clip: Clip, view, t: int, factor: int, imagined: bool, threshold, show_truth, tags, width) -> list:
    shown = clip.video[t]
    if imagined:
        shown = (shown * 0.45).astype(np.uint8)
    above, below = upscale(shown, factor), upscale(view.reconstruction[t], factor)
    if show_truth and clip.truth is not None:
        draw_truth(above, clip.truth, t)
    if view.objects is not None:
        draw_objects(above, view.objects, t, threshold=threshold, tags=tags, width=width)
        draw_objects(below, view.objects, t, threshold=threshold, tags=False, width=width)
    return [above, below]


def _time_bar(canvas: Image.Image, t: int, total: int, switch: int | None) -> None:
    """Frame number and a row of segments, one per frame: passed, current, and amber for frames not seen."""
    painter = ImageDraw.Draw(canvas)
    imagined = switch is not None and t >= switch
    text = f"t = {t}" + ("" if switch is None else "  not seen" if imagined else "  seen")
    painter.text((MARGIN, BAR / 2), text, fill=IMAGINED if imagined else SEEN, font=_font(15), anchor="lm")
    left, right = canvas.width * 0.42, canvas.width - MARGIN
    step = (right - left) / total
    for k in range(total):
        colour = IMAGINED if switch is not None and k >= switch else SEEN
        if k > t:
            colour = tuple(c // 3 for c in colour)
        painter.rectangle(
            (left + k * step, BAR / 2 - 3, left + (k + 1) * step - (2 if step > 4 else 1), BAR / 2 + 2),
            fill=colour,
        )


def _corners(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom), last pixel included, of a box (y, x, height, width) in fractions."""
    y, x, height, width = np.clip(box, -9.0, 9.0)  # a diverged model must not make us draw for ever
    left, right = (x - width / 2) * size[0], (x + width / 2) * size[0] - 1
    top, bottom = (y - height / 2) * size[1], (y + height / 2) * size[1] - 1
    return round(left), round(top), max(round(right), round(left)), max(round(bottom), round(top))


def _rectangle(painter: ImageDraw.ImageDraw, corners, colour, width: int, dashed: bool) -> None:
    left, top, right, bottom = corners
    if not dashed:
        painter.rectangle(corners, outline=colour, width=width)
        return
    for start in range(left, right + 1, DASH + GAP):
        stop = min(start + DASH - 1, right)
        painter.rectangle((start, top, stop, top + width - 1), fill=colour)
        painter.rectangle((start, bottom - width + 1, stop, bottom), fill=colour)
    for start in range(top, bottom + 1, DASH + GAP):
        stop = min(start + DASH - 1, bottom)
        painter.rectangle((left, start, left + width - 1, stop), fill=colour)
        painter.rectangle((right - width + 1, start, right, stop), fill=colour)


def _tag(painter: ImageDraw.ImageDraw, corners, text: str, colour, size: tuple[int, int]) -> None:
    font = _font(14)
    wide, high = int(painter.textlength(text, font=font)) + 6, 16
    left = min(max(corners[0], 0), size[0] - wide)
    top = corners[1] - high if corners[1] >= high else max(corners[1], 0)
    painter.rectangle((left, top, left + wide - 1, top + high - 1), fill=colour)
    painter.text((left + wide / 2, top + high / 2), text, fill=(0, 0, 0), font=font, anchor="mm")


def _font(size: int):
    return ImageFont.load_default(size)
