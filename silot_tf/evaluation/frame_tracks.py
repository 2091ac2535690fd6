"""The tracked objects of one frame of a video: from a model's outputs to clean boxes in pixels of the video."""

import dataclasses

import numpy as np

from silot_tf.ops.boxes import from_edges, iou_matrix

SPECK = 2  # pixels
SMALLEST_SIDE = 0.5  # pixels of the video; what is left of a box inside of the frame


@dataclasses.dataclass(frozen=True)
class FrameTracks:
    """P tracked objects of one frame.

    Attributes:
      slot: `[P]` int, where the model keeps them.
      track_id: `[P]` int64, from 1 on, as MOTChallenge wants it.
      edges: `[P,4]` float64 (top, bottom, left, right), pixels of the video from its top-left corner.
      presence: `[P]` float64.
    """

    slot: np.ndarray
    track_id: np.ndarray
    edges: np.ndarray
    presence: np.ndarray

    def __len__(self) -> int:
        return len(self.slot)

    def chosen(self, which) -> "FrameTracks":
        """Some of the objects: `which` indexes `[P]`."""
        return FrameTracks(*(getattr(self, field.name)[which] for field in dataclasses.fields(self)))

    def where(self, size: tuple[int, int]) -> np.ndarray:
        """`[P,4]` (y, x, height, width) in fractions of a frame of (rows, columns) `size`."""
        return from_edges(self.edges - 0.5, size)


def of_outputs(objects: dict, size: tuple[int, int]) -> FrameTracks:
    """The objects of one frame that have an id, boxes cut to the frame; what lies outside is left out.

    Args:
      objects: `where [K,4]`, `pres [K,1]`, `track_id [K]` from 0 on, -1 for none.
      size: (rows, columns) of the video.
    """
    where = np.asarray(objects["where"], np.float64)
    low, high = (np.clip(where[:, :2] + sign * where[:, 2:] / 2, 0, 1) * size for sign in (-1, 1))
    ids = np.asarray(objects["track_id"])
    slot = np.flatnonzero((ids >= 0) & ((high - low).min(axis=1) >= SMALLEST_SIDE))
    edges = np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=-1)
    presence = np.asarray(objects["pres"], np.float64)[:, 0]
    return FrameTracks(slot, ids[slot].astype(np.int64) + 1, edges[slot], presence[slot])


def tightened(tracks: FrameTracks, foreground: np.ndarray, size: tuple[int, int]) -> FrameTracks:
    """The tracks with boxes shrunk to the foreground inside of them.

    Rows and columns of pixels with less foreground than `SPECK` do not count; boxes without any stay as they are.

    Args:
      tracks: in pixels of a frame of (rows, columns) `size`.
      foreground: `[h,w]` bool, of the frame at any size.
      size: see `tracks`.
    """
    scale, edges = np.repeat(np.divide(size, foreground.shape), 2), tracks.edges.copy()
    for k, box in enumerate(tracks.edges / scale):
        first, stop = np.floor(box[::2]).astype(int), np.ceil(box[1::2]).astype(int)
        inside = foreground[first[0] : stop[0], first[1] : stop[1]]
        extents = [np.flatnonzero(inside.sum(axis=1 - axis) >= SPECK) for axis in (0, 1)]
        if all(extent.size for extent in extents):
            # A pixel of the border counts as far as it is inside of the box.
            low = np.maximum(box[::2], first + [extent[0] for extent in extents])
            high = np.minimum(box[1::2], first + [extent[-1] + 1 for extent in extents])
            edges[k] = np.stack([low, high], axis=-1).ravel() * scale
    return dataclasses.replace(tracks, edges=edges)


def without_doubles(tracks: FrameTracks, most_overlap: float) -> FrameTracks:
    """The tracks less those that overlap one of a smaller id by an IoU above the limit.

    This is non-maximum suppression with age in place of a score: the track that was there first goes on.
    """
    overlap, kept = iou_matrix(tracks.edges, tracks.edges), []
    for k in np.argsort(tracks.track_id, kind="stable"):
        if not np.any(overlap[k, kept] > most_overlap):
            kept.append(k)
    return tracks.chosen(np.sort(np.array(kept, int)))
