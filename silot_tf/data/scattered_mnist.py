"""Scattered MNIST: white handwritten digits that move over a black frame and bounce off its walls."""

import gin
import numpy as np

from silot_tf.data import moving_patches
from silot_tf.data.digits import PATCH_SIZE, DigitSource, MnistDigits
from silot_tf.data.generated_clips import GeneratedClips

GENERATOR_VERSION = 1
MAX_OVERLAP = PATCH_SIZE * PATCH_SIZE / 2  # square pixels, SILOT specification 5.1


@gin.configurable(module="data")
class ScatteredMnist(GeneratedClips):
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

    noun = "digit"
    generator = "scattered_mnist"

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
        super().__init__(
            frame_shape=frame_shape,
            num_frames=num_frames,
            counts=num_digits,
            speed=speed,
            train_clips=train_clips,
            validation_clips=validation_clips,
            test_clips=test_clips,
            test_counts=test_digit_counts,
            seed=seed,
            cache_dir=cache_dir,
            shuffle_buffer=shuffle_buffer,
            smallest_frame=(PATCH_SIZE, "the size of a digit"),
            max_overlap=MAX_OVERLAP,
        )
        self.num_digits = tuple(map(int, num_digits))
        self.source = MnistDigits() if source is None else source

    def parameters(self) -> dict:
        """Version of the generator and identity of the digits."""
        return {"generator_version": GENERATOR_VERSION, "source": self.source.description()}

    def scenes(self, split: str, counts: tuple[int, int], start: int, stop: int) -> moving_patches.Scenes:
        """Clips start..stop-1 of a split before they are drawn, with white digits of the split's pool."""
        pool = self.source.pool(split)
        layouts = self.draw_layouts(split, counts, start, stop, len(pool.masks), _draw_sizes)
        alpha = pool.masks[layouts.kind]
        extent = moving_patches.content_extent(alpha.reshape(-1, PATCH_SIZE, PATCH_SIZE))
        return moving_patches.Scenes(
            count=layouts.count,
            position=layouts.position,
            velocity=layouts.velocity,
            size=layouts.size,
            alpha=alpha,
            colour=np.full((*layouts.kind.shape, 1), 255, np.uint8),
            extent=extent.reshape(*layouts.kind.shape, 4),
            label=pool.labels[layouts.kind],
        )


def _draw_sizes(generator: np.random.Generator, count: int) -> np.ndarray:
    """Digits are never scaled."""
    return np.full((count, 2), PATCH_SIZE)
