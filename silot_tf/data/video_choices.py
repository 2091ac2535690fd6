"""What a model of one's own video should be like, measured on the video: sizes of frames and anchor, number of slots.

Blobs of foreground on a sample of frames say how large objects are. Frames are then resized so that a usual object has
the size that a grid of cells can take apart, and is less long and thin than it was: two persons who walk side by side
are as far apart as the cells are.
"""

import dataclasses
import math

import cv2
import gin
import numpy as np
from absl import logging

from silot_tf.data import foreground_blobs, video_background
from silot_tf.data.checks import are_integers, is_number, require
from silot_tf.data.video_files import VideoFile
from silot_tf.errors import UserError

#: What the model is told in words to see, by view.
VIEWS = {
    "foreground": "how much darker, lighter and differently coloured things are, on black",
    "difference": "the difference to it, on grey",
    "frames": "the frames themselves",
}
LONGEST_SIDE = 480  # pixels of the frames that are measured
SAMPLED_FRAMES = 120


@dataclasses.dataclass(frozen=True)
class Survey:
    """What one reading of a whole video tells.

    Attributes:
      num_frames: frames that can be read.
      frame_size: (rows, columns) in pixels.
      sample: some frames `[h,w,3]` uint8, in order of time, `scale` times as large.
      scale: at most 1.
    """

    num_frames: int
    frame_size: tuple[int, int]
    sample: list
    scale: float


@dataclasses.dataclass(frozen=True)
class Choices:
    """The settings for one video. Sizes are (rows, columns), `working` pixels are those of the resized frames.

    Attributes:
      background: "median", "mog2" or "none", of which the model is told nothing; see `video_background.estimate`.
      view: "foreground": how much darker, lighter and differently coloured than the background each pixel is, as three
        channels on black; "difference": grey plus the difference to the background; "frames": the frames.
      contrast: factor on differences; those beyond 1 / contrast (on grey: half of that) are cut off.
      foreground_threshold: of blobs, sum over three channels of values in [0, 1].
      object_size: of a usual object in pixels of the video.
      objects_per_frame: blobs in the busiest frames (99th percentile).
      working_size: of the frames that the model sees.
      anchor: the largest object in working pixels.
      size_prior_mean: logit of the share of the anchor that boxes have a priori, (height, width) taken together.
      slots: for whole frames.
      crop_shape: of training clips in working pixels.
    """

    background: str
    view: str
    contrast: float
    foreground_threshold: float
    object_size: tuple[float, float]
    objects_per_frame: float
    working_size: tuple[int, int]
    anchor: tuple[int, int]
    size_prior_mean: float
    slots: int
    crop_shape: tuple[int, int]

    def to_json(self) -> dict:
        """Plain dictionary for `json.dumps`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values) -> "Choices":
        """Inverse of `to_json`. Raises TypeError for other fields."""
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})

    def sentences(self, frame_size) -> list[str]:
        """What was chosen, for people."""
        height, width = self.object_size
        foreground = f"foreground: from a difference of {self.foreground_threshold:.2f} on (of 3)"
        return [
            f"background: {self.background}; the model sees {VIEWS[self.view]}",
            *([] if self.background == "none" else [foreground]),  # of which nothing is seen
            f"objects: usually {height:.0f}x{width:.0f} pixels (rows x columns), at most about "
            f"{self.objects_per_frame:.0f} in a frame",
            f"frames: {frame_size[0]}x{frame_size[1]} pixels, resized to {self.working_size[0]}x{self.working_size[1]}",
            f"anchor: {self.anchor[0]}x{self.anchor[1]} resized pixels; {self.slots} slots; training on crops of "
            f"{self.crop_shape[0]}x{self.crop_shape[1]}",
        ]


def survey(video: VideoFile) -> Survey:
    """Read the whole video once, keeping a small sample of reduced frames."""
    sample, size, scale, number = video_background.RunningSample(SAMPLED_FRAMES), None, 1.0, 0
    for frame in video.frames():
        number += 1
        if size is None:
            size = frame.shape[:2]
            scale = min(1.0, LONGEST_SIDE / max(size))
        sample.add(resize(frame, (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))))
    return Survey(number, size, sample.frames, scale)


def resize(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`[H,W,3]` uint8 at (rows, columns) `size`: averaged where it shrinks; the frame itself if it has it."""
    if frame.shape[:2] == tuple(size):
        return frame
    shrinks = size[0] < frame.shape[0] or size[1] < frame.shape[1]
    return cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


