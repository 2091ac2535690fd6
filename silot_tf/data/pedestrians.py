"""Pedestrians before a camera that does not move: small grey clips of what differs from the empty scene."""

import dataclasses
import hashlib
import numbers
import os
import pathlib

import cv2
import gin
import numpy as np
from absl import logging

from silot_tf import mot_challenge
from silot_tf.data import video_background, video_files
from silot_tf.data.checks import are_integers, require
from silot_tf.data.counted_clips import CountedClips
from silot_tf.data.digits import DATA_DIR_VARIABLE
from silot_tf.errors import UserError

GENERATOR_VERSION = 2
_MOST_ATTEMPTS = 20_000  # windows drawn for one clip
_SAMPLED_FRAMES = 200  # for the background


@dataclasses.dataclass(frozen=True)
class Boxes:
    """All boxes of a video, in order of frames.

    Attributes:
      frame: `[R]` int64, counted from 0.
      track_id: `[R]` int64.
      edges: `[R,4]` float64 (top, bottom, left, right), pixels; pixel k covers `[k, k + 1]`.
    """

    frame: np.ndarray
    track_id: np.ndarray
    edges: np.ndarray


@dataclasses.dataclass(frozen=True)
class Footage:
    """A whole video, prepared.

    Attributes:
      frames: `[F,rows,columns]` uint8, difference from the background.
      boxes: of the people, in pixels of these frames.
    """

    frames: np.ndarray
    boxes: Boxes


