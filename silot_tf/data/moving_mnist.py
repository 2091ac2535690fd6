"""Moving multi-MNIST: up to two handwritten digits that accelerate over a black grey-scale frame."""

import dataclasses
import numbers

import gin
import numpy as np

from silot_tf.data import accelerated_motion
from silot_tf.data.checks import are_integers, require
from silot_tf.data.counted_clips import CountedClips
from silot_tf.data.digit_pictures import SIDE, DigitPictures, MnistPictures

GENERATOR_VERSION = 1
_CLIPS_AT_ONCE = 500


@dataclasses.dataclass(frozen=True)
class Scenes:
    """C clips of up to N digits before they are drawn.

    Attributes:
      exists: `[C,N,T]` bool.
      kind: `[C,N]` int, number of the picture; 0 beyond a clip's count, as all that follows.
      position, velocity: `[C,N,T,2]` float64, of the top left corner, pixels (per frame).
    """

    exists: np.ndarray
    kind: np.ndarray
    position: np.ndarray
    velocity: np.ndarray


@gin.configurable(module="data")
class MovingMnist(CountedClips):
    """Clips of one grey channel for training, validation, and tests with an exact number of digits.

    Digits start at places where they do not overlap, move independently, bounce with their top left corner at the
    frame's sides (so they leave it at the bottom and at the right, and come back) and pass through each other; where
    they overlap, the brighter pixel shows. Every split draws from its own digits. Batches carry each digit's class as
    `label` in all frames in which it exists, also outside of the frame.

    Args:
      frame_shape: (rows, columns) in pixels.
      num_frames: frames per clip.
      num_digits: smallest and largest number of digits in training and validation clips, drawn uniformly.
      appearing: digits exist from a random frame to a random later one only, not all the time; the number of digits is
        then that of the whole clip.
      speed, acceleration: largest per axis, pixels per frame (squared); where they start is uniform.
      jitter: standard deviation of noise on the acceleration.
      train_clips, validation_clips: number of clips.
      test_clips: number of clips for each number of digits in `test_digit_counts`.
      test_digit_counts: numbers of digits, one test set each.
      source: where the digits come from; None stands for `MnistPictures()`.
      seed: of the clips. Splits and numbers of digits have their own independent streams of it.
      cache_dir: folder for generated clips; None stands for the environment variable SILOT_TF_CACHE_DIR, else
        `~/.cache/silot_tf`.
      shuffle_buffer: clips.

    Raises:
      UserError: if a number is out of range, in the constructor; if digits are missing, do not fit into the frame or
        cached clips have changed, when the clips are first needed.

    Source: SQAIR, section 4.1 and appendix F; SQAIR specification 5.1 and 5.2.
    """

    noun = "digit"
    generator = "moving_mnist"
    channels = 1

    def __init__(
        self,
        frame_shape: tuple[int, int] = (50, 50),
        num_frames: int = 10,
        num_digits: tuple[int, int] = (0, 2),
        appearing: bool = False,
        speed: float = 10.0,
        acceleration: float = 3.0,
        jitter: float = 0.01,
        train_clips: int = 60_000,
        validation_clips: int = 10_000,
        test_clips: int = 3333,
        test_digit_counts: tuple[int, ...] = (0, 1, 2),
        source: DigitPictures | None = None,
        seed: int = 0,
        cache_dir: str | None = None,
        shuffle_buffer: int = 1000,
    ):
        for name, value in (("speed", speed), ("acceleration", acceleration), ("jitter", jitter)):
            fits = isinstance(value, numbers.Real) and value >= 0
            require(fits, f"data.MovingMnist.{name}", value, "pixels per frame, 0 or more")
        require(
            are_integers(frame_shape, 2) and min(frame_shape) >= SIDE,
            "data.MovingMnist.frame_shape",
            frame_shape,
            f"(rows, columns) of at least {SIDE} pixels, the size of the largest digits",
        )
        super().__init__(
            scene_size=frame_shape,
            num_frames=num_frames,
            counts=num_digits,
            train_clips=train_clips,
            validation_clips=validation_clips,
            test_clips=test_clips,
            test_counts=test_digit_counts,
            seed=seed,
            cache_dir=cache_dir,
            shuffle_buffer=shuffle_buffer,
        )
        self.num_digits = tuple(map(int, num_digits))
        self.appearing = bool(appearing)
        self.motion = accelerated_motion.Motion(float(speed), float(acceleration), float(jitter))
        self.source = MnistPictures() if source is None else source

    def all_parameters(self, split: str, counts: tuple[int, int]) -> dict:
        """See `CountedClips`."""
        return {
            "generator": self.generator,
            "generator_version": GENERATOR_VERSION,
            "split": split,
            "frame_shape": self.scene_size,
            "num_frames": self.num_frames,
            "num_digits": counts,
            "appearing": self.appearing,
            "motion": dataclasses.asdict(self.motion),
            "seed": self.seed,
            "source": self.source.description(),
        }

    def scenes(self, split: str, counts: tuple[int, int], start: int, stop: int) -> Scenes:
        """Clips start..stop-1 of a split before they are drawn."""
        sizes = self.source.pool(split).sizes
        clips, most, frames = stop - start, max(1, counts[1]), self.num_frames
        exists, kind = np.zeros((clips, most, frames), bool), np.zeros((clips, most), np.int64)
        drawn = accelerated_motion.Start(
            *(np.zeros((clips, most, 2)) for _ in range(4)), jitter=np.zeros((clips, most, frames, 2))
        )
        for i in range(clips):
            generator = self.random_stream(split, counts, start + i)
            n = generator.integers(counts[0], counts[1] + 1)
            if n:
                kind[i, :n], places = accelerated_motion.draw_kinds_and_places(generator, n, sizes, self.scene_size)
                one = accelerated_motion.draw_start(generator, places, self.scene_size, frames, self.motion)
                for field in dataclasses.fields(one):
                    getattr(drawn, field.name)[i, :n] = getattr(one, field.name)
                exists[i, :n] = self._draw_existence(generator, n)
        position, velocity = accelerated_motion.paths(drawn, self.scene_size, self.motion)
        is_digit = exists.any(-1)[..., None, None]
        return Scenes(exists, kind, np.where(is_digit, position, 0), np.where(is_digit, velocity, 0))

    def generate(self, split: str, counts: tuple[int, int], start: int, stop: int) -> dict[str, np.ndarray]:
        """See `CountedClips`; `label [C,T,N]` is -1 in frames in which a digit does not exist."""
        pool, pieces = self.source.pool(split), []
        for first in range(start, stop, _CLIPS_AT_ONCE):
            scenes = self.scenes(split, counts, first, min(first + _CLIPS_AT_ONCE, stop))
            corners = np.rint(scenes.position).astype(np.int64)
            boxes, visible = _boxes(corners, pool.sizes[scenes.kind], self.scene_size)
            valid = np.moveaxis(visible & scenes.exists, 1, 2)
            label = np.where(scenes.exists, pool.labels[scenes.kind][..., None], -1)
            pieces.append(
                {
                    "video": _draw(pool.pictures[scenes.kind], corners, scenes.exists, self.scene_size),
                    "boxes": np.where(valid[..., None], np.moveaxis(boxes, 1, 2), 0).astype(np.float32),
                    "valid": valid,
                    "label": np.moveaxis(label, 1, 2).astype(np.int32),
                }
            )
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    def _draw_existence(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """`[n,T]` bool."""
        times = np.arange(self.num_frames)
        if not self.appearing:
            return np.ones((count, self.num_frames), bool)
        start = generator.integers(self.num_frames, size=(count, 1))
        end = generator.integers(start, self.num_frames)
        return (times >= start) & (times <= end)


def _boxes(corners, sizes, frame_size) -> tuple[np.ndarray, np.ndarray]:
    """The visible parts as boxes `[C,N,T,4]` of the contract, and whether there is any, `[C,N,T]`.

    Args:
      corners: `[C,N,T,2]` int, top left pixels.
      sizes: `[C,N,2]` int.
      frame_size: (rows, columns).
    """
    low = np.maximum(corners, 0)
    high = np.minimum(corners + sizes[:, :, None], frame_size)
    centre, size = (low + high) / 2 / np.asarray(frame_size), (high - low) / np.asarray(frame_size)
    return np.concatenate([centre, size], axis=-1), np.all(high > low, axis=-1)


def _draw(pictures, corners, exists, frame_size) -> np.ndarray:
    """Pictures of all clips, `[C,T,H,W,1]` uint8: the maximum of all digits that exist.

    Args:
      pictures: `[C,N,S,S]` uint8.
      corners: `[C,N,T,2]` int, from 0 to the frame size.
      exists: `[C,N,T]` bool.
      frame_size: (rows, columns).
    """
    clips, most, frames = exists.shape
    side = pictures.shape[-1]
    # The canvas has a margin for what sticks out of the frame.
    rows, columns = frame_size[0] + side, frame_size[1] + side
    canvas = np.zeros((clips * frames, rows * columns), np.uint8)
    inside = (np.arange(side)[:, None] * columns + np.arange(side)).reshape(-1)
    for k in range(most):
        clip, frame = np.nonzero(exists[:, k])
        corner = corners[clip, k, frame]
        pixels = (corner[:, 0] * columns + corner[:, 1])[:, None] + inside
        images = (clip * frames + frame)[:, None]
        canvas[images, pixels] = np.maximum(canvas[images, pixels], pictures[clip, k].reshape(-1, side * side))
    canvas = canvas.reshape(clips, frames, rows, columns, 1)
    return canvas[:, :, : frame_size[0], : frame_size[1]]
