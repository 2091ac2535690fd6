"""Scattered Shapes: many coloured shapes that move over a black frame and bounce off its walls."""

import gin
import numpy as np

from silot_tf.data import moving_patches, shape_masks
from silot_tf.data.generated_clips import GeneratedClips

GENERATOR_VERSION = 1
MAX_OVERLAP = 98  # square pixels, SILOT specification 5.1
#: RGB bytes by name, matplotlib's: its green is the darker one of web pages.
COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 128, 0),
    "blue": (0, 0, 255),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "yellow": (255, 255, 0),
}
#: (shape, colour) by label.
KINDS = tuple((shape, colour) for shape in shape_masks.SHAPES for colour in COLOURS)

_MEAN_SIDE, _SIDE_SPREAD, _SMALLEST_SCALE = 14, 0.1, 0.5
_LARGEST_SIDE = 24  # pixels; a side is larger about once in 10^11


@gin.configurable(module="data")
def shape_colours() -> tuple[tuple[float, float, float], ...]:
    """The six colours as RGB triples in [0, 1], for baselines that look for each colour by itself."""
    return tuple(tuple(value / 255 for value in colour) for colour in COLOURS.values())


@gin.configurable(module="data")
class ScatteredShapes(GeneratedClips):
    """Clips of moving shapes for training, validation, and tests with an exact number of shapes.

    There are 30 kinds of shapes: circle, diamond, star, x and plus in red, green, blue, cyan, magenta and yellow,
    about 14 pixels high and wide. Clips are generated once, cached on disk as whole frames (see `records`) and
    streamed from there, as they are or, with `crop_shape`, as random crops for training and validation. Tests are
    always on whole frames.

    Args:
      frame_shape: (rows, columns) of whole frames in pixels.
      num_frames: frames per clip.
      num_shapes: smallest and largest number of shapes in training and validation clips, drawn uniformly.
      speed: pixels per frame.
      crop_shape: (rows, columns) in pixels of training and validation crops; None for whole frames.
      crops_per_clip: crops of each training or validation clip, each the same window in all frames.
      train_clips, validation_clips: number of clips, each cut into `crops_per_clip` crops.
      test_clips: number of clips for each number of shapes in `test_shape_counts`.
      test_shape_counts: numbers of shapes, one test set each.
      seed: of the clips and of the crops. Splits and numbers of shapes have their own independent streams of it.
      cache_dir: folder for generated clips; None stands for the environment variable SILOT_TF_CACHE_DIR, else
        `~/.cache/silot_tf`.
      shuffle_buffer: clips, or crops.

    Raises:
      UserError: if a number is out of range, in the constructor; if cached clips have changed or so many shapes do
        not fit into a frame, when the clips are first needed.

    Source: SILOT, section 4.2; specification 5.1 and 5.3.
    """

    noun = "shape"
    generator = "scattered_shapes"

    def __init__(
        self,
        frame_shape: tuple[int, int] = (96, 96),
        num_frames: int = 8,
        num_shapes: tuple[int, int] = (1, 10),
        speed: float = 5.0,
        crop_shape: tuple[int, int] | None = None,
        crops_per_clip: int = 4,
        train_clips: int = 60_000,
        validation_clips: int = 128,
        test_clips: int = 1000,
        test_shape_counts: tuple[int, ...] = tuple(range(1, 36)),
        seed: int = 0,
        cache_dir: str | None = None,
        shuffle_buffer: int = 1000,
    ):
        super().__init__(
            frame_shape=frame_shape,
            num_frames=num_frames,
            counts=num_shapes,
            speed=speed,
            train_clips=train_clips,
            validation_clips=validation_clips,
            test_clips=test_clips,
            test_counts=test_shape_counts,
            seed=seed,
            cache_dir=cache_dir,
            shuffle_buffer=shuffle_buffer,
            smallest_frame=(_LARGEST_SIDE, "the size of the largest shapes"),
            max_overlap=MAX_OVERLAP,
            crop_shape=crop_shape,
            crops_per_clip=crops_per_clip,
        )
        self.num_shapes = tuple(map(int, num_shapes))

    def parameters(self) -> dict:
        """Version of the generator, which stands for everything about shapes, colours and sizes."""
        return {"generator_version": GENERATOR_VERSION}

    def scenes(self, split: str, counts: tuple[int, int], start: int, stop: int) -> moving_patches.Scenes:
        """Clips start..stop-1 of a split before they are drawn; labels count `KINDS`."""
        layouts = self.draw_layouts(split, counts, start, stop, len(KINDS), draw_sizes)
        shape, colour = np.divmod(layouts.kind, len(COLOURS))
        side = max(1, layouts.size.max())
        drawn, row = np.unique(
            np.concatenate([shape[..., None], layouts.size], -1).reshape(-1, 3), axis=0, return_inverse=True
        )
        patches = np.zeros((len(drawn), side, side), np.float32)
        for patch, (number, rows, columns) in zip(patches, drawn, strict=True):
            if rows:  # 0 beyond the clip's count
                patch[:rows, :columns] = shape_masks.patch(shape_masks.SHAPES[number], int(rows), int(columns))
        # The 14x14 masks fill all rows and columns, so the content of a patch is its whole rectangle.
        extent = np.zeros((*layouts.kind.shape, 4))
        extent[..., 1::2] = layouts.size
        return moving_patches.Scenes(
            count=layouts.count,
            position=layouts.position,
            velocity=layouts.velocity,
            size=layouts.size,
            alpha=patches[row.reshape(layouts.kind.shape)],
            colour=np.array(list(COLOURS.values()), np.uint8)[colour],
            extent=extent,
            label=layouts.kind,
        )


def draw_sizes(generator: np.random.Generator, count: int) -> np.ndarray:
    """`[count,2]` sides in pixels: `ceil(14 * max(1 + 0.1 * eps, 0.5))` with standard normal eps for each side.

    Source: SILOT specification 5.3 and D24.
    """
    scale = np.maximum(1 + _SIDE_SPREAD * generator.standard_normal((count, 2)), _SMALLEST_SCALE)
    return np.ceil(_MEAN_SIDE * scale).astype(np.int64)
