"""Clips as pictures: input over reconstruction, boxes in the colour of their track; GIFs and film strips."""

import dataclasses
import io
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw

from silot_tf.reporting.drawing import draw_objects, draw_truth, label_font, upscale
from silot_tf.reporting.examples import Clip

BACKGROUND = (20, 24, 30)
SEEN = (120, 132, 148)
IMAGINED = (255, 176, 32)
BAR, MARGIN = 26, 4
MAX_STRIP_FRAMES = 10
MAX_STRIP_WIDTH = 1600  # pixels, for what a reader sees without scrolling; two frames are shown in any case
MAX_GIF_FRAMES = 120


@dataclasses.dataclass(frozen=True)
class ClipStyle:
    """How clips are drawn.

    Attributes:
      size: width of one panel in pixels, rounded to a whole factor of the frame's width.
      threshold: objects with more presence are drawn.
      show_truth: whether to draw annotations over the input.
      frames_per_second: speed of moving clips.
      rollout_from: first frame that a roll-out does not look at, for clips that do not say.
    """

    size: int = 288
    threshold: float = 0.5
    show_truth: bool = True
    frames_per_second: float = 3.0
    rollout_from: int | None = None

    def switch(self, clip: Clip, mode: str) -> int | None:
        """First frame that the model does not look at, or None."""
        if not mode:
            return None
        return self.rollout_from if clip.rollout_from is None else clip.rollout_from

    def factor(self, clip: Clip) -> int:
        """Pixels of the picture per pixel of the clip."""
        return max(1, round(self.size / clip.video.shape[2]))


def clip_frames(clip: Clip, mode: str, style: ClipStyle) -> list[Image.Image]:
    """Frames of a clip in one mode ("" or "rollout_"): a time bar, the input, the reconstruction below it.

    In a roll-out, frames that the model does not look at have an amber bar and border, and their input is dimmed.
    Clips of more than `MAX_GIF_FRAMES` frames end there.

    Args:
      clip: the clip.
      mode: key of `clip.views`.
      style: how to draw it.
    """
    switch, frames = style.switch(clip, mode), []
    for t, pair, imagined in _moments(clip, mode, style, range(min(len(clip.video), MAX_GIF_FRAMES))):
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


def film_strip(clip: Clip, mode: str, style: ClipStyle) -> Image.Image:
    """The clip as one still: time from left to right, an amber line where the roll-out starts.

    Clips of more than `MAX_STRIP_FRAMES` frames are thinned, and clips of large frames to what `MAX_STRIP_WIDTH` holds.
    Arguments as for `clip_frames`.
    """
    switch, factor = style.switch(clip, mode), style.factor(clip)
    high, wide = (n * factor for n in clip.video.shape[1:3])
    most = min(max(MAX_STRIP_WIDTH // (wide + MARGIN), 2), MAX_STRIP_FRAMES)
    times = np.unique(np.linspace(0, len(clip.video) - 1, most).round().astype(int))
    strip = Image.new("RGB", (MARGIN + len(times) * (wide + MARGIN), BAR + 2 * (high + MARGIN)), BACKGROUND)
    painter = ImageDraw.Draw(strip)
    for column, (t, pair, imagined) in enumerate(_moments(clip, mode, style, times)):
        left = MARGIN + column * (wide + MARGIN)
        for row, panel in enumerate(pair):
            strip.paste(panel, (left, BAR + row * (high + MARGIN)))
        text = f"t = {t}" + ("  not seen" if imagined and wide >= 90 else "")
        painter.text((left + 2, BAR / 2), text, fill=IMAGINED if imagined else SEEN, font=label_font(15), anchor="lm")
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


def _moments(clip: Clip, mode: str, style: ClipStyle, times: Iterable[int]) -> Iterator[tuple[int, list, bool]]:
    """Frame number, [input, reconstruction] with boxes, and whether the model does not look at the frame."""
    view, factor, switch = clip.views[mode], style.factor(clip), style.switch(clip, mode)
    for t in times:
        imagined = switch is not None and t >= switch
        shown = (clip.video[t] * 0.45).astype(np.uint8) if imagined else clip.video[t]
        above, below = upscale(shown, factor), upscale(view.reconstruction[t], factor)
        if style.show_truth and clip.truth is not None:
            draw_truth(above, clip.truth, t)
        if view.objects is not None:
            draw_objects(above, view.objects, t, threshold=style.threshold)
            draw_objects(below, view.objects, t, threshold=style.threshold, tags=False)
        yield t, [above, below], imagined


def _time_bar(canvas: Image.Image, t: int, total: int, switch: int | None) -> None:
    """Frame number and a row of segments, one per frame: passed, current, and amber for frames not seen."""
    painter = ImageDraw.Draw(canvas)
    imagined = switch is not None and t >= switch
    text = f"t = {t}" + ("" if switch is None else "  not seen" if imagined else "  seen")
    painter.text((MARGIN, BAR / 2), text, fill=IMAGINED if imagined else SEEN, font=label_font(15), anchor="lm")
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
