"""What is drawn into frames: boxes in the colour of their track, tags with ids, annotations."""

import colorsys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from silot_tf.reporting.examples import Objects

# Bright, mutually distinct on black and on grey; neighbours in the list differ in hue and lightness.
PALETTE = (
    (255, 99, 71), (64, 196, 255), (255, 214, 0), (118, 255, 3), (224, 130, 255), (255, 145, 0),
    (29, 233, 182), (255, 138, 190), (150, 175, 255), (205, 220, 57), (188, 143, 100), (236, 64, 122),
)  # fmt: skip
TRUTH = (255, 255, 255)
DASH, GAP = 5, 4
LETTERS, SMALLEST_LETTERS = 14, 9  # height of ids in pixels


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
        corners = corners_of(box, image.size)
        draw_rectangle(painter, corners, colour, width, dashed=bool(is_new))
        if tags and track_id >= 0:
            _tag(painter, corners, str(int(track_id)), colour, image.size)


def draw_truth(image: Image.Image, truth: Objects, frame: int) -> None:
    """Draw annotated boxes of one frame as thin white lines."""
    painter = ImageDraw.Draw(image)
    for box, present in zip(truth.boxes[frame], truth.pres[frame], strict=True):
        if present:
            draw_rectangle(painter, corners_of(box, image.size), TRUTH, 1, dashed=False)


def corners_of(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom), last pixel included, of a box (y, x, height, width) in fractions."""
    y, x, height, width = np.clip(box, -9.0, 9.0)  # a diverged model must not make us draw for ever
    left, right = (x - width / 2) * size[0], (x + width / 2) * size[0] - 1
    top, bottom = (y - height / 2) * size[1], (y + height / 2) * size[1] - 1
    return round(left), round(top), max(round(right), round(left)), max(round(bottom), round(top))


def draw_rectangle(painter: ImageDraw.ImageDraw, corners, colour, width: int, dashed: bool) -> None:
    """Draw the outline of a rectangle, `width` pixels wide to the inside; `corners` as `corners_of` gives them."""
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


def label_font(size: int):
    """Font of labels, `size` pixels high."""
    return ImageFont.load_default(size)


def _tag(painter: ImageDraw.ImageDraw, corners, text: str, colour, size: tuple[int, int]) -> None:
    """Write an id at a box, small at small boxes, and not at all where it would hide what the box shows."""
    side = min(corners[2] - corners[0], corners[3] - corners[1]) + 1
    letters = min(max(round(0.4 * side), SMALLEST_LETTERS), LETTERS)
    font = label_font(letters)
    wide, high = int(painter.textlength(text, font=font)) + 2 + letters // 3, letters + 2
    if high > 0.75 * side:
        return
    left = min(max(corners[0], 0), size[0] - wide)
    top = corners[1] - high if corners[1] >= high else max(corners[1], 0)
    painter.rectangle((left, top, left + wide - 1, top + high - 1), fill=colour)
    painter.text((left + wide / 2, top + high / 2), text, fill=(0, 0, 0), font=font, anchor="mm")
