"""Data sets of moving patches: pictures that move along straight lines and bounce off the walls."""

import abc
import dataclasses
import numbers
from collections.abc import Callable

import numpy as np

from silot_tf.data import moving_patches
from silot_tf.data.checks import are_integers, require
from silot_tf.data.counted_clips import CountedClips
from silot_tf.data.crops import Crops
from silot_tf.ops import boxes as box_ops

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


class GeneratedClips(CountedClips):
    """What all data sets of moving patches share; the arguments are those of their constructors.

    Subclasses set `noun` and `generator` (see `CountedClips`), and define `scenes` and `parameters`.

    Args:
      counts: smallest and largest number of objects.
      smallest_frame: the least number of rows and columns of `frame_shape` in pixels, and why.
      max_overlap: square pixels, see `moving_patches.place_rectangles`.
      crop_shape: None, or (rows, columns) of random crops that stand for training and validation clips.
      crops_per_clip: number of crops made of each of those clips.

    The other arguments are explained by the subclasses.
    """

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
        require(
            are_integers([crops_per_clip]) and crops_per_clip >= 1,
            f"{prefix}crops_per_clip",
            crops_per_clip,
            "an integer of at least 1",
        )
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
        super().__init__(
            scene_size=frame_shape,
            num_frames=num_frames,
            counts=counts,
            train_clips=train_clips,
            validation_clips=validation_clips,
            test_clips=test_clips,
            test_counts=test_counts,
            seed=seed,
            cache_dir=cache_dir,
            shuffle_buffer=shuffle_buffer,
        )
        if crop_shape is not None:
            self.crops = Crops(tuple(map(int, crop_shape)), crops_per_clip, seed)
        self.speed = speed
        self._max_overlap = max_overlap

    @abc.abstractmethod
    def scenes(self, split: str, counts: tuple[int, int], start: int, stop: int) -> moving_patches.Scenes:
        """Clips start..stop-1 of a split before they are drawn; see `draw_layouts`."""

    @abc.abstractmethod
    def parameters(self) -> dict:
        """What clips depend on besides the arguments above, for the manifests of caches; has `generator_version`."""

    def all_parameters(self, split: str, counts: tuple[int, int]) -> dict:
        """See `CountedClips`."""
        return {
            "generator": self.generator,
            "split": split,
            "frame_shape": self.scene_size,
            "num_frames": self.num_frames,
            f"num_{self.noun}s": counts,
            "speed": float(self.speed),
            "max_overlap": self._max_overlap,
            "seed": self.seed,
        } | self.parameters()

    def generate(self, split: str, counts: tuple[int, int], start: int, stop: int) -> dict[str, np.ndarray]:
        """See `CountedClips`."""
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
            generator = self.random_stream(split, counts, start + i)
            n = count[i] = generator.integers(counts[0], counts[1] + 1)
            kind[i, :n] = generator.integers(num_kinds, size=n)
            position[i, :n], size[i, :n] = moving_patches.place_rectangles(
                generator, n, self.scene_size, draw_sizes, self._max_overlap
            )
            velocity[i, :n] = moving_patches.draw_velocities(generator, n, self.speed)
        return Layouts(count, kind, position, size, velocity)
