"""Boxes drawn into frames, fast enough for every frame of an agent's life."""

import colorsys

import cv2
import numpy as np


def colour_of(track_id: int) -> tuple[int, int, int]:
    """RGB of a track: always the same for an id, far from those of close ids; grey for objects without one."""
    if track_id < 0:
        return (150, 150, 150)
    hue = (0.02 + int(track_id) * 0.61803398875) % 1.0
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue, (0.65, 0.85)[track_id % 2], 1.0))


def draw_boxes(frame: np.ndarray, boxes: np.ndarray, ids: np.ndarray, scale: int = 1) -> np.ndarray:
    """The frame, enlarged, with boxes in the colours of their tracks and ids beside them.

    Args:
      frame: `[H,W,3]` uint8 RGB; not changed.
      boxes: `[N,4]` (y, x, height, width): centre and size in pixels of `frame`.
      ids: `[N]`; -1 for none, which is not written.
      scale: whole factor by which every pixel becomes a square.

    Returns:
      `[scale * H, scale * W, 3]` uint8.
    """
    canvas = np.ascontiguousarray(np.repeat(np.repeat(frame, scale, axis=0), scale, axis=1))
    for (y, x, height, width), track_id in zip(np.asarray(boxes, np.float64), ids, strict=True):
        if not np.isfinite([y, x, height, width]).all():
            continue
        edges = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2]) * scale
        left, top, right, bottom = np.round(np.clip(edges, -1e4, 1e4)).astype(int).tolist()
        colour = colour_of(int(track_id))
        cv2.rectangle(canvas, (left, top), (max(right - 1, left), max(bottom - 1, top)), colour, 1)
        if track_id >= 0:
            place = (min(max(left, 0), canvas.shape[1] - 8), top - 2 if top >= 10 else min(bottom, len(canvas)) + 9)
            cv2.putText(canvas, str(int(track_id)), place, cv2.FONT_HERSHEY_PLAIN, 0.7, colour, 1, cv2.LINE_AA)
    return canvas
