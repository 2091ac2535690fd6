"""Paths of objects that accelerate, bounce at walls and may leave the frame at its far sides.

Source: SQAIR, released data generator; SQAIR specification 5.1.
"""

import dataclasses

import numpy as np

from silot_tf.errors import UserError

MAX_FAILURES, MAX_RESTARTS = 5, 10_000


@dataclasses.dataclass(frozen=True)
class Motion:
    """Limits of the motion, per axis.

    Attributes:
      speed: largest velocity, pixels per frame.
      acceleration: largest acceleration, pixels per frame squared.
      jitter: standard deviation of the noise on the acceleration, per frame.
    """

    speed: float = 10.0
    acceleration: float = 3.0
    jitter: float = 0.01


@dataclasses.dataclass(frozen=True)
class Start:
    """What is drawn for n objects of a clip of T frames: everything that decides their paths.

    Attributes:
      first: `[n,2]` float64, (top, left) at frame 0.
      hidden: `[n,2]` float64, where the step before frame 0 starts.
      velocity, acceleration: `[n,2]` float64, before that step.
      jitter: `[n,T,2]` float64, noise on the acceleration of that step and all others.
    """

    first: np.ndarray
    hidden: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    jitter: np.ndarray


def draw_start(generator: np.random.Generator, first, frame_size, num_frames: int, motion: Motion) -> Start:
    """Random start of objects at `first [n,2]` in a frame of (rows, columns)."""
    shape = np.shape(first)
    return Start(
        first=np.asarray(first, np.float64),
        hidden=generator.uniform(0, frame_size, shape),
        velocity=generator.uniform(-motion.speed, motion.speed, shape),
        acceleration=generator.uniform(-motion.acceleration, motion.acceleration, shape),
        jitter=motion.jitter * generator.standard_normal((shape[0], num_frames, 2)),
    )


def draw_places(generator: np.random.Generator, sizes, frame_size) -> np.ndarray | None:
    """(top, left) of boxes of `sizes [n,2]` that touch no other, `[n,2]` int64; None after five failed draws in all.

    Boxes that share an edge do not intersect.
    """
    corners, failures = np.zeros((len(sizes), 2), np.int64), 0
    for k, size in enumerate(sizes):
        while True:
            corner = np.rint(generator.uniform(size=2) * (np.asarray(frame_size) - size)).astype(np.int64)
            low = np.maximum(corner, corners[:k])
            high = np.minimum(corner + size, corners[:k] + sizes[:k])
            if not np.any(np.all(high > low, axis=-1)):
                corners[k] = corner
                break
            failures += 1
            if failures >= MAX_FAILURES:
                return None
    return corners


def draw_kinds_and_places(generator: np.random.Generator, count: int, sizes, frame_size):
    """Numbers of `count` distinct pictures, `[n]`, and places at which their boxes do not intersect, `[n,2]`.

    Args:
      generator: source of randomness.
      count: n.
      sizes: `[P,2]` rows and columns of the boxes of all pictures.
      frame_size: (rows, columns).

    Raises:
      UserError: if there are fewer pictures than objects, or after 10,000 restarts.
    """
    if count > len(sizes):
        raise UserError(f"{count} distinct pictures cannot be drawn from {len(sizes)}; ask for fewer objects")
    for _ in range(MAX_RESTARTS):
        kinds = generator.choice(len(sizes), count, replace=False)
        places = draw_places(generator, sizes[kinds], frame_size)
        if places is not None:
            return kinds, places
    raise UserError(
        f"{count} objects whose boxes do not touch were not found for a frame of {frame_size[0]}x{frame_size[1]} "
        f"pixels ({MAX_RESTARTS} attempts); ask for fewer objects or a larger frame"
    )


def paths(start: Start, frame_size, motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """(top, left) and velocities of n objects in frames 0..T-1, each `[n,T,2]` float64.

    Bounces keep the top left corner between 0 and the frame size, so objects leave the frame at the bottom and at the
    right only. `start` may carry more leading dimensions.
    """
    limits = np.asarray(frame_size, np.float64)
    position, velocity, acceleration = start.hidden, start.velocity, start.acceleration
    positions, velocities = [], []
    for t in range(start.jitter.shape[-2]):
        # The velocity before its change moves the object.
        position = position + velocity
        velocity = velocity + acceleration
        acceleration = acceleration + start.jitter[..., t, :]
        below, above = position < 0, position > limits
        position = np.where(below, -position, np.where(above, 2 * limits - position, position))
        sign = np.where(below | above, -1.0, 1.0)
        position = np.clip(position, 0, limits)
        velocity = np.clip(sign * velocity, -motion.speed, motion.speed)
        acceleration = np.clip(sign * acceleration, -motion.acceleration, motion.acceleration)
        if t == 0:
            position = start.first
        positions.append(position)
        velocities.append(velocity)
    return np.stack(positions, axis=-2), np.stack(velocities, axis=-2)
