"""Box conventions and overlaps, in NumPy."""

import numpy as np


def to_edges(boxes, image_shape) -> np.ndarray:
    """Boxes as (top, bottom, left, right) in pixels, annotation (pixel-centre) convention.

    In that convention pixel `k` has its centre at `k` and covers `[k - 0.5, k + 0.5]`, so a box that covers exactly
    pixels 3..5 has edges 2.5 and 5.5.

    Args:
      boxes: `[..., 4]` (y, x, height, width), centre and size in fractions of the frame, edge convention.
      image_shape: (rows, columns) in pixels.

    Source: SILOT specification 1.2 (annotation frame).
    """
    boxes = np.asarray(boxes, np.float64)
    rows, columns = image_shape
    y, x, height, width = (boxes[..., i] for i in range(4))
    return np.stack(
        [
            (y - height / 2) * rows - 0.5,
            (y + height / 2) * rows - 0.5,
            (x - width / 2) * columns - 0.5,
            (x + width / 2) * columns - 0.5,
        ],
        axis=-1,
    )


def from_edges(edges, image_shape) -> np.ndarray:
    """Inverse of `to_edges`: (top, bottom, left, right) in annotation pixels to centred fractions of the frame."""
    edges = np.asarray(edges, np.float64)
    rows, columns = image_shape
    top, bottom, left, right = (edges[..., i] + 0.5 for i in range(4))
    return np.stack(
        [
            (top + bottom) / 2 / rows,
            (left + right) / 2 / columns,
            (bottom - top) / rows,
            (right - left) / columns,
        ],
        axis=-1,
    )


def iou_matrix(first, second) -> np.ndarray:
    """Intersection over union of every pair of boxes given by edges, `[M,4] x [N,4] -> [M,N]` float64.

    Boxes are (top, bottom, left, right) in continuous coordinates with area `(bottom - top) * (right - left)`.
    Empty against empty gives 0.
    """
    first = np.asarray(first, np.float64).reshape(-1, 1, 4)
    second = np.asarray(second, np.float64).reshape(1, -1, 4)
    height = np.minimum(first[..., 1], second[..., 1]) - np.maximum(first[..., 0], second[..., 0])
    width = np.minimum(first[..., 3], second[..., 3]) - np.maximum(first[..., 2], second[..., 2])
    overlap = np.clip(height, 0, None) * np.clip(width, 0, None)
    area_first = (first[..., 1] - first[..., 0]) * (first[..., 3] - first[..., 2])
    area_second = (second[..., 1] - second[..., 0]) * (second[..., 3] - second[..., 2])
    union = area_first + area_second - overlap
    return np.where(union > 0, overlap / np.where(union > 0, union, 1), 0.0)
