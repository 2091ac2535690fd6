"""Connected components: every connected region of foreground pixels is an object, ids by nearest centre.

Its scores say how hard a data set is: it succeeds as far as objects can be told apart by where (and with
colours, what) they are in single frames. It has thresholds and no weights; `silot_tf.evaluation.tuning`
chooses the thresholds.

Source: SILOT (Crawford and Pineau 2020), appendix C; SILOT specification 6.4 and D36.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import cv2
import gin
import numpy as np
from scipy import optimize, spatial

from silot_tf.errors import UserError
from silot_tf.ops import boxes as box_ops

# Added to the cost of a forbidden pair, more than any distance inside a frame.
_FORBIDDEN = 10_000.0


@gin.configurable(module="baselines")
def published_foreground_thresholds(count: int = 52) -> tuple[float, ...]:
    """`count` thresholds spread over the published grid `0.0001 + k * 3/51`, k = 0..51 (both ends included).

    Fewer than 52 take a coarser subset of the grid. Unit: sum over three channels of values in [0, 1].
    """
    return tuple(0.0001 + int(k) * 3 / 51 for k in _subset(52, count, "published_foreground_thresholds"))


@gin.configurable(module="baselines")
def published_cosine_thresholds(count: int = 27) -> tuple[float, ...]:
    """`count` thresholds spread over the published grid `0.0001 + j/26`, j = 0..26 (both ends included)."""
    return tuple(0.0001 + int(j) / 26 for j in _subset(27, count, "published_cosine_thresholds"))


def _subset(size: int, count: int, name: str) -> np.ndarray:
    if not 1 <= count <= size:
        raise UserError(f"{name}.count is {count}; expected 1 to {size}")
    return np.unique(np.round(np.linspace(0, size - 1, count)).astype(int))


@dataclasses.dataclass(frozen=True)
class Setting:
    """Thresholds of one run: a pixel is foreground from `foreground` on; `cosine` is None without colours."""

    foreground: float
    cosine: float | None = None


@gin.configurable(module="baselines")
class ConnectedComponents:
    """The baseline with its grid of settings.

    Args:
      foreground_thresholds: candidates for the smallest `sum over channels |pixel - background|` of the
        foreground.
      colours: None, or RGB triples in [0, 1]; then components are sought for each colour separately, among
        the pixels whose cosine with that colour reaches a second threshold, and keep their colour over time.
      cosine_thresholds: candidates for that threshold; read only with colours.
      matching_radius: largest distance in pixels between the centres of one object in successive frames.
      background: what `foreground_thresholds` are differences from: one value in [0, 1] for all channels, an RGB
        triple, or a layer of `silot_tf.layers.backgrounds` that does not learn (clips are then taken for uncropped).
      name: how the baseline is called in results.
    """

    def __init__(
        self,
        foreground_thresholds: Sequence[float] | None = None,
        colours: Sequence[Sequence[float]] | None = None,
        cosine_thresholds: Sequence[float] | None = None,
        matching_radius: float = 30.0,
        background=0.0,
        name: str = "connected_components",
    ):
        if foreground_thresholds is None:
            foreground_thresholds = published_foreground_thresholds()
        if cosine_thresholds is None:
            cosine_thresholds = published_cosine_thresholds()
        if not foreground_thresholds or (colours is not None and not cosine_thresholds):
            raise UserError("ConnectedComponents has an empty list of thresholds; expected at least one of each kind")
        self.name = name
        self._colours = None if colours is None else np.asarray(colours, np.float32)
        self._radius = matching_radius
        self._background = background
        cosines = (None,) if colours is None else tuple(cosine_thresholds)
        self.settings = tuple(Setting(f, c) for f in foreground_thresholds for c in cosines)

    def scan(self, video) -> "Scan":
        """The video `[B,T,H,W,C]` (values in [0, 1]) prepared for trying many settings on it."""
        video, background = np.asarray(video, np.float32), self._background
        if hasattr(background, "of_clips"):
            background = background.of_clips(video)
        return Scan(video, self._colours, np.asarray(background, np.float32), self._radius)


class Scan:
    """One batch of clips; what does not depend on the setting is computed once."""

    def __init__(self, video: np.ndarray, colours: np.ndarray | None, background: np.ndarray, radius: float):
        self._radius = radius
        self._contrast = np.abs(video - background).sum(axis=-1)
        self._cosines = None
        if colours is not None:
            lengths = np.linalg.norm(video, axis=-1) * np.linalg.norm(colours, axis=-1).reshape(-1, 1, 1, 1, 1)
            products = np.moveaxis(video @ colours.T, -1, 0)
            self._cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)

    def masks(self, setting: Setting) -> np.ndarray:
        """`[M,B,T,H,W]` bool foreground, one mask per colour (M = 1 without colours)."""
        foreground = (self._contrast >= setting.foreground)[None]
        return foreground if self._cosines is None else foreground & (self._cosines >= setting.cosine)

    def fingerprint(self, setting: Setting) -> bytes:
        """Settings with the same fingerprint have the same outputs on this video."""
        return hashlib.blake2b(np.packbits(self.masks(setting)), digest_size=16).digest()

    def outputs(self, setting: Setting) -> dict:
        """`{"objects": ...}` as in `silot_tf.contracts`, without appearance: NumPy arrays with K as large as
        needed.

        `where [B,T,K,4]` float64, `pres [B,T,K,1]` (1 for every component, 0 for padding), `track_id
        [B,T,K]`, `is_new [B,T,K]`. Components of a frame stand in order of colour, then of their first pixel.
        """
        clips, frames, rows, columns = self._contrast.shape
        image, colour, edges = components(self.masks(setting).reshape(-1, clips * frames, rows, columns))
        counts = np.bincount(image, minlength=clips * frames)
        slots = int(counts.max(initial=0))
        slot = np.arange(len(image)) - np.repeat(np.cumsum(counts) - counts, counts)
        where = np.zeros((clips * frames, slots, 4))
        where[image, slot] = box_ops.from_edges(edges, (rows, columns))
        pres = np.zeros((clips * frames, slots))
        pres[image, slot] = 1.0
        track_id = np.full((clips * frames, slots), -1, np.int32)
        is_new = np.zeros((clips * frames, slots), bool)
        centres = np.stack([edges[:, :2].mean(axis=1), edges[:, 2:].mean(axis=1)], axis=-1)
        ends = np.cumsum(counts)
        for clip in range(clips):
            images = range(clip * frames, (clip + 1) * frames)
            parts = [slice(ends[i] - counts[i], ends[i]) for i in images]
            ids = link([centres[part] for part in parts], [colour[part] for part in parts], self._radius)
            fresh = 0
            for i, frame_ids in zip(images, ids, strict=True):
                track_id[i, : counts[i]] = frame_ids
                is_new[i, : counts[i]] = frame_ids >= fresh
                fresh = max(fresh, int(frame_ids.max(initial=-1)) + 1)
        shape = (clips, frames, slots)
        return {
            "objects": {
                "where": where.reshape(*shape, 4),
                "pres": pres.reshape(*shape, 1),
                "track_id": track_id.reshape(shape),
                "is_new": is_new.reshape(shape),
            }
        }


def components(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The 4-connected components of a stack of masks.

    Args:
      masks: `[M,I,H,W]` bool, M kinds (colours) of I images.

    Returns:
      image `[P]`, kind `[P]` and edges `[P,4]` (top, bottom, left, right; annotation pixels) of every
      component, ordered by image, then kind, then first pixel.
    """
    kinds, images, rows, columns = masks.shape
    # All masks one below the other with an empty row between them: one call instead of one per image.
    tall = np.zeros((kinds, images, rows + 1, columns), np.uint8)
    tall[:, :, :rows] = masks
    _, _, stats, _ = cv2.connectedComponentsWithStats(tall.reshape(-1, columns), connectivity=4, ltype=cv2.CV_32S)
    stats = stats[1:]  # the first row is the background
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    width, height = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]
    kind, image = np.divmod(top // (rows + 1), images)
    top = top % (rows + 1)
    edges = np.stack([top, top + height, left, left + width], axis=-1) - 0.5
    order = np.lexsort((kind, image))
    return image[order], kind[order], edges[order]


def link(centres: Sequence[np.ndarray], kinds: Sequence[np.ndarray], radius: float) -> list[np.ndarray]:
    """Track ids of the objects of successive frames, `[P]` each, counted from 0.

    Pairs of objects in successive frames are assigned at smallest total distance; pairs farther apart than
    `radius` or of different kind are forbidden. Objects without a partner in the frame before get a new id:
    ids do not survive a gap.

    Args:
      centres: per frame `[P,2]` (y, x) in pixels.
      kinds: per frame `[P]`, for example colour numbers.
      radius: in pixels.
    """
    ids, fresh = [], 0
    for t, (here, kind) in enumerate(zip(centres, kinds, strict=True)):
        current = np.full(len(here), -1, np.int64)
        if t and len(here) and len(centres[t - 1]):
            cost = spatial.distance.cdist(centres[t - 1], here)
            cost[(cost > radius) | (kinds[t - 1][:, None] != kind[None, :])] += _FORBIDDEN
            before, after = optimize.linear_sum_assignment(cost)
            allowed = cost[before, after] < _FORBIDDEN
            current[after[allowed]] = ids[-1][before[allowed]]
        unmatched = np.flatnonzero(current < 0)
        current[unmatched] = fresh + np.arange(len(unmatched))
        fresh += len(unmatched)
        ids.append(current)
    return ids
