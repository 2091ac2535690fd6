"""Clips in the compact form that the page to explore them reads: sheets of frames, and tracks as whole numbers.

A clip is a dictionary (times are frame numbers from 0):
    title, frames, size        heading, T, [H, W] in pixels
    input                      sheet
    truth                      tracks, or None without annotation
    baselines                  list of {name, tracks}
    views                      list of {key, title, sheet, tracks (None without boxes), unseen (first unseen frame)}
    edits                      list of {object, kind, shift, sheet, tracks}; kind is "removed" or "moved"
A sheet is {source, columns, first, size}: frames `first` to T - 1 of `size` [h, w], row after row in one picture.
A track is {id, colour, first, boxes, pres, depth, shown, fresh, sprites}: from frame `first` on, per frame a box [y, x,
height, width] in 1/10000 of the frame (None where there is none), presence and depth in 1/1000, whether the object
counts as there, and whether it is new. Its sprites are a sheet with opacity, of its frames; None without.
"""

import base64
import io
import math

import numpy as np
from PIL import Image

from silot_tf.evaluation.sprites import FAINTEST
from silot_tf.reporting.drawing import track_colour
from silot_tf.reporting.examples import Clip, Objects

BOX_UNITS, SHARE_UNITS = 10_000, 1_000
REACH = 9.0  # fractions of the frame; boxes of a diverged model end there
#: Sheets of more bytes than this per frame are compressed with loss.
LOSSLESS_BYTES = 12_000
LOSSY_QUALITY = 85
#: A twentieth of the time that the format's defaults take, for a few per cent more bytes.
LOSSLESS_EFFORT = {"method": 2, "quality": 30}
LARGEST_SIDE = 16_383  # pixels, of the image format


def clip_entry(clip: Clip, title: str, threshold: float, rollout_from: int | None, titles: dict[str, str]) -> dict:
    """One clip without its edits and sprites.

    Args:
      clip: the clip.
      title: its heading.
      threshold: objects with more presence count as there.
      rollout_from: first frame that roll-outs do not look at, for clips that do not say.
      titles: mode of a view ("" or "rollout_") -> what readers call it.
    """
    first = rollout_from if clip.rollout_from is None else clip.rollout_from
    return {
        "title": title,
        "frames": len(clip.video),
        "size": list(clip.video.shape[1:3]),
        "input": sheet(clip.video),
        "truth": None if clip.truth is None else tracks(clip.truth, threshold),
        "baselines": [
            {"name": name.replace("_", " "), "tracks": tracks(objects, threshold)}
            for name, objects in clip.baselines.items()
        ],
        "views": [
            {
                "key": "rollout" if mode else "posterior",
                "title": titles[mode],
                "sheet": sheet(view.reconstruction),
                "tracks": None if view.objects is None else tracks(view.objects, threshold),
                "unseen": first if mode else None,
            }
            for mode, view in clip.views.items()
        ],
        "edits": [],
    }


def edit_entries(clip: Clip, threshold: float) -> list[dict]:
    """Entries of a clip's roll-outs after an edit; those that moved nothing are left out."""
    return [
        {
            "object": edit.track_id,
            "kind": "removed" if edit.is_removed else "moved",
            "shift": [round(value, 3) for value in edit.shift],
            "sheet": sheet(edit.view.reconstruction, len(clip.video) - len(edit.view.reconstruction)),
            "tracks": tracks(edit.view.objects, threshold),
        }
        for edit in clip.what_ifs
        if len(edit.view.reconstruction) and (edit.is_removed or max(map(abs, edit.shift)) >= 0.02)
    ]


def sprite_sheets(clip: Clip, threshold: float) -> list[list[dict | None]]:
    """Sheet of each track's sprites, by view, in the order of the tracks of `clip_entry`; None where there is none."""
    found = []
    for view in clip.views.values():
        followed = {} if view.objects is None else _followed(view.objects, threshold)
        sprites = None if view.objects is None else view.objects.sprites
        found.append([None if sprites is None else _sprites(sprites, places) for places in followed.values()])
    return found