@gin.configurable(module="data")
class VideoChooser:
    """Chooses the settings for a video; everything that is given is taken, everything that is None is measured.

    Args:
      background: "median", "mog2" or "none", see `video_background.estimate`. With "none" the model sees the frames
        alone, objects are measured against the median all the same.
      view: see `Choices`; without a background always "frames".
      contrast: see `Choices`.
      foreground_threshold: see `Choices`.
      object_size: (rows, columns) of a usual object in pixels of the video.
      objects_per_frame: in busy frames.
      working_size: (rows, columns) of the frames that the model sees.
      object_side: of a usual object in these frames, pixels: the square root of its area.
      squareness: 0 keeps the shape of objects, 1 resizes frames so that a usual object is square, 0.5 is in between.
      largest_scale: frames are not enlarged by more than this.
      most_pixels: of a resized frame.
      anchor: (rows, columns) of the anchor box in resized pixels.
      anchor_factor: its sides in usual objects.
      prior_share: sides of boxes that the prior expects, in usual objects.
      slots: for whole frames.
      slots_per_object: so many for each object in the busiest frames.
      slot_range: at least and at most so many.
      crop_shape: (rows, columns) of training clips in resized pixels, or fewer where frames are smaller.

    Raises:
      UserError: if a number is out of range.
    """

    def __init__(
        self,
        background: str = "median",
        view: str = "difference",
        contrast: float = 1.5,
        foreground_threshold: float | None = None,
        object_size: tuple[float, float] | None = None,
        objects_per_frame: float | None = None,
        working_size: tuple[int, int] | None = None,
        object_side: float = 17.0,
        squareness: float = 0.5,
        largest_scale: float = 2.0,
        most_pixels: int = 120_000,
        anchor: tuple[int, int] | None = None,
        anchor_factor: float = 2.0,
        prior_share: float = 1.0,
        slots: int | None = None,
        slots_per_object: float = 3.0,
        slot_range: tuple[int, int] = (16, 128),
        crop_shape: tuple[int, int] = (72, 72),
    ):
        def check(condition, name, value, expected):
            require(condition, f"data.VideoChooser.{name}", value, expected)

        check(background in video_background.METHODS, "background", background, f"one of {video_background.METHODS}")
        check(view in VIEWS, "view", view, f"one of {', '.join(VIEWS)}")
        for name, value in (("working_size", working_size), ("anchor", anchor), ("crop_shape", crop_shape)):
            possible = value is None or (are_integers(value, 2) and min(value) >= 12)
            check(possible, name, value, "(rows, columns) of at least 12 pixels")
        if object_size is not None:
            possible = isinstance(object_size, tuple | list) and len(object_size) == 2
            possible = possible and all(is_number(side, above=0) for side in object_size)
            expected = "(rows, columns) in pixels of the video, two numbers above 0"
            check(possible, "object_size", object_size, expected)
        for name, value, optional in (
            ("foreground_threshold", foreground_threshold, True),
            ("objects_per_frame", objects_per_frame, True),
            ("slots", slots, True),
            ("contrast", contrast, False),
            ("object_side", object_side, False),
            ("largest_scale", largest_scale, False),
            ("prior_share", prior_share, False),
            ("most_pixels", most_pixels, False),
            ("slots_per_object", slots_per_object, False),
        ):
            possible = (optional and value is None) or is_number(value, above=0)
            check(possible, name, value, "a number above 0" + (", or None" if optional else ""))
        check(is_number(anchor_factor, above=1), "anchor_factor", anchor_factor, "a number above 1")
        check(is_number(squareness) and 0 <= squareness <= 1, "squareness", squareness, "a number from 0 to 1")
        check(
            are_integers(slot_range, 2) and 1 <= slot_range[0] <= slot_range[1],
            "slot_range",
            slot_range,
            "(least, most) slots",
        )
        self._background = background
        self._view = "frames" if background == "none" else view
        self._contrast = contrast
        self._threshold, self._object_size, self._objects = foreground_threshold, object_size, objects_per_frame
        self._working_size, self._side, self._squareness = working_size, object_side, squareness
        self._largest_scale, self._most_pixels = largest_scale, most_pixels
        self._anchor, self._anchor_factor, self._prior_share = anchor, anchor_factor, prior_share
        self._slots, self._slots_per_object, self._slot_range = slots, slots_per_object, slot_range
        self._crop_shape = crop_shape

    def choose(self, found: Survey) -> Choices:
        """Settings for a surveyed video.

        Raises:
          UserError: if there is nothing to measure objects by and nobody says how large they are, or how many.
        """
        background = video_background.estimate(found.sample, self._background)
        threshold = self._threshold or foreground_blobs.threshold_of(found.sample, background)
        object_size, objects = self._object_size, self._objects
        if object_size is None or objects is None:
            blobs = foreground_blobs.measure(found.sample, background, threshold)
            self._check_camera(blobs)
            size = blobs.size
            object_size = object_size or (size and tuple(round(side / found.scale, 1) for side in size))
            objects = objects or blobs.per_frame
        if object_size is None and found.num_frames == 1:
            raise UserError("the video has one frame, in which nothing can move; expected a film: give a longer video")
        if object_size is None:
            raise UserError(
                "nothing in this video differs from its background for long enough to be measured; expected things "
                "that move before a camera that does not: give data.VideoChooser.object_size = (rows, columns) in "
                "pixels, or a lower data.VideoChooser.foreground_threshold"
            )
        working = self._working_size or self._working_size_for(found.frame_size, object_size)
        in_working = [side * new / old for side, new, old in zip(object_size, working, found.frame_size, strict=True)]
        anchor = self._anchor or tuple(max(12, round(self._anchor_factor * side)) for side in in_working)
        expected = [self._prior_share * side for side in in_working]
        share = math.prod(min(0.9, side / most) for side, most in zip(expected, anchor, strict=True)) ** 0.5
        least, most = self._slot_range
        slots = self._slots or int(np.clip(4 * math.ceil(self._slots_per_object * objects / 4), least, most))
        return Choices(
            background=self._background,
            view=self._view,
            contrast=float(self._contrast),
            foreground_threshold=round(float(threshold), 4),
            object_size=tuple(float(side) for side in object_size),
            objects_per_frame=float(objects),
            working_size=tuple(int(side) for side in working),
            anchor=tuple(int(side) for side in anchor),
            size_prior_mean=round(math.log(share / (1 - share)), 3),
            slots=int(slots),
            crop_shape=tuple(min(int(a), int(b)) for a, b in zip(self._crop_shape, working, strict=True)),
        )

    def _check_camera(self, blobs: foreground_blobs.Blobs) -> None:
        """Warn where so much changes that blobs are no objects; for those who want no background it is an error."""
        if blobs.changed_share <= foreground_blobs.MOVING_SHARE:
            return
        seen = f"{100 * blobs.changed_share:.0f} % of the pixels differ from the background in an ordinary frame"
        if self._background == "none":
            raise UserError(
                f"{seen}: the camera moves, or much of the picture does, and objects cannot be measured; expected to "
                "be told how large and how many they are: give data.VideoChooser.object_size = (rows, columns) in "
                "pixels and data.VideoChooser.objects_per_frame"
            )
        logging.warning("%s: this works for cameras that do not move; see data.VideoChooser.background", seen)

    def _working_size_for(self, frame_size, object_size) -> tuple[int, int]:
        height, width = object_size
        shape = (height / width) ** ((1 - self._squareness) / 2)
        scales = [min(self._side * shape / height, self._largest_scale)]
        scales.append(min(self._side / shape / width, self._largest_scale))
        pixels = math.prod(scale * side for scale, side in zip(scales, frame_size, strict=True))
        less = min(1.0, math.sqrt(self._most_pixels / pixels))
        # At least two grid cells of the usual 12 pixels; whole multiples of 4, which cost nothing and divide well.
        return tuple(max(24, 4 * round(s * less * side / 4)) for s, side in zip(scales, frame_size, strict=True))
