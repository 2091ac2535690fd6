"""Training clips out of one video: short windows, cropped where something moves.

Frames are resized once and kept in one file on disk, of which only what is needed is in memory. A long video is not
kept whole: stretches of successive frames, evenly spread over it, stand for the rest.
"""

import dataclasses
import os
import pathlib
import tempfile

import gin
import numpy as np

from silot_tf import files
from silot_tf.data import video_background
from silot_tf.data.checks import are_integers, is_number, require
from silot_tf.data.video_choices import Choices, resize
from silot_tf.data.video_files import VideoFile
from silot_tf.errors import UserError

GREY = 0.5  # what a pixel without difference to the background looks like


@dataclasses.dataclass(frozen=True)
class VideoView:
    """What the model sees of frames, and the way back.

    Args:
      choices: of the video.
      background: `[h,w,3]` uint8 of resized frames.
    """

    choices: Choices
    background: np.ndarray

    def resized(self, frame: np.ndarray) -> np.ndarray:
        """A frame of the video `[H,W,3]` uint8 at working size."""
        return resize(frame, self.choices.working_size)

    def seen(self, frames: np.ndarray, offset=(0, 0)) -> np.ndarray:
        """`[...,h,w,3]` float32 in [0, 1] of resized frames, or of crops of them at (y, x) `offset`."""
        if self.choices.view == "frames":
            return frames.astype(np.float32) / np.float32(255)
        behind = self._behind(frames.shape[-3:-1], offset)
        difference = (frames.astype(np.int16) - behind).astype(np.float32) / np.float32(255)
        if self.choices.view == "difference":
            return np.clip(GREY + np.float32(self.choices.contrast) * difference, 0, 1)
        # From black at half the threshold to all that differs at the threshold: noise would be worth explaining.
        strength = np.abs(difference).sum(axis=-1, keepdims=True) / np.float32(self.choices.foreground_threshold)
        difference *= np.clip(2 * strength - 1, 0, 1)
        light = difference.mean(axis=-1)
        colour = difference.max(axis=-1) - difference.min(axis=-1)
        return np.clip(np.float32(self.choices.contrast) * np.stack([-light, light, colour], axis=-1), 0, 1)

    def foreground(self, frame: np.ndarray) -> np.ndarray:
        """`[h,w]` bool: where a resized frame differs from the background, also where the model is told of none."""
        return video_background.difference(frame, self.background) >= self.choices.foreground_threshold

    def shown(self, seen: np.ndarray, offset=(0, 0)) -> np.ndarray:
        """`[...,h,w,3]` uint8: resized frames again, of what the model sees or reconstructs; inverse of `seen`.

        Of the foreground, brightness is all that comes back.
        """
        if self.choices.view == "frames":
            return np.round(np.clip(seen, 0, 1) * 255).astype(np.uint8)
        return self._over(self._behind(seen.shape[-3:-1], offset), seen)

    def shown_alone(self, seen: np.ndarray) -> np.ndarray:
        """`[...,h,w,3]` uint8: the same of pictures that have no place in the frame; differences are shown on grey."""
        if self.choices.view == "frames":
            return self.shown(seen)
        return self._over(np.full(3, 128), seen)

    def _over(self, behind, seen: np.ndarray) -> np.ndarray:
        """`[...,h,w,3]` uint8 of differences `seen` to what is behind them."""
        difference = seen - GREY if self.choices.view == "difference" else seen[..., 1:2] - seen[..., :1]
        return np.round(np.clip(behind + difference * (255 / self.choices.contrast), 0, 255)).astype(np.uint8)

    def _behind(self, size, offset) -> np.ndarray:
        return self.background[offset[0] : offset[0] + size[0], offset[1] : offset[1] + size[1]].astype(np.int16)