def _sprites(sprites: np.ndarray, places: dict[int, int]) -> dict:
    """Sheet of one track; frames in which it is nowhere are clear."""
    first, last = min(places), max(places)
    frames = np.zeros((last + 1 - first, *sprites.shape[2:]), np.uint8)
    for t, slot in places.items():
        frames[t - first] = sprites[t, slot]
    return sheet(frames, first)


def sheet(frames: np.ndarray, first: int = 0) -> dict:
    """Frames `[T,H,W,C]` uint8 as one picture in a `data:` address; `first` is the number of the first one.

    C is 3, or 4 with opacity; colours of what is clear are lost.
    """
    count, height, width, channels = frames.shape
    columns = min(count, max(1, math.ceil(math.sqrt(count * height / width)), math.ceil(count * height / LARGEST_SIDE)))
    rows = math.ceil(count / columns)
    grid = np.zeros((rows * columns, height, width, channels), np.uint8)
    grid[:count] = frames
    grid = grid.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    image = Image.fromarray(grid.reshape(rows * height, columns * width, channels))
    stream = io.BytesIO()
    image.save(stream, "WEBP", lossless=True, **LOSSLESS_EFFORT)
    if stream.tell() > LOSSLESS_BYTES * count:
        stream = io.BytesIO()
        image.save(stream, "WEBP", quality=LOSSY_QUALITY, method=4)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    return {"source": f"data:image/webp;base64,{data}", "columns": columns, "first": first, "size": [height, width]}


def tracks(objects: Objects, threshold: float) -> list[dict]:
    """Tracks by id, without sprites."""
    shown = _shown(objects, threshold)
    return [_track(objects, shown, number, places) for number, places in _followed(objects, threshold).items()]


def _shown(objects: Objects, threshold: float) -> np.ndarray:
    """`[T,K]` bool: which objects count as there."""
    return (objects.pres > threshold) & (objects.track_id >= 0)


def _followed(objects: Objects, threshold: float) -> dict[int, dict[int, int]]:
    """Id -> frame -> slot, by id: where each object is.

    An object whose presence falls to the threshold loses its id in the outputs; it is followed in its slot until
    another object takes the slot or its presence is next to nothing, and counts as not shown there.
    """
    shown = _shown(objects, threshold)
    found: dict[int, dict[int, int]] = {}
    owners = np.full(shown.shape[1], -1)
    for t in range(len(shown)):
        owners[objects.is_new[t]] = -1
        owners = np.where(shown[t], objects.track_id[t], owners)
        fading = (objects.pres[t] > FAINTEST) & ((objects.track_id[t] < 0) | (objects.track_id[t] == owners))
        for slot in np.flatnonzero((owners >= 0) & (shown[t] | fading)):
            places = found.setdefault(int(owners[slot]), {})
            if t not in places or shown[t, slot]:
                places[t] = int(slot)
    return dict(sorted(found.items()))


def _track(objects: Objects, shown: np.ndarray, number: int, places: dict[int, int]) -> dict:
    first, last = min(places), max(places)
    rows = [(t, places.get(t)) for t in range(first, last + 1)]

    def column(values, convert):
        return [None if slot is None else convert(values[t, slot]) for t, slot in rows]

    return {
        "id": number,
        "colour": "#{:02x}{:02x}{:02x}".format(*track_colour(number)),
        "first": first,
        "boxes": column(objects.boxes, _box),
        "pres": column(objects.pres, _share),
        "depth": None if objects.depth is None else column(objects.depth, _share),
        "shown": [int(slot is not None and bool(shown[t, slot])) for t, slot in rows],
        "fresh": [int(slot is not None and bool(objects.is_new[t, slot] and shown[t, slot])) for t, slot in rows],
        "sprites": None,
    }


def _box(box: np.ndarray) -> list[int] | None:
    if not np.isfinite(box).all():
        return None
    return [round(float(value) * BOX_UNITS) for value in np.clip(box, -REACH, REACH)]


def _share(value: float) -> int | None:
    return round(float(value) * SHARE_UNITS) if np.isfinite(value) else None