@gin.configurable(module="data")
class Pedestrians(CountedClips):
    """Windows in space and time of one video: random crops of a few successive frames with one to three people in each.

    Frames are replaced by their absolute difference from the temporal median, averaged over colours; small differences
    are set to 0 (people are bright on black) and frames resized so that people have the wanted height. A person counts
    where the centre of the box is inside of the crop; a clip has between 1 and the largest number of people in each of
    its frames. The first part of the video is for training, the last, after a gap, for validation and tests (other
    random windows of the same frames: the published experiment has no third part).

    Without ground truth, blobs of the difference stand for people, to choose windows and as annotations; scores then
    say how well a model agrees with those.

    Args:
      video: video file or folder of images; a relative path is looked for in `data_dir`, too.
      ground_truth: MOTChallenge file of the same video, looked for likewise; None for none.
      data_dir: None stands for the environment variable SILOT_TF_DATA_DIR, if set.
      frame_shape: (rows, columns) of crops.
      num_frames: frames per clip.
      num_pedestrians: smallest and largest number of people, of the frame that has most of a clip's.
      threshold: differences below it, of 1, are set to 0.
      pedestrian_height: pixels, the median height of people after resizing.
      original_height: of people in the video, pixels; None to take the median of the ground truth (or of blobs).
      held_out: last part of the video that is kept for validation and tests, as a share of its frames.
      gap: frames left out before it.
      train_clips, validation_clips: number of clips.
      test_clips: number of clips for each number of people in `test_pedestrian_counts`.
      test_pedestrian_counts: numbers of people, one test set each.
      seed: of the windows.
      cache_dir: folder for the clips; None stands for the environment variable SILOT_TF_CACHE_DIR, else
        `~/.cache/silot_tf`.
      shuffle_buffer: clips.

    Raises:
      UserError: if a number is out of range, in the constructor; if the video is missing, too short or has no such
        windows, when the clips are first needed.

    Source: SQAIR, section 4.2; SQAIR specification 5.3, whose replacement for the withdrawn recordings this is.
    """

    noun = "pedestrian"
    generator = "pedestrians"
    channels = 1

    def __init__(
        self,
        video: str = "pets09_s2l1/video.mp4",
        ground_truth: str | None = "pets09_s2l1/gt.txt",
        data_dir: str | None = None,
        frame_shape: tuple[int, int] = (64, 64),
        num_frames: int = 5,
        num_pedestrians: tuple[int, int] = (1, 3),
        threshold: float = 0.06,
        pedestrian_height: float = 24.0,
        original_height: float | None = None,
        held_out: float = 0.1,
        gap: int = 5,
        train_clips: int = 3150,
        validation_clips: int = 350,
        test_clips: int = 100,
        test_pedestrian_counts: tuple[int, ...] = (1, 2, 3),
        seed: int = 0,
        cache_dir: str | None = None,
        shuffle_buffer: int = 1000,
    ):
        prefix = "data.Pedestrians."
        for name, value, fits, expected in (
            ("frame_shape", frame_shape, are_integers(frame_shape, 2) and min(frame_shape) >= 1, "(rows, columns)"),
            ("gap", gap, are_integers([gap]) and gap >= 0, "an integer of at least 0"),
            ("threshold", threshold, 0 <= threshold < 1, "a number from 0 to below 1"),
            ("held_out", held_out, 0 < held_out < 1, "a share between 0 and 1"),
            ("pedestrian_height", pedestrian_height, pedestrian_height > 0, "pixels, above 0"),
            (
                "original_height",
                original_height,
                original_height is None or (isinstance(original_height, numbers.Real) and original_height > 0),
                "None, or pixels above 0",
            ),
            (
                "num_pedestrians",
                num_pedestrians,
                are_integers(num_pedestrians, 2) and num_pedestrians[0] >= 1,
                "(smallest, largest), 1 or more",
            ),
            (
                "test_pedestrian_counts",
                test_pedestrian_counts,
                are_integers(test_pedestrian_counts) and min(test_pedestrian_counts) >= 1,
                "one or more different numbers of pedestrians, each 1 or more, as a tuple",
            ),
        ):
            require(fits, prefix + name, value, expected)
        super().__init__(
            scene_size=frame_shape,
            num_frames=num_frames,
            counts=num_pedestrians,
            train_clips=train_clips,
            validation_clips=validation_clips,
            test_clips=test_clips,
            test_counts=test_pedestrian_counts,
            seed=seed,
            cache_dir=cache_dir,
            shuffle_buffer=shuffle_buffer,
        )
        self.video, self.ground_truth, self.data_dir = video, ground_truth, data_dir
        self.threshold, self.held_out, self.gap = threshold, held_out, gap
        self.pedestrian_height, self.original_height = pedestrian_height, original_height
        self._footage = None

    def all_parameters(self, split: str, counts: tuple[int, int]) -> dict:
        """See `CountedClips`; names the video by its content."""
        truth = None
        if self.ground_truth is not None:
            truth = hashlib.sha256(self._find(self.ground_truth, "ground truth").read_bytes()).hexdigest()
        return {
            "generator": self.generator,
            "generator_version": GENERATOR_VERSION,
            "split": split,
            "frame_shape": self.scene_size,
            "num_frames": self.num_frames,
            "num_pedestrians": counts,
            "threshold": self.threshold,
            "heights": (self.pedestrian_height, self.original_height),
            "held_out": self.held_out,
            "gap": self.gap,
            "seed": self.seed,
            "video": video_files.open_video(self._find(self.video, "video")).fingerprint(),
            "ground_truth": truth,
        }

    @property
    def footage(self) -> Footage:
        """The prepared video, read when first asked for and kept."""
        if self._footage is None:
            path = self._find(self.video, "video")
            truth = None if self.ground_truth is None else mot_challenge.read(self._find(self.ground_truth, "truth"))
            original = self.original_height
            self._footage = prepare(path, truth, self.threshold, self.pedestrian_height, original)
        return self._footage

    def span(self, split: str) -> tuple[int, int]:
        """First frame, and one past the last, of a split.

        Raises:
          UserError: if it holds no clip.
        """
        frames = len(self.footage.frames)
        cut = round((1 - self.held_out) * frames)
        start, stop = (0, cut) if split == "train" else (cut + self.gap, frames)
        if stop - start < self.num_frames:
            raise UserError(
                f"{self.video} has {frames} frames, of which {max(0, stop - start)} are for the {split} split; clips "
                f"need {self.num_frames}: use a longer video, or change data.Pedestrians.held_out or gap"
            )
        return start, stop

    def generate(self, split: str, counts: tuple[int, int], start: int, stop: int) -> dict[str, np.ndarray]:
        """See `CountedClips`; also `track_id [C,T,N]`, the ids of the ground truth."""
        clips = [self._draw(split, counts, clip) for clip in range(start, stop)]
        return {name: np.stack([clip[name] for clip in clips]) for name in clips[0]}

    def _draw(self, split: str, counts: tuple[int, int], clip: int) -> dict[str, np.ndarray]:
        """The first random window that has the wanted number of people."""
        generator, footage = self.random_stream(split, counts, clip), self.footage
        first, stop = self.span(split)
        room = np.array([stop - first - self.num_frames, *np.subtract(footage.frames.shape[1:], self.scene_size)]) + 1
        if room.min() < 1:
            raise UserError(
                f"frames of {self.video} have {footage.frames.shape[1]}x{footage.frames.shape[2]} pixels after "
                f"resizing, less than data.Pedestrians.frame_shape = {self.scene_size}; ask for smaller crops or a "
                "larger pedestrian_height"
            )
        boxes = footage.boxes
        centres = (boxes.edges[:, ::2] + boxes.edges[:, 1::2]) / 2
        for _ in range(_MOST_ATTEMPTS):
            t, top, left = generator.integers(room)
            t += first
            rows = slice(*np.searchsorted(boxes.frame, [t, t + self.num_frames]))
            position = centres[rows] - (top, left)
            inside = np.flatnonzero(np.all((position >= 0) & (position < self.scene_size), axis=-1)) + rows.start
            people = np.bincount(boxes.frame[inside] - t, minlength=self.num_frames)
            if people.min() >= 1 and counts[0] <= people.max() <= counts[1]:
                return self._cut(t, top, left, inside, counts[1])
        wanted = counts[0] if counts[0] == counts[1] else f"{counts[0]} to {counts[1]}"
        raise UserError(
            f"no window of {self.num_frames} frames with {wanted} pedestrians was found in the {split} part of "
            f"{self.video} ({_MOST_ATTEMPTS} attempts); ask for other numbers, or use another video"
        )

    def _cut(self, t: int, top: int, left: int, inside, most: int) -> dict[str, np.ndarray]:
        """Arrays of one clip with the boxes of the rows `inside`, cut at the crop."""
        height, width = self.scene_size
        frames = self.num_frames
        boxes, valid = np.zeros((frames, most, 4), np.float32), np.zeros((frames, most), bool)
        track_id = np.full((frames, most), -1, np.int32)
        used = np.zeros(frames, np.int64)
        for row in inside:
            frame = self.footage.boxes.frame[row] - t
            edges = np.clip(self.footage.boxes.edges[row] - (top, top, left, left), 0, (height, height, width, width))
            centre, size = (edges[::2] + edges[1::2]) / 2, edges[1::2] - edges[::2]
            n = used[frame]
            boxes[frame, n] = np.concatenate([centre / (height, width), size / (height, width)])
            valid[frame, n], track_id[frame, n] = True, self.footage.boxes.track_id[row]
            used[frame] += 1
        video = self.footage.frames[t : t + frames, top : top + height, left : left + width, None]
        return {"video": video, "boxes": boxes, "valid": valid, "track_id": track_id}

    def _find(self, path: str, what: str) -> pathlib.Path:
        """A path as it is, or in the data directory."""
        folder = self.data_dir or os.environ.get(DATA_DIR_VARIABLE)
        places = [pathlib.Path(path)] + ([pathlib.Path(folder) / path] if folder else [])
        for place in places:
            if place.exists():
                return place
        hint = "" if folder else f"; no data directory is given (--data_dir or {DATA_DIR_VARIABLE})"
        raise UserError(
            f"{what} {path} does not exist, looked for as {' and '.join(map(str, places))}{hint}; bind "
            "data.Pedestrians.video and ground_truth to files of your own"
        )