def stretches(num_frames: int, most: int, length: int) -> list[tuple[int, int]]:
    """(first, stop) of the frames to keep: all, or stretches of `length` frames with at most `most` in all."""
    if num_frames <= most:
        return [(0, num_frames)]
    count = max(1, most // length)
    starts = np.unique(np.linspace(0, num_frames - length, count).round().astype(int))
    return [(int(start), int(start) + length) for start in starts]


def write_frames(video: VideoFile, path, size: tuple[int, int], kept: list[tuple[int, int]]) -> pathlib.Path:
    """Write the frames of `kept` stretches, resized, as one `.npy` file `[N,h,w,3]` uint8; return its path.

    Raises:
      UserError: if the disk is full, or the video ends before the last of them.
    """
    path = pathlib.Path(path)
    total, stop = sum(b - a for a, b in kept), kept[-1][1]
    temporary, written = None, 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".unfinished")
        with os.fdopen(handle, "wb") as stream:
            # Written as it comes: writing into a mapped file on a full disk would kill the process.
            header = {"descr": "|u1", "fortran_order": False, "shape": (total, *size, 3)}
            np.lib.format.write_array_header_1_0(stream, header)
            for number, frame in enumerate(video.frames()):
                if number >= stop:
                    break
                if any(a <= number < b for a, b in kept):
                    stream.write(resize(frame, size).tobytes())
                    written += 1
            if written < total:
                raise UserError(
                    f"{video.path} gave {written} of {total} frames on the second reading; expected a file that does "
                    "not change: copy it to a disk of this machine and start again"
                )
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files private; run folders are meant to be shared
        os.replace(temporary, path)
    except OSError as error:
        raise files.cannot_write(path, error) from error
    finally:
        if temporary is not None:
            pathlib.Path(temporary).unlink(missing_ok=True)
    return path


