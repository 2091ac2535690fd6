"""Scattered MNIST: white handwritten digits that move over a black frame and bounce off its walls."""

import numbers

import gin
import numpy as np

from silot_tf.data import moving_patches, pipeline, records
from silot_tf.data.digits import PATCH_SIZE, DigitSource, MnistDigits
from silot_tf.errors import UserError
from silot_tf.ops import boxes as box_ops

GENERATOR_VERSION = 1
MAX_OVERLAP = PATCH_SIZE * PATCH_SIZE / 2  # square pixels, SILOT specification 5.1
_SPLIT_NUMBERS = {"train": 0, "val": 1, "test": 2}


@gin.configurable(module="data")
class ScatteredMnist:
    """Clips of moving digits for training, validation, and tests with an exact number of digits.

    Every split draws from its own pool of digits. Clips are generated once, cached on disk (see `records`)
    and streamed from there; the sets for one exact number of digits are made when they are first asked for.

    Args:
      frame_shape: (rows, columns) in pixels.
      num_frames: frames per clip.
      num_digits: smallest and largest number of digits in training and validation clips, drawn uniformly.
      speed: pixels per frame.
      train_clips, validation_clips: number of clips.
      test_clips: number of clips for each number of digits in `test_digit_counts`.
      test_digit_counts: numbers of digits, one test set each.
      source: where the digits come from; None stands for `MnistDigits()`.
      seed: of the clips. Splits and numbers of digits have their own independent streams of it.
      cache_dir: folder for generated clips; None stands for the environment variable SILOT_TF_CACHE_DIR, else
        `~/.cache/silot_tf`.
      shuffle_buffer: clips.

    Raises:
      UserError: if a number is out of range, in the constructor; if digits are missing or cached clips have
        changed, when the clips are first needed.

    Source: SILOT, section 4.1; specification 5.1 and 5.2.
    """

    condition_label = "digits per frame"

    def __init__(
        self,
        frame_shape: tuple[int, int] = (48, 48),
        num_frames: int = 8,
        num_digits: tuple[int, int] = (1, 6),
        speed: float = 2.0,
        train_clips: int = 60_000,
        validation_clips: int = 128,
        test_clips: int = 1000,
        test_digit_counts: tuple[int, ...] = tuple(range(1, 13)),
        source: DigitSource | None = None,
        seed: int = 0,
        cache_dir: str | None = None,
        shuffle_buffer: int = 1000,
    ):
        for name, value, least in (
            ("num_frames", num_frames, 1),
            ("train_clips", train_clips, 1),
            ("validation_clips", validation_clips, 1),
            ("test_clips", test_clips, 1),
            ("shuffle_buffer", shuffle_buffer, 1),
            ("seed", seed, 0),
        ):
            _require(_are_integers([value]) and value >= least, name, value, f"an integer of at least {least}")
        _require(isinstance(speed, numbers.Real) and speed >= 0, "speed", speed, "pixels per frame, 0 or more")
        _require(
            _are_integers(frame_shape, 2) and min(frame_shape) >= PATCH_SIZE,
            "frame_shape",
            frame_shape,
            f"(rows, columns) of at least {PATCH_SIZE} pixels, the size of a digit",
        )
        _require(
            _are_integers(num_digits, 2) and 0 <= num_digits[0] <= num_digits[1] and num_digits[1] >= 1,
            "num_digits",
            num_digits,
            "(smallest, largest) with 0 <= smallest <= largest and largest at least 1",
        )
        _require(
            _are_integers(test_digit_counts)
            and min(test_digit_counts) >= 0
            and len(set(test_digit_counts)) == len(test_digit_counts),
            "test_digit_counts",
            test_digit_counts,
            "one or more different numbers of digits, each 0 or more, as a tuple",
        )
        self.frame_shape = (*map(int, frame_shape), 3)
        self.num_frames = num_frames
        self.num_digits = tuple(map(int, num_digits))
        self.speed = speed
        self.train_clips, self.validation_clips, self.test_clips = train_clips, validation_clips, test_clips
        self.test_conditions = {f"{n} digit{'' if n == 1 else 's'}": n for n in test_digit_counts}
        self.source = MnistDigits() if source is None else source
        self.seed = seed
        self.cache_dir = cache_dir
        self.shuffle_buffer = shuffle_buffer
        self._caches = {}

    @property
    def max_objects(self) -> int:
        """N of all batches."""
        return max(1, self.num_digits[1], *self.test_conditions.values())

    def prepare(self) -> None:
        """Generate, or find and verify, the clips of every split.

        Raises:
          UserError: if digits are missing, cached clips have changed, or the disk is full or read-only.
        """
        self._cache("train", self.num_digits, self.train_clips)
        self._cache("val", self.num_digits, self.validation_clips)
        for count in self.test_conditions.values():
            self._cache("test", (count, count), self.test_clips)

    def training_batches(self, batch_size: int, *, seed: int, start_batch: int = 0):
        """Endless `tf.data.Dataset` of batches from number `start_batch` on; see `pipeline`."""
        return pipeline.training_stream(
            self._cache("train", self.num_digits, self.train_clips),
            batch_size,
            seed=seed,
            start_batch=start_batch,
            shuffle_buffer=self.shuffle_buffer,
            max_objects=self.max_objects,
        )

    def validation_batches(self, batch_size: int):
        """Finite `tf.data.Dataset` of all validation clips; the last batch may be smaller."""
        return self._finite("val", self.num_digits, self.validation_clips, batch_size)

    def test_batches(self, condition_name: str, batch_size: int):
        """Finite `tf.data.Dataset` of the test clips of one entry of `test_conditions`."""
        count = self._count_of(condition_name)
        return self._finite("test", (count, count), self.test_clips, batch_size)

    def validation_condition_batches(self, condition_name: str, batch_size: int):
        """Finite `tf.data.Dataset` of clips with validation digits, as many as this condition says in each.

        There are `validation_clips` of them. They serve to tune baselines per condition.
        """
        count = self._count_of(condition_name)
        return self._finite("val", (count, count), self.validation_clips, batch_size)

    def _finite(self, split, num_digits, num_clips, batch_size):
        return pipeline.evaluation_stream(
            self._cache(split, num_digits, num_clips), batch_size, max_objects=self.max_objects
        )

    def _count_of(self, condition_name: str) -> int:
        if condition_name not in self.test_conditions:
            raise UserError(f"no test condition '{condition_name}'; there are {', '.join(self.test_conditions)}")
        return self.test_conditions[condition_name]

    def _cache(self, split: str, num_digits: tuple[int, int], num_clips: int) -> records.ClipCache:
        key = (split, num_digits, num_clips)
        if key not in self._caches:
            parameters = {
                "generator": "scattered_mnist",
                "generator_version": GENERATOR_VERSION,
                "split": split,
                "frame_shape": self.frame_shape[:2],
                "num_frames": self.num_frames,
                "num_digits": num_digits,
                "speed": float(self.speed),
                "max_overlap": MAX_OVERLAP,
                "seed": self.seed,
                "source": self.source.description(),
            }
            self._caches[key] = records.load_or_generate(
                records.cache_root(self.cache_dir),
                f"scattered_mnist-{split}-{'-'.join(map(str, sorted(set(num_digits))))}",
                parameters,
                num_clips,
                lambda start, stop: self.generate(split, num_digits, start, stop),
            )
        return self._caches[key]

    def generate(self, split: str, num_digits: tuple[int, int], start: int, stop: int) -> dict[str, np.ndarray]:
        """Clips start..stop-1 of a split, straight from the generator.

        Each clip has a random stream of its own, so it is the same whatever range it is part of.

        Returns:
          arrays with leading dimension C = stop - start, N = num_digits[1] (at least 1): `video [C,T,H,W,1]`
          uint8, `boxes [C,T,N,4]` float32 (as in `silot_tf.contracts`), `valid [C,T,N]` bool, `label [C,N]`
          int32.
        """
        pool = self.source.pool(split)
        extents = moving_patches.content_extent(pool.masks)
        clips, most = stop - start, max(1, num_digits[1])
        frame_size = self.frame_shape[:2]
        count = np.zeros(clips, np.int64)
        rows = np.zeros((clips, most), np.int64)
        position, velocity = np.zeros((clips, most, 2)), np.zeros((clips, most, 2))
        for i in range(clips):
            stream = (_SPLIT_NUMBERS[split], *num_digits, start + i)
            generator = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=stream))
            n = count[i] = generator.integers(num_digits[0], num_digits[1] + 1)
            rows[i, :n] = generator.integers(len(pool.masks), size=n)
            position[i, :n], _ = moving_patches.place_rectangles(generator, n, frame_size, _draw_sizes, MAX_OVERLAP)
            velocity[i, :n] = moving_patches.draw_velocities(generator, n, self.speed)
        scenes = moving_patches.Scenes(
            count=count,
            position=position,
            velocity=velocity,
            size=np.full((clips, most, 2), PATCH_SIZE),
            alpha=pool.masks[rows],
            colour=np.full((clips, most, 1), 255, np.uint8),
            extent=extents[rows],
            label=pool.labels[rows],
        )
        arrays = moving_patches.render_scenes(scenes, frame_size, self.num_frames)
        boxes = box_ops.from_edges(arrays.pop("edges"), frame_size)
        arrays["boxes"] = np.where(arrays["valid"][..., None], boxes, 0).astype(np.float32)
        return arrays


def _draw_sizes(generator: np.random.Generator, count: int) -> np.ndarray:
    """Digits are never scaled."""
    return np.full((count, 2), PATCH_SIZE)


def _are_integers(values, length: int | None = None) -> bool:
    """Whether this is a tuple or list of integers, of that length (None: one or more)."""
    return (
        isinstance(values, tuple | list)
        and all(isinstance(value, numbers.Integral) for value in values)
        and (len(values) == length if length is not None else len(values) > 0)
    )


def _require(condition: bool, name: str, value, expected: str) -> None:
    if not condition:
        raise UserError(f"data.ScatteredMnist.{name} = {value}: expected {expected}")