def prepare(
    path, truth: mot_challenge.TrackRows | None, threshold: float, height: float, original: float | None
) -> Footage:
    """Difference from the background at the wanted size, of a whole video.

    Args:
      path: of the video.
      truth: boxes in pixels of the video; None to take blobs of the difference.
      threshold, height, original: see `Pedestrians`.
    """
    video, sample = video_files.open_video(path), video_background.RunningSample(_SAMPLED_FRAMES)
    for frame in video.frames():
        sample.add(frame)
    background = video_background.estimate(sample.frames, "median")
    if truth is not None and original is None:
        original = float(np.median(truth.edges[:, 1] - truth.edges[:, 0]))
    if original is None:
        original = _usual_blob_height(sample.frames, background, threshold)
    scale = height / original
    size = tuple(max(1, round(side * scale)) for side in background.shape[:2])
    logging.info("%s: people of %.0f pixels, frames resized to %dx%d", path, original, *size)
    frames = []
    for frame in video.frames():
        grey = _difference(frame, background, threshold)
        frames.append(cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA))
    frames = np.rint(255 * np.stack(frames)).astype(np.uint8)
    ratio = np.repeat(np.divide(size, background.shape[:2]), 2)
    if truth is None:
        return Footage(frames, _blobs(frames, height))
    order = np.lexsort((truth.track_id, truth.frame))
    order = order[truth.frame[order] <= len(frames)]
    return Footage(frames, Boxes(truth.frame[order] - 1, truth.track_id[order], truth.edges[order] * ratio))


def _difference(frame, background, threshold: float) -> np.ndarray:
    """`[H,W]` float32 in [0, 1], 0 where it is below the threshold."""
    grey = video_background.difference(frame, background) / np.float32(3)
    return np.where(grey >= threshold, grey, np.float32(0))


def _usual_blob_height(frames, background, threshold: float) -> float:
    """Median height of the larger half of all blobs, pixels."""
    heights = []
    for frame in frames:
        mask = (_difference(frame, background, threshold) > 0).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        statistics = cv2.connectedComponentsWithStats(mask)[2][1:]
        heights += statistics[statistics[:, cv2.CC_STAT_AREA] >= 30, cv2.CC_STAT_HEIGHT].tolist()
    if not heights:
        raise UserError(
            "nothing in this video differs from its background; expected people before a camera that does not move, or "
            "bind data.Pedestrians.original_height and a lower threshold"
        )
    return float(np.percentile(heights, 75))


def _blobs(frames: np.ndarray, height: float) -> Boxes:
    """Connected regions about as high as a person; every blob of every frame has an id of its own."""
    number, edges = [], []
    for t, frame in enumerate(frames):
        mask = cv2.morphologyEx((frame > 0).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        for left, top, width, rows, _ in cv2.connectedComponentsWithStats(mask)[2][1:]:
            if 0.5 * height <= rows <= 2 * height and width <= 2 * height:
                number.append(t)
                edges.append((top, top + rows, left, left + width))
    edges = np.array(edges, np.float64).reshape(-1, 4)
    return Boxes(np.array(number, np.int64), np.arange(len(number)), edges)
