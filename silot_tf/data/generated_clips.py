"""Data sets of moving patches: splits with streams of random numbers of their own, cached on disk and streamed."""

import abc
import dataclasses
import numbers
from collections.abc import Callable

import numpy as np

from silot_tf.data import moving_patches, pipeline, records
from silot_tf.data.checks import are_integers, require
from silot_tf.data.crops import Crops
from silot_tf.errors import UserError
from silot_tf.ops import boxes as box_ops

_SPLIT_NUMBERS = {"train": 0, "val": 1, "test": 2}
_CLIPS_AT_ONCE = 100  # rendered together; more only takes more memory


@dataclasses.dataclass(frozen=True)
class Layouts:
    """What was drawn for C clips of up to N patches: how many, which, where, how large and how fast.

    Attributes:
      count: `[C]` int.
      kind: `[C,N]` int, 0 beyond the clip's count, as all that follows.
      position: `[C,N,2]` float64, (top, left) at frame 0, pixels.
      size: `[C,N,2]` int, (rows, columns).
      velocity: `[C,N,2]` float64, pixels per frame.
    """

    count: np.ndarray
    kind: np.ndarray
    position: np.ndarray
    size: np.ndarray
    velocity: np.ndarray


class GeneratedClips(abc.ABC):
    """What all data sets of moving patches share; the arguments are those of their constructors.

    Training and validation clips have numbers of objects from a range; there is one test set for each exact number
    of `test_counts`. Clips are generated once, cached on disk (see `records`) and streamed from there; sets for one
    exact number of objects are made when they are first asked for.

    Subclasses set `noun` (what one object is called; arguments and conditions are named after it) and `generator`
    (name of the caches), and define `scenes` and `parameters`.

    Args:
      counts: smallest and largest number of objects.
      smallest_frame: the least number of rows and columns of `frame_shape` in pixels, and why.
      max_overlap: square pixels, see `moving_patches.place_rectangles`.
      crop_shape: None, or (rows, columns) of random crops that stand for training and validation clips.
      crops_per_clip: number of crops made of each of those clips.

    The other arguments are explained by the subclasses.
    """

    noun: str
    generator: str

    def __init__(
        self,
        *,
        frame_shape,
        num_frames,
        counts,
        speed,
        train_clips,
        validation_clips,
        test_clips,
        test_counts,
        seed,
        cache_dir,
        shuffle_buffer,
        smallest_frame: tuple[int, str],
        max_overlap: float,
        crop_shape=None,
        crops_per_clip=1,
    ):
        prefix = f"data.{type(self).__name__}."
        for name, value, least in (
            ("num_frames", num_frames, 1),
            ("train_clips", train_clips, 1),
            ("validation_clips", validation_clips, 1),
            ("test_clips", test_clips, 1),
            ("shuffle_buffer", shuffle_buffer, 1),
            ("crops_per_clip", crops_per_clip, 1),
            ("seed", seed, 0),
        ):
            require(are_integers([value]) and value >= least, prefix + name, value, f"an integer of at least {least}")
        require(isinstance(speed, numbers.Real) and speed >= 0, f"{prefix}speed", speed, "pixels per frame, 0 or more")
        least, reason = smallest_frame
        require(
            are_integers(frame_shape, 2) and min(frame_shape) >= least,
            f"{prefix}frame_shape",
            frame_shape,
            f"(rows, columns) of at least {least} pixels, {reason}",
        )
        require(
            crop_shape is None
            or (are_integers(crop_shape, 2) and all(0 < c <= s for c, s in zip(crop_shape, frame_shape, strict=True))),
            f"{prefix}crop_shape",
            crop_shape,
            f"None, or (rows, columns) of at least 1 pixel and at most those of frame_shape, {tuple(frame_shape)}",
        )
        require(
            are_integers(counts, 2) and 0 <= counts[0] <= counts[1] and counts[1] >= 1,
            f"{prefix}num_{self.noun}s",
            counts,
            "(smallest, largest) with 0 <= smallest <= largest and largest at least 1",
        )
        require(
            are_integers(test_counts) and min(test_counts) >= 0 and len(set(test_counts)) == len(test_counts),
            f"{prefix}test_{self.noun}_counts",
            test_counts,
            f"one or more different numbers of {self.noun}s, each 0 or more, as a tuple",
        )
        self.scene_size = tuple(map(int, frame_shape))
        self.num_frames = num_frames
        self.speed = speed
        self.train_clips, self.validation_clips, self.test_clips = train_clips, validation_clips, test_clips
        self.test_conditions = {f"{n} {self.noun}{'' if n == 1 else 's'}": n for n in test_counts}
        self.seed = seed
        self.cache_dir = cache_dir
        self.shuffle_buffer = shuffle_buffer
        self.crops = None if crop_shape is None else Crops(tuple(map(int, crop_shape)), crops_per_clip, seed)
        self._counts = tuple(map(int, counts))
        self._max_overlap = max_overlap
        self._caches = {}

    @abc.abstractmethod
    def scenes(self, split: str, counts: tuple[int, int], start: int, stop: int) -> moving_patches.Scenes:
        """Clips start..stop-1 of a split before they are drawn; see `draw_layouts`."""

    @abc.abstractmethod
    def parameters(self) -> dict:
        """What clips depend on besides the arguments above, for the manifests of caches; has `generator_version`."""

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of training and validation frames: those of crops where there are any."""
        return (*(self.scene_size if self.crops is None else self.crops.shape), 3)

    @property
    def condition_label(self) -> str:
        """What the numbers of `test_conditions` count."""
        return f"{self.noun}s per frame"

    @property
    def max_objects(self) -> int:
        """N of all batches."""
        return max(1, self._counts[1], *self.test_conditions.values())

    def prepare(self) -> None:
        """Generate, or find and verify, the clips of every split.

        Raises:
          UserError: if the objects' pictures are missing, cached clips have changed, or the disk is full or
            read-only.
        """
        self._cache("train", self._counts, self.train_clips)
        self._cache("val", self._counts, self.validation_clips)
        for count in self.test_conditions.values():
            self._cache("test", (count, count), self.test_clips)

    def training_batches(self, batch_size: int, *, seed: int, start_batch: int = 0):
        """Endless `tf.data.Dataset` of batches from number `start_batch` on; see `pipeline`."""
        return pipeline.training_stream(
            self._cache("train", self._counts, self.train_clips),
            batch_size,
            seed=seed,
            start_batch=start_batch,
            shuffle_buffer=self.shuffle_buffer,
            max_objects=self.max_objects,
            crops=self.crops,
        )

    def validation_batches(self, batch_size: int):
        """Finite `tf.data.Dataset` of all validation clips, or their crops; the last batch may be smaller."""
        return self._finite("val", self._counts, self.validation_clips, batch_size, self.crops)

    def test_batches(self, condition_name: str, batch_size: int):
        """Finite `tf.data.Dataset` of the test clips, whole frames, of one entry of `test_conditions`."""
        count = self._count_of(condition_name)
        return self._finite("test", (count, count), self.test_clips, batch_size)

    def validation_condition_batches(self, condition_name: str, batch_size: int):
        """Finite `tf.data.Dataset` of validation clips with as many objects in each as this condition says.

        There are `validation_clips` of them, whole frames. They serve to tune baselines per condition.
        """
        count = self._count_of(condition_name)
        return self._finite("val", (count, count), self.validation_clips, batch_size)

    def generate(self, split: str, counts: tuple[int, int], start: int, stop: int) -> dict[str, np.ndarray]:
        """Clips start..stop-1 of a split, straight from the generator.

        Each clip has a random stream of its own, so it is the same whatever range it is part of.

        Returns:
          arrays with leading dimension C = stop - start, N = counts[1] (at least 1): `video [C,T,H,W,channels]`
          uint8, `boxes [C,T,N,4]` float32 (as in `silot_tf.contracts`), `valid [C,T,N]` bool, `label [C,N]`
          int32.
        """
        pieces = []
        for first in range(start, stop, _CLIPS_AT_ONCE):
            scenes = self.scenes(split, counts, first, min(first + _CLIPS_AT_ONCE, stop))
            arrays = moving_patches.render_scenes(scenes, self.scene_size, self.num_frames)
            boxes = box_ops.from_edges(arrays.pop("edges"), self.scene_size)
            arrays["boxes"] = np.where(arrays["valid"][..., None], boxes, 0).astype(np.float32)
            pieces.append(arrays)
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    def draw_layouts(
        self,
        split: str,
        counts: tuple[int, int],
        start: int,
        stop: int,
        num_kinds: int,
        draw_sizes: Callable[[np.random.Generator, int], np.ndarray],
    ) -> Layouts:
        """Random draws of clips start..stop-1 of a split.

        Args:
          split: "train", "val" or "test".
          counts: smallest and largest number of patches.
          start, stop: clips.
          num_kinds: kinds are drawn from 0..num_kinds-1, uniformly and with replacement.
          draw_sizes: see `moving_patches.place_rectangles`.

        Source: SILOT specification 5.1.
        """
        clips, most = stop - start, max(1, counts[1])
        count = np.zeros(clips, np.int64)
        kind, size = np.zeros((clips, most), np.int64), np.zeros((clips, most, 2), np.int64)
        position, velocity = np.zeros((clips, most, 2)), np.zeros((clips, most, 2))
        for i in range(clips):
            stream = (_SPLIT_NUMBERS[split], *counts, start + i)
            generator = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=stream))
            n = count[i] = generator.integers(counts[0], counts[1] + 1)
            kind[i, :n] = generator.integers(num_kinds, size=n)
            position[i, :n], size[i, :n] = moving_patches.place_rectangles(
                generator, n, self.scene_size, draw_sizes, self._max_overlap
            )
            velocity[i, :n] = moving_patches.draw_velocities(generator, n, self.speed)
        return Layouts(count, kind, position, size, velocity)

    def _finite(self, split, counts, num_clips, batch_size, crops=None):
        cache = self._cache(split, counts, num_clips)
        return pipeline.evaluation_stream(cache, batch_size, max_objects=self.max_objects, crops=crops)

    def _count_of(self, condition_name: str) -> int:
        if condition_name not in self.test_conditions:
            raise UserError(f"no test condition '{condition_name}'; there are {', '.join(self.test_conditions)}")
        return self.test_conditions[condition_name]

    def _cache(self, split: str, counts: tuple[int, int], num_clips: int) -> records.ClipCache:
        key = (split, counts, num_clips)
        if key not in self._caches:
            parameters = {
                "generator": self.generator,
                "split": split,
                "frame_shape": self.scene_size,
                "num_frames": self.num_frames,
                f"num_{self.noun}s": counts,
                "speed": float(self.speed),
                "max_overlap": self._max_overlap,
                "seed": self.seed,
            }
            self._caches[key] = records.load_or_generate(
                records.cache_root(self.cache_dir),
                f"{self.generator}-{split}-{'-'.join(map(str, sorted(set(counts))))}",
                parameters | self.parameters(),
                num_clips,
                lambda start, stop: self.generate(split, counts, start, stop),
            )
        return self._caches[key]