@gin.configurable(module="data")
class VideoClips:
    """Random windows of a video, cropped, without any annotation; a data set for training (see `contracts`).

    Which window, and where its crop lies, depends on the seed and the number of the batch alone, so that a resumed
    training sees what an uninterrupted one would. A part of the crops is laid around a random pixel of foreground:
    elsewhere most of a video shows nothing.

    Args:
      path: `.npy` file written by `write_frames`.
      kept: the stretches that it holds.
      view: what the model sees of it.
      num_frames: frames per clip.
      moving_share: share of the crops that are laid around foreground.
      validation_clips: clips that are looked at in training: places evenly spread over the video, around foreground.
      frame_steps: a clip takes every n-th frame, n drawn from these; (1,) takes successive frames.

    Raises:
      UserError: if a number is out of range, or the video is shorter than a clip.
    """

    condition_label = "video"
    max_objects = 0

    def __init__(
        self,
        path,
        kept,
        view: VideoView,
        num_frames: int = 8,
        moving_share: float = 0.8,
        validation_clips: int = 16,
        frame_steps: tuple[int, ...] = (1,),
    ):
        def check(condition, name, value, expected):
            require(condition, f"data.VideoClips.{name}", value, expected)

        for name, value in (("num_frames", num_frames), ("validation_clips", validation_clips)):
            check(are_integers([value]) and value >= 1, name, value, "an integer of at least 1")
        check(is_number(moving_share) and 0 <= moving_share <= 1, "moving_share", moving_share, "a share from 0 to 1")
        check(are_integers(frame_steps) and min(frame_steps) >= 1, "frame_steps", frame_steps, "integers from 1 on")
        longest = max(stop - start for start, stop in kept)
        if longest < 1 + (num_frames - 1) * max(frame_steps):
            raise UserError(
                f"the video has {longest} frames in one piece, clips need {1 + (num_frames - 1) * max(frame_steps)}; "
                "give a longer video, or bind a smaller data.VideoClips.num_frames"
            )
        self.num_frames, self._path, self._kept, self._view = num_frames, pathlib.Path(path), list(kept), view
        self._moving_share, self._validation_clips, self._steps = moving_share, validation_clips, tuple(frame_steps)
        self._crop = view.choices.crop_shape
        self._frames = None

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(rows, columns, 3) of clips."""
        return (*self._crop, 3)

    def prepare(self) -> None:
        """Open the file of frames. Raises UserError if it is missing or something else."""
        try:
            self._frames = np.load(self._path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{self._path} cannot be read ({error}); delete it and start again") from error
        expected = (sum(b - a for a, b in self._kept), *self._view.choices.working_size, 3)
        if self._frames.shape != expected or self._frames.dtype != np.uint8:
            raise UserError(
                f"{self._path} holds {self._frames.dtype} {self._frames.shape}, expected uint8 {expected}; delete it "
                "and start again"
            )

    def training_batches(self, batch_size: int, *, seed: int, start_batch: int = 0):
        """Endless `tf.data.Dataset` of batches from number `start_batch` on, with N = 0."""

        def batches():
            number = start_batch
            while True:
                yield self.batch(np.random.default_rng((seed, number)), batch_size)
                number += 1

        return self._dataset(batches, batch_size)

    def validation_batches(self, batch_size: int):
        """Finite `tf.data.Dataset` of fixed clips; the last batch may be smaller."""
        places = np.linspace(0, 1, self._validation_clips)

        def batches():
            for start in range(0, len(places), batch_size):
                part = places[start : start + batch_size]
                yield self.batch(np.random.default_rng((0, start)), len(part), places=part, moving_share=1.0)

        return self._dataset(batches, None)

    def batch(self, generator, batch_size: int, places=None, moving_share: float | None = None) -> dict:
        """One batch as NumPy arrays.

        Args:
          generator: of random numbers.
          batch_size: clips.
          places: where the clips begin, as fractions of all possible places; None draws them.
          moving_share: None takes that of the constructor.
        """
        if self._frames is None:
            self.prepare()
        share = self._moving_share if moving_share is None else moving_share
        videos, offsets = [], []
        for clip in range(batch_size):
            step = int(generator.choice(self._steps)) if places is None else self._steps[0]
            first = self._first_frame(generator.random() if places is None else places[clip], step)
            offset = self._place(first + step * int(generator.integers(self.num_frames)), generator, share)
            rows, columns = (slice(o, o + side) for o, side in zip(offset, self._crop, strict=True))
            frames = self._frames[first : first + step * self.num_frames : step, rows, columns]
            videos.append(self._view.seen(np.asarray(frames), offset))
            offsets.append(offset)
        shape = (batch_size, self.num_frames)
        return {
            "video": np.stack(videos),
            "frame_mask": np.ones(shape, bool),
            "boxes": np.zeros((*shape, 0, 4), np.float32),
            "present": np.zeros((*shape, 0), bool),
            "track_id": np.zeros((*shape, 0), np.int32),
            "crop_offset": np.array(offsets, np.int32),
        }

    def _first_frame(self, place: float, step: int) -> int:
        """Number in the file of the first frame of a clip at `place` in [0, 1] among all that fit into a stretch."""
        room = [max(0, stop - start - (self.num_frames - 1) * step) for start, stop in self._kept]
        left, base = min(int(place * sum(room)), sum(room) - 1), 0
        for (start, stop), possible in zip(self._kept, room, strict=True):
            if left < possible:
                return base + left
            left, base = left - possible, base + stop - start
        raise AssertionError("places are counted wrongly")

    def _place(self, frame: int, generator, share: float) -> tuple[int, int]:
        """(y, x) of a crop: around a random pixel of the foreground of a frame, or anywhere."""
        size = self._view.choices.working_size
        room = [side - crop for side, crop in zip(size, self._crop, strict=True)]
        place = [int(generator.integers(most + 1)) for most in room]
        jitter = generator.random(2)
        if generator.random() < share:
            moving = np.flatnonzero(self._view.foreground(np.asarray(self._frames[frame])))
            if moving.size:
                pixel = np.unravel_index(moving[generator.integers(moving.size)], size)
                place = [
                    int(np.clip(p - j * crop, 0, most))
                    for p, j, crop, most in zip(pixel, jitter, self._crop, room, strict=True)
                ]
        return place[0], place[1]

    def _dataset(self, batches, batch_size: int | None):
        import tensorflow as tf

        types = {"video": tf.float32, "frame_mask": tf.bool, "boxes": tf.float32, "present": tf.bool}
        types |= {"track_id": tf.int32, "crop_offset": tf.int32}
        time = (batch_size, self.num_frames)
        shapes = {"video": (*time, *self.frame_shape), "frame_mask": time, "boxes": (*time, 0, 4)}
        shapes |= {"present": (*time, 0), "track_id": (*time, 0), "crop_offset": (batch_size, 2)}
        signature = {name: tf.TensorSpec(shapes[name], types[name]) for name in types}
        return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(2)
