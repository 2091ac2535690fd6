"""Data sets of generated clips: splits with streams of random numbers of their own, one test set per number of objects.

Clips are cached on disk and streamed from there.
"""

import abc

import numpy as np

from silot_tf.data import pipeline, records
from silot_tf.data.checks import are_integers, require
from silot_tf.data.crops import Crops
from silot_tf.errors import UserError

_SPLIT_NUMBERS = {"train": 0, "val": 1, "test": 2}


class CountedClips(abc.ABC):
    """What all generated data sets with numbers of objects share; the arguments are those of their constructors.

    Training and validation clips have numbers of objects from a range; there is one test set for each exact number
    of `test_counts`. Clips are generated once, cached on disk (see `records`) and streamed from there; sets for one
    exact number of objects are made when they are first asked for.

    Subclasses set `noun` (what one object is called; arguments and conditions are named after it) and `generator`
    (name of the caches), and define `generate` and `all_parameters`.

    Args:
      scene_size: (rows, columns) of whole frames, pixels.
      counts: smallest and largest number of objects.
      crops: None, or how training and validation clips are cut.

    The other arguments are explained by the subclasses.
    """

    noun: str
    generator: str
    channels = 3

    def __init__(
        self,
        *,
        scene_size: tuple[int, int],
        num_frames,
        counts,
        train_clips,
        validation_clips,
        test_clips,
        test_counts,
        seed,
        cache_dir,
        shuffle_buffer,
        crops: Crops | None = None,
    ):
        prefix = f"data.{type(self).__name__}."
        for name, value, least in (
            ("num_frames", num_frames, 1),
            ("train_clips", train_clips, 1),
            ("validation_clips", validation_clips, 1),
            ("test_clips", test_clips, 1),
            ("shuffle_buffer", shuffle_buffer, 1),
            ("seed", seed, 0),
        ):
            require(are_integers([value]) and value >= least, prefix + name, value, f"an integer of at least {least}")
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
        self.scene_size = tuple(map(int, scene_size))
        self.num_frames = num_frames
        self.train_clips, self.validation_clips, self.test_clips = train_clips, validation_clips, test_clips
        self.test_conditions = {f"{n} {self.noun}{'' if n == 1 else 's'}": n for n in test_counts}
        self.seed = seed
        self.cache_dir = cache_dir
        self.shuffle_buffer = shuffle_buffer
        self.crops = crops
        self._counts = tuple(map(int, counts))
        self._caches = {}

    @abc.abstractmethod
    def generate(self, split: str, counts: tuple[int, int], start: int, stop: int) -> dict[str, np.ndarray]:
        """Clips start..stop-1 of a split, straight from the generator.

        Each clip has a random stream of its own, so it is the same whatever range it is part of.

        Returns:
          arrays with leading dimension C = stop - start, N = counts[1] (at least 1): `video [C,T,H,W,channels]`
          uint8, `boxes [C,T,N,4]` float32 (as in `silot_tf.contracts`), `valid [C,T,N]` bool, `label` int32, `[C,N]`
          or, where objects come and go, `[C,T,N]`.
        """

    @abc.abstractmethod
    def all_parameters(self, split: str, counts: tuple[int, int]) -> dict:
        """Everything that the clips of a split depend on, for the manifests of caches; has `generator_version`."""

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of training and validation frames: those of crops where there are any."""
        return (*(self.scene_size if self.crops is None else self.crops.shape), self.channels)

    @property
    def test_frame_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of test frames, which are never cropped."""
        return (*self.scene_size, self.channels)

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
            channels=self.channels,
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

    def random_stream(self, split: str, counts: tuple[int, int], clip: int) -> np.random.Generator:
        """The random numbers of one clip."""
        stream = (_SPLIT_NUMBERS[split], *counts, clip)
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=stream))

    def _finite(self, split, counts, num_clips, batch_size, crops=None):
        cache = self._cache(split, counts, num_clips)
        return pipeline.evaluation_stream(
            cache, batch_size, max_objects=self.max_objects, crops=crops, channels=self.channels
        )

    def _count_of(self, condition_name: str) -> int:
        if condition_name not in self.test_conditions:
            raise UserError(f"no test condition '{condition_name}'; there are {', '.join(self.test_conditions)}")
        return self.test_conditions[condition_name]

    def _cache(self, split: str, counts: tuple[int, int], num_clips: int) -> records.ClipCache:
        key = (split, counts, num_clips)
        if key not in self._caches:
            self._caches[key] = records.load_or_generate(
                records.cache_root(self.cache_dir),
                f"{self.generator}-{split}-{'-'.join(map(str, sorted(set(counts))))}",
                self.all_parameters(split, counts),
                num_clips,
                lambda start, stop: self.generate(split, counts, start, stop),
            )
        return self._caches[key]
