"""Clips of recorded Atari games: random crops for training, whole labelled frames for tests.

Source: SILOT (Crawford and Pineau 2020), section 4.3; SILOT specification 5.4.
"""

import numbers

import gin
import numpy as np

from silot_tf.data import clip_windows, pipeline, records
from silot_tf.data.checks import are_integers, require
from silot_tf.data.colour_components import PARAMETERS, label_frames
from silot_tf.data.crops import Crops
from silot_tf.data.rollouts import Rollouts
from silot_tf.errors import UserError
from silot_tf.ops import boxes as box_ops

GENERATOR_VERSION = 1
CLIPS_PER_SHARD = 200  # 150 MB of frames of 195x160 pixels, before they are compressed


@gin.configurable(module="data")
class AtariClips:
    """Clips of successive frames of recorded episodes, from parts of the episodes that do not overlap.

    Whole episodes belong to training, validation or test. Clips start at random frames of their episode, all different.
    Training clips carry no annotations; validation and test clips are labelled by colour (see `colour_components`), as
    the frames are kept. Clips are cached on disk (see `records`).

    Args:
      rollouts: has `open() -> Rollouts`: `RolloutFolder`, or `atari_data.Collection`, which records what is missing.
      recorded_size: (rows, columns) of the recorded frames, pixels.
      rows: (start, stop) of the rows that are kept, stop not included; None for all.
      columns: the same for columns.
      num_frames: frames per clip.
      crop_shape: (rows, columns) of random crops that stand for training and validation clips; None for whole frames.
      crops_per_clip: number of crops made of each of those clips.
      train_density: share of all possible starts that is used, in training episodes.
      held_out_density: the same in validation and test episodes.
      train_clips, validation_clips, test_clips: at most so many clips, a random choice where there are more.
      split: "shuffled" or "last": which episodes are held out, see `clip_windows.split_episodes`.
      split_seed: of shuffling them.
      held_out: episodes for validation, and as many for tests: an int, or a float for a share of all, rounded up.
      max_objects: N of annotated batches; a frame with more labelled objects is an error.
      ignored_colours: RGB triples in 0..255 that are background in the labels, besides black.
      condition: name of the only test condition, and its number, by which reports tell several games apart.
      seed: of starts and crops.
      cache_dir: folder for clips; None stands for the environment variable SILOT_TF_CACHE_DIR, else
        `~/.cache/silot_tf`.
      shuffle_buffer: clips, or crops of clips.

    Raises:
      UserError: if a number is out of range, in the constructor; when the clips are first needed, if episodes are
        missing, damaged, too few, too short or of another size, or if cached clips have changed.
    """

    condition_label = "game"

    def __init__(
        self,
        rollouts,
        recorded_size: tuple[int, int] = (210, 160),
        rows: tuple[int, int] | None = None,
        columns: tuple[int, int] | None = None,
        num_frames: int = 8,
        crop_shape: tuple[int, int] | None = (72, 72),
        crops_per_clip: int = 8,
        train_density: float = 0.5,
        held_out_density: float = 0.05,
        train_clips: int = 60_000,
        validation_clips: int = 128,
        test_clips: int = 128,
        split: str = "shuffled",
        split_seed: int = 4,
        held_out: int | float = 0.05,
        max_objects: int = 128,
        ignored_colours: tuple = (),
        condition: tuple[str, float] = ("whole frames", 1),
        seed: int = 0,
        cache_dir: str | None = None,
        shuffle_buffer: int = 1000,
    ):
        def check(condition, name, value, expected):
            require(condition, f"data.AtariClips.{name}", value, expected)

        for name, value, least in (
            ("num_frames", num_frames, 1),
            ("crops_per_clip", crops_per_clip, 1),
            ("train_clips", train_clips, 1),
            ("validation_clips", validation_clips, 1),
            ("test_clips", test_clips, 1),
            ("max_objects", max_objects, 1),
            ("split_seed", split_seed, 0),
            ("seed", seed, 0),
            ("shuffle_buffer", shuffle_buffer, 1),
        ):
            check(are_integers([value]) and value >= least, name, value, f"an integer of at least {least}")
        for name, value in (("train_density", train_density), ("held_out_density", held_out_density)):
            check(isinstance(value, numbers.Real) and 0 < value <= 1, name, value, "a share above 0 and up to 1")
        check(
            are_integers(recorded_size, 2) and min(recorded_size) >= 1,
            "recorded_size",
            recorded_size,
            "(rows, columns) of at least 1 pixel",
        )
        for name, span, size in (("rows", rows, recorded_size[0]), ("columns", columns, recorded_size[1])):
            check(
                span is None or (are_integers(span, 2) and 0 <= span[0] < span[1] <= size),
                name,
                span,
                f"None, or (start, stop) with 0 <= start < stop <= {size}, the recorded {name}",
            )
        self._rows, self._columns = (
            (0, size) if span is None else tuple(span)
            for span, size in zip((rows, columns), recorded_size, strict=True)
        )
        self.kept_size = (self._rows[1] - self._rows[0], self._columns[1] - self._columns[0])
        check(
            crop_shape is None
            or (
                are_integers(crop_shape, 2) and min(crop_shape) > 0 and np.less_equal(crop_shape, self.kept_size).all()
            ),
            "crop_shape",
            crop_shape,
            f"None, or (rows, columns) of at least 1 pixel and at most those that are kept, {self.kept_size}",
        )
        check(split in clip_windows.ORDERS, "split", split, f"one of {', '.join(clip_windows.ORDERS)}")
        whole = isinstance(held_out, numbers.Integral)
        check(
            held_out >= 1 if whole else isinstance(held_out, numbers.Real) and 0 < held_out < 0.5,
            "held_out",
            held_out,
            "a number of episodes (1 or more), or a share of them above 0 and below 0.5",
        )
        check(
            isinstance(ignored_colours, tuple | list)
            and all(are_integers(colour, 3) and 0 <= min(colour) <= max(colour) <= 255 for colour in ignored_colours),
            "ignored_colours",
            ignored_colours,
            "a tuple of (red, green, blue) in 0..255",
        )
        check(
            isinstance(condition, tuple | list)
            and len(condition) == 2
            and isinstance(condition[0], str)
            and isinstance(condition[1], numbers.Real),
            "condition",
            condition,
            "(name, number)",
        )
        self._source = rollouts
        self._recorded_size = tuple(map(int, recorded_size))
        self.num_frames = num_frames
        self.crops = None if crop_shape is None else Crops(tuple(map(int, crop_shape)), crops_per_clip, seed)
        self._densities = {"train": train_density, "val": held_out_density, "test": held_out_density}
        self._most_clips = {"train": train_clips, "val": validation_clips, "test": test_clips}
        self._split, self._split_seed, self._held_out = split, split_seed, held_out
        self.max_objects = max_objects
        self._ignored_colours = tuple(tuple(map(int, colour)) for colour in ignored_colours)
        self.test_conditions = {condition[0]: condition[1]}
        self._seed = seed
        self._cache_dir = cache_dir
        self._shuffle_buffer = shuffle_buffer
        self._rollouts = None
        self._caches = {}

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of training and validation frames: those of crops where there are any."""
        return (*(self.kept_size if self.crops is None else self.crops.shape), 3)

    @property
    def test_frame_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of test frames, which are never cropped."""
        return (*self.kept_size, 3)

    def prepare(self) -> None:
        """Record what is missing, then cut out, or find and verify, the clips of every split.

        Raises:
          UserError: see the class; also if the disk is full or read-only.
        """
        for split in clip_windows.SPLITS:
            self._cache(split)

    def training_batches(self, batch_size: int, *, seed: int, start_batch: int = 0):
        """Endless `tf.data.Dataset` of batches from number `start_batch` on, with N = 0; see `pipeline`."""
        return pipeline.training_stream(
            self._cache("train"),
            batch_size,
            seed=seed,
            start_batch=start_batch,
            shuffle_buffer=self._shuffle_buffer,
            max_objects=0,
            crops=self.crops,
        )

    def validation_batches(self, batch_size: int):
        """Finite `tf.data.Dataset` of all validation clips, or their crops; the last batch may be smaller."""
        return self._finite("val", batch_size, self.crops)

    def test_batches(self, condition_name: str, batch_size: int):
        """Finite `tf.data.Dataset` of the test clips, whole frames; the name is the one of `test_conditions`."""
        self._check_condition(condition_name)
        return self._finite("test", batch_size)

    def validation_condition_batches(self, condition_name: str, batch_size: int):
        """Finite `tf.data.Dataset` of the validation clips, whole frames; they serve to tune baselines."""
        self._check_condition(condition_name)
        return self._finite("val", batch_size)

    def _finite(self, split: str, batch_size: int, crops: Crops | None = None):
        return pipeline.evaluation_stream(self._cache(split), batch_size, max_objects=self.max_objects, crops=crops)

    def _check_condition(self, name: str) -> None:
        if name not in self.test_conditions:
            raise UserError(f"no test condition '{name}'; there is only {', '.join(self.test_conditions)}")

    # ---------------------------------------------------------------------------------------------------- the clips

    def episodes(self, split: str) -> list[int]:
        """Numbers of the episodes of a split ("train", "val", "test"), in increasing order."""
        count = self._opened().num_episodes
        return clip_windows.split_episodes(count, self._held_out, self._split, self._split_seed)[split]

    def windows(self, split: str) -> np.ndarray:
        """(episode, first frame) of every clip of a split, `[C,2]` int; see `clip_windows`."""
        lengths = {episode: self._opened().lengths[episode] for episode in self.episodes(split)}
        seed = (self._seed, clip_windows.SPLITS.index(split))
        density, most = self._densities[split], self._most_clips[split]
        return clip_windows.draw_windows(lengths, self.num_frames, density, most, seed)

    def generate(self, split: str, start: int, stop: int) -> dict[str, np.ndarray]:
        """Clips start..stop-1 of a split, straight from the episodes.

        Returns:
          arrays with leading dimension C = stop - start: `video [C,T,H,W,3]` uint8, `boxes [C,T,N,4]` float32 (as in
          `silot_tf.contracts`), `valid [C,T,N]` bool, `track_id [C,T,N]` int32; N is 0 for training.
        """
        return self._cut(split, self.windows(split)[start:stop])

    def _cut(self, split: str, windows: np.ndarray) -> dict[str, np.ndarray]:
        rollouts, most = self._opened(), 0 if split == "train" else self.max_objects
        shape = (len(windows), self.num_frames)
        arrays = {
            "video": np.zeros((*shape, *self.kept_size, 3), np.uint8),
            "boxes": np.zeros((*shape, most, 4), np.float32),
            "valid": np.zeros((*shape, most), bool),
            "track_id": np.full((*shape, most), -1, np.int32),
        }
        rows, columns = slice(*self._rows), slice(*self._columns)
        for clip, (episode, first) in enumerate(windows.tolist()):
            frames = rollouts.frames(episode, first, first + self.num_frames)[:, rows, columns]
            arrays["video"][clip] = frames
            if most:
                for name, value in self._labels(frames, f"episode {episode}, frames from {first} on").items():
                    arrays[name][clip, :, : value.shape[1]] = value
        return arrays

    def _labels(self, frames: np.ndarray, where: str) -> dict[str, np.ndarray]:
        """`boxes`, `valid` and `track_id` of one clip."""
        labels = label_frames(frames, self._ignored_colours)
        most = labels["valid"].shape[1]
        if most > self.max_objects:
            raise UserError(
                f"{self._opened().game}, {where}: {most} labelled objects in a frame, data.AtariClips.max_objects is "
                f"{self.max_objects}; raise it, or name colours of the background in data.AtariClips.ignored_colours"
            )
        boxes = np.where(labels["valid"][..., None], box_ops.from_edges(labels["boxes"], self.kept_size), 0)
        return {"boxes": boxes, "valid": labels["valid"], "track_id": labels["track_id"]}

    def _opened(self) -> Rollouts:
        if self._rollouts is None:
            rollouts = self._source.open()
            if tuple(rollouts.frame_shape[:2]) != self._recorded_size:
                rows, columns = rollouts.frame_shape[:2]
                raise UserError(
                    f"the episodes of {rollouts.game} have frames of {rows}x{columns} pixels, "
                    f"data.AtariClips.recorded_size says {self._recorded_size[0]}x{self._recorded_size[1]}; bind "
                    f"({rows}, {columns}), and see rows and columns for what is kept of them"
                )
            self._rollouts = rollouts
        return self._rollouts

    def _cache(self, split: str) -> records.ClipCache:
        if split not in self._caches:
            rollouts, windows = self._opened(), self.windows(split)
            parameters = {
                "generator": "atari",
                "generator_version": GENERATOR_VERSION,
                "split": split,
                "rollouts": {key: value for key, value in rollouts.description().items() if key != "labels"},
                "rows": self._rows,
                "columns": self._columns,
                "num_frames": self.num_frames,
                "density": float(self._densities[split]),
                "episodes": self.episodes(split),
                "seed": self._seed,
            }
            if split != "train":
                parameters |= {
                    "labels": PARAMETERS,
                    "ignored_colours": self._ignored_colours,
                    "max_objects": self.max_objects,
                }
            self._caches[split] = records.load_or_generate(
                records.cache_root(self._cache_dir),
                f"atari-{rollouts.game.lower()}-{split}",
                parameters,
                len(windows),
                lambda start, stop: self._cut(split, windows[start:stop]),
                CLIPS_PER_SHARD,
            )
        return self._caches[split]
