"""Pictures of five shapes in any size: drawn from their geometry, shrunk to 14x14, then brought to size.

Source: SILOT specification 5.3.
"""

import functools

import numpy as np

SHAPES = ("circle", "diamond", "star", "x", "plus")
MASK_SIZE = 14
MASTER_SIZE = 134  # pixels
OPAQUE = 254

_SUBSAMPLES = 8  # per side of a master's pixel
_PLUS_THICKNESS = 0.179
_X_LENGTH, _X_THICKNESS = 1.193, 0.221
_STAR_RADII = 0.380  # inner over outer


def contains(shape: str, y, x) -> np.ndarray:
    """Whether points of the unit square (y down, x right, broadcast together) belong to a shape, bool."""
    v, u = np.asarray(y) - 0.5, np.asarray(x) - 0.5
    if shape == "circle":
        return u**2 + v**2 <= 0.25
    if shape == "diamond":
        return np.abs(u) + np.abs(v) <= 0.5
    if shape == "plus":
        return np.minimum(np.abs(u), np.abs(v)) <= _PLUS_THICKNESS / 2
    if shape == "x":
        along, across = np.abs(u + v) / np.sqrt(2), np.abs(u - v) / np.sqrt(2)
        return (np.minimum(along, across) <= _X_THICKNESS / 2) & (np.maximum(along, across) <= _X_LENGTH / 2)
    if shape == "star":
        return _in_polygon(star_corners(), np.asarray(y), np.asarray(x))
    raise ValueError(f"shape must be one of {SHAPES}, found {shape!r}")


def star_corners() -> np.ndarray:
    """`[10,2]` corners (y, x) of the star, one point up, stretched to fill the unit square."""
    angles = np.arange(10) * np.pi / 5
    corners = np.where(np.arange(10) % 2, _STAR_RADII, 1.0)[:, None] * np.stack([-np.cos(angles), np.sin(angles)], -1)
    return (corners - corners.min(0)) / np.ptp(corners, axis=0)


@functools.cache
def master(shape: str) -> np.ndarray:
    """`[134,134]` float64 in [0, 1], the part of each pixel that the shape covers; it touches all four sides."""
    points = (np.arange(MASTER_SIZE * _SUBSAMPLES) + 0.5) / (MASTER_SIZE * _SUBSAMPLES)
    inside = contains(shape, points[:, None], points)
    return inside.reshape(MASTER_SIZE, _SUBSAMPLES, MASTER_SIZE, _SUBSAMPLES).mean((1, 3))


@functools.cache
def mask(shape: str) -> np.ndarray:
    """`[14,14]` uint8 opacity of a shape; it is above 0 somewhere in every outermost row and column.

    Cut to integers, and 254 at most: in the published experiments rounding errors of the resizing left opaque pixels
    just below 1.
    """
    return np.minimum(255 * resize(master(shape), (MASK_SIZE, MASK_SIZE)), OPAQUE).astype(np.uint8)


@functools.cache
def patch(shape: str, rows: int, columns: int) -> np.ndarray:
    """`[rows,columns]` float32 opacity of a shape, 0 to 254."""
    return resize(mask(shape).astype(np.float64), (rows, columns)).astype(np.float32)


def resize(image, size: tuple[int, int]) -> np.ndarray:
    """`[h,w]` picture at another size (rows, columns), bilinear with anti-aliasing, float64.

    A dimension that shrinks by a factor f > 1 is first blurred by a Gaussian with a standard deviation of (f - 1) / 2
    pixels. Blur and interpolation mirror at the border (without repeating the edge pixel) if any dimension shrinks;
    else the edge pixel is repeated.
    """
    image = np.asarray(image, np.float64)
    shrinks = any(new < old for old, new in zip(image.shape, size, strict=True))
    down, right = (_resampling(old, new, shrinks) for old, new in zip(image.shape, size, strict=True))
    return down @ image @ right.T


@functools.cache
def _resampling(old: int, new: int, mirror: bool) -> np.ndarray:
    """`[new,old]` matrix that resizes one dimension: blur, then linear interpolation at centres of the new pixels."""
    from scipy import ndimage

    source = np.eye(old)
    if new < old:
        source = ndimage.gaussian_filter1d(source, (old / new - 1) / 2, axis=0, mode="mirror")
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    centres = (old - 1) - np.abs((old - 1) - np.abs(centres)) if mirror else np.clip(centres, 0, old - 1)
    low = np.minimum(centres.astype(np.int64), old - 1)
    share = (centres - low)[:, None]
    return (1 - share) * source[low] + share * source[np.minimum(low + 1, old - 1)]


def _in_polygon(corners: np.ndarray, y, x) -> np.ndarray:
    """Even-odd rule: a ray to the right of the point crosses the outline an odd number of times."""
    inside = np.zeros(np.broadcast_shapes(np.shape(y), np.shape(x)), bool)
    for (y0, x0), (y1, x1) in zip(corners, np.roll(corners, -1, 0), strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside
