"""Clips of patches that move in straight lines and bounce off the walls of the frame, with boxes.

A scene holds what stays the same over a clip; everything after the random draws (paths, pictures,
annotations) is computed for many clips at once. Letters: C clips, N patches (rows beyond a clip's count are
empty), T frames.

Source: SILOT specification 5.1.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from silot_tf.errors import UserError

MAX_REJECTIONS = 1000
MAX_RESTARTS = 10_000
SMALLEST_VALID_SIDE = 1e-6


@dataclasses.dataclass
class Scenes:
    """The random draws of C clips.

    Attributes:
      count: `[C]` int, number of patches.
      position: `[C,N,2]` float64, (top, left) at frame 0, pixels.
      velocity: `[C,N,2]` float64, pixels per frame.
      size: `[C,N,2]` int, (rows, columns) of the drawn rectangle.
      alpha: `[C,N,m,m]` uint8, or float32 from 0 to 255: opacity of the drawn patch in its top-left corner, 0
        elsewhere.
      colour: `[C,N,channels]` uint8.
      extent: `[C,N,4]` float, (top, bottom, left, right) edges of the patch's content, pixels inside its
        rectangle.
      label: `[C,N]` int, class of the patch.
    """

    count: np.ndarray
    position: np.ndarray
    velocity: np.ndarray
    size: np.ndarray
    alpha: np.ndarray
    colour: np.ndarray
    extent: np.ndarray
    label: np.ndarray


def place_rectangles(
    generator: np.random.Generator,
    count: int,
    frame_size: tuple[int, int],
    draw_sizes: Callable[[np.random.Generator, int], np.ndarray],
    max_overlap: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Integer (top, left) and (rows, columns) of `count` rectangles inside the frame, both `[count,2]`.

    A candidate is rejected if the areas it shares with the rectangles placed before it sum to more than
    `max_overlap` square pixels. After more than 1000 rejections for one rectangle the whole placement starts
    again.

    Args:
      generator: source of randomness.
      count: number of rectangles.
      frame_size: (rows, columns) in pixels.
      draw_sizes: `(generator, n) -> [n,2]` sizes of n candidates; every candidate has its own.
      max_overlap: square pixels.

    Raises:
      UserError: if a rectangle is larger than the frame, or after 10,000 restarts.

    Source: SILOT specification 5.1.
    """
    for _ in range(MAX_RESTARTS + 1):
        corners, sizes = np.zeros((count, 2), np.int64), np.zeros((count, 2), np.int64)
        for k in range(count):
            found = _draw_free_rectangle(generator, corners[:k], sizes[:k], frame_size, draw_sizes, max_overlap)
            if found is None:
                break
            corners[k], sizes[k] = found
        else:
            return corners, sizes
    raise UserError(
        f"{count} patches do not fit into a frame of {frame_size[0]}x{frame_size[1]} pixels with at most "
        f"{max_overlap:g} square pixels of overlap ({MAX_RESTARTS} attempts); ask for fewer patches or "
        "a larger frame"
    )


def _draw_free_rectangle(generator, corners, sizes, frame_size, draw_sizes, max_overlap):
    """Corner and size of the first acceptable candidate, None after more than MAX_REJECTIONS rejections."""
    height, width = frame_size
    # Candidates are drawn in blocks that grow, because most rectangles are accepted within a few attempts.
    # Unused candidates are thrown away, so the outcome is distributed as if they were drawn one by one.
    remaining, block = MAX_REJECTIONS + 1, 8
    while remaining > 0:
        block = min(block, remaining)
        size = draw_sizes(generator, block)
        room = np.asarray(frame_size) - size
        if room.min() < 0:
            raise UserError(
                f"a patch of {size.max()} pixels does not fit into a frame of {height}x{width} pixels; "
                "choose a larger frame_shape"
            )
        corner = generator.integers(0, room + 1)
        low = np.maximum(corner[:, None], corners)
        high = np.minimum((corner + size)[:, None], corners + sizes)
        shared = np.maximum(high - low, 0)
        free = (shared[..., 0] * shared[..., 1]).sum(1) <= max_overlap
        first = int(free.argmax())
        if free[first]:
            return corner[first], size[first]
        remaining -= block
        block *= 8
    return None


def draw_velocities(generator: np.random.Generator, count: int, speed: float) -> np.ndarray:
    """`[count,2]` velocities of length `speed` pixels per frame, directions uniform on the circle."""
    direction = generator.standard_normal((count, 2))
    return speed * direction / np.linalg.norm(direction, axis=-1, keepdims=True)


def bounce(position, velocity, room, num_frames: int) -> np.ndarray:
    """(top, left) in frames 0..T-1, `[...,T,2]` float64, always within `[0, room]`.

    A wall reverses the velocity component across it, within the frame time in which it is reached. The two
    components are therefore independent, and each is a straight line folded into a triangle wave of period 2
    room.

    Args:
      position, velocity: `[...,2]` pixels, and pixels per frame.
      room: `[...,2]` frame size minus patch size, pixels.

    Source: SILOT specification 5.1, whose loop over wall contacts this solves in closed form.
    """
    room = np.asarray(room, np.float64)[..., None, :]
    frames = np.arange(num_frames, dtype=np.float64)[:, None]
    unfolded = np.asarray(position, np.float64)[..., None, :] + frames * np.asarray(velocity)[..., None, :]
    folded = np.mod(unfolded, np.where(room > 0, 2 * room, 1.0))
    return np.where(room > 0, room - np.abs(folded - room), 0.0)


def draw_clips(scenes: Scenes, corners, frame_size: tuple[int, int]) -> np.ndarray:
    """Pictures of all clips, `[C,T,H,W,channels]` uint8: patches over black in index order, the last one on
    top.

    The blend `alpha / 255 * colour + (1 - alpha / 255) * below` is computed exactly (opacities that are no integers:
    in float32) and cut to an integer.

    Args:
      scenes: what to draw.
      corners: `[C,N,T,2]` int, top-left pixel of every patch.
      frame_size: (rows, columns) in pixels.
    """
    clips, patches, frames = corners.shape[:3]
    side, channels = scenes.alpha.shape[-1], scenes.colour.shape[-1]
    # The canvas has a margin, because the empty part of a patch's array may stick out of the frame.
    rows, columns = frame_size[0] + side, frame_size[1] + side
    canvas = np.zeros((clips * frames, rows * columns, channels), np.uint8)
    inside = (np.arange(side)[:, None] * columns + np.arange(side)).reshape(-1)
    # Products of two bytes are at most 255 * 255, which fits 16 bits.
    wide, divide = (np.uint16, np.floor_divide) if scenes.alpha.dtype == np.uint8 else (np.float32, np.divide)
    for k in range(patches):
        drawn = np.flatnonzero(scenes.count > k)
        corner = corners[drawn, k]
        pixels = (corner[..., 0] * columns + corner[..., 1]).reshape(-1, 1) + inside
        images = (drawn[:, None] * frames + np.arange(frames)).reshape(-1, 1)
        alpha = np.repeat(scenes.alpha[drawn, k].reshape(-1, side * side, 1), frames, 0).astype(wide)
        colour = np.repeat(scenes.colour[drawn, k][:, None], frames, 0).astype(wide)
        canvas[images, pixels] = divide(alpha * colour + (255 - alpha) * canvas[images, pixels], 255)
    canvas = canvas.reshape(clips, frames, rows, columns, channels)
    return canvas[:, :, : frame_size[0], : frame_size[1]]


def annotate(scenes: Scenes, corners, frame_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes `[C,T,N,4]` float32 as (top, bottom, left, right) in annotation pixels, and `valid [C,T,N]` bool.

    Boxes enclose the content of the patch, are cut at 0 and at the frame size, and are 0 where not valid (no
    such patch, or thinner than 1e-6 pixel after the cut).

    Source: SILOT specification 1.2 (annotation frame) and 5.1.
    """
    corners = np.moveaxis(corners, 2, 1)
    extent = scenes.extent[:, None]
    edges = np.concatenate(
        [
            np.clip(extent[..., 0:2] + corners[..., 0:1] - 0.5, 0, frame_size[0]),
            np.clip(extent[..., 2:4] + corners[..., 1:2] - 0.5, 0, frame_size[1]),
        ],
        axis=-1,
    ).astype(np.float32)
    valid = (edges[..., 1::2] - edges[..., 0::2] >= SMALLEST_VALID_SIDE).all(-1)
    valid &= np.arange(scenes.alpha.shape[1]) < scenes.count[:, None, None]
    return np.where(valid[..., None], edges, np.float32(0)), valid


def render_scenes(scenes: Scenes, frame_size: tuple[int, int], num_frames: int) -> dict[str, np.ndarray]:
    """Pictures and annotations of all clips.

    Returns:
      dictionary with `video [C,T,H,W,channels]` uint8, `edges [C,T,N,4]` float32, `valid [C,T,N]` bool (both
      see `annotate`) and `label [C,N]` int32 (-1 beyond the clip's count). The id of an object is its row
      number.
    """
    paths = bounce(scenes.position, scenes.velocity, np.asarray(frame_size) - scenes.size, num_frames)
    corners = paths.astype(np.int64)  # cut, not rounded, as in the published experiments
    edges, valid = annotate(scenes, corners, frame_size)
    beyond = np.arange(scenes.label.shape[1]) >= scenes.count[:, None]
    return {
        "video": draw_clips(scenes, corners, frame_size),
        "edges": edges,
        "valid": valid,
        "label": np.where(beyond, -1, scenes.label).astype(np.int32),
    }


def content_extent(masks) -> np.ndarray:
    """(top, bottom, left, right) edges of the nonzero pixels of each mask, `[n,rows,columns] -> [n,4]`
    float64.

    The first nonzero row r0 and the last r1 give top = r0 and bottom = r1 + 1; an empty mask has no extent
    (zeros).
    """
    masks = np.asarray(masks) > 0
    edges = []
    for axis in (2, 1):
        used = masks.any(axis)
        first, last = used.argmax(1), used.shape[1] - used[:, ::-1].argmax(1)
        edges += [first, np.where(used.any(1), last, 0)]
    return np.stack(edges, -1).astype(np.float64)
