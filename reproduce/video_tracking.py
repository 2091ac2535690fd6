"""A whole video through a trained model, chunk after chunk: tracks as text, boxes drawn on the frames, example clips.

Frames come and go; what stays in memory does not grow with the video.
"""

import collections
import contextlib
import dataclasses
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

import cv2
import gin
import numpy as np
from PIL import Image

from reproduce import progress
from silot_tf import files
from silot_tf.data.video_clips import VideoView
from silot_tf.data.video_files import VideoFile
from silot_tf.errors import UserError
from silot_tf.evaluation import reconstruction, sprites, video_tracks
from silot_tf.evaluation.streaming import VideoStream
from silot_tf.ops.boxes import iou_matrix
from silot_tf.reporting import drawing
from silot_tf.reporting.examples import Objects

TRACKS, MOT, ANNOTATED = "tracks.csv", "tracks_mot.txt", "annotated.mp4"
KEYS = ("where", "depth", "pres", "track_id", "is_new")
SPECK = 2  # pixels
SMALLEST_SIDE = 0.5  # pixels of the video; what is left of a box inside of the frame


@gin.configurable(module="reproduce")
@dataclasses.dataclass(frozen=True)
class Tracker:
    """Tracks a video with a trained model and writes what it finds.

    Args:
      chunk_frames: frames per call of the model.
      least_frames: tracks that appear in fewer frames are left out of the files; 1 keeps all. Later frames of a track
        decide about its first ones, so the files lag behind by so many frames while they are written.
      tighten: shrink boxes to what differs from the background inside of them: sprites are painted with soft edges, so
        boxes are larger than what they show. Without a background boxes stay as they are.
      most_overlap: of two objects whose boxes overlap by an IoU above it, the one that was found later is left out of
        the files in that frame; 1 keeps both.
      annotate: whether to write the video with boxes.
      annotated_width: smaller frames are enlarged there by a whole factor, 4 at most, to about this width in pixels, so
        that ids do not hide what they name.
      frame_rate: of that video where the input does not say (folders of images), frames per second.
      codec: of that video, four letters that OpenCV's FFmpeg can encode into mp4.
      example_clips: clips for the report, evenly spread over the video.
      example_frames: frames of each.
    """

    chunk_frames: int = 8
    least_frames: int = 1
    tighten: bool = False
    most_overlap: float = 1.0
    annotate: bool = True
    annotated_width: int = 640
    frame_rate: float = 10.0
    codec: str = "mp4v"
    example_clips: int = 3
    example_frames: int = 24

    def __post_init__(self):
        for name, least in (("chunk_frames", 1), ("least_frames", 1), ("example_clips", 0), ("example_frames", 1)):
            if getattr(self, name) < least:
                raise UserError(f"Tracker.{name} is {getattr(self, name)}; expected a whole number of at least {least}")
        if not 0 < self.most_overlap <= 1:
            raise UserError(f"Tracker.most_overlap is {self.most_overlap}; expected an IoU above 0, at most 1")
        if len(self.codec) != 4 or self.frame_rate <= 0:
            raise UserError(
                f"Tracker.codec is '{self.codec}' and frame_rate {self.frame_rate}; expected four letters such as mp4v "
                "and a number above 0"
            )

    def track(self, model, video: VideoFile, view: VideoView, folder, *, num_frames: int | None, seed: int) -> dict:
        """Track the video; write `tracks.csv`, `tracks_mot.txt` and, where asked for, `annotated.mp4` into `folder`.

        The files appear when all of them are complete, in place of earlier ones.

        Args:
          model: a built `VideoModel` with trained weights.
          video: see `open_video`.
          view: what the model is shown.
          folder: exists.
          num_frames: of the video as far as it is known, for choosing examples and the progress line.
          seed: of the noise of models that have some.

        Returns:
          `frames` (their number), `frame_size` (rows, columns), `metrics` (`reconstruction` and `mse`, means over
          frames) and `examples` (arrays of example clips without annotations, see `reporting.examples`; the clips'
          first frames, counted from 0, under `first_frames`).

        Raises:
          UserError: see `VideoFile.frames`; also if the folder cannot be written. Nothing is left behind.
        """
        keys = (*KEYS, "what") if model.has_sprites else KEYS
        stream = VideoStream(model, chunk_frames=self.chunk_frames, reconstruction=True, object_keys=keys)
        waiting, seen = collections.deque(), []
        examples = _Examples(self.example_clips, self.example_frames, num_frames, model)
        sums, count, size = {}, 0, None
        tighten = self.tighten and view.choices.background != "none"
        bar = progress.bar(total=num_frames, desc="tracking", unit=" frames")

        def shown() -> Iterator[np.ndarray]:
            for frame in video.frames():
                resized = view.resized(frame)
                waiting.append((frame, view.foreground(resized) if tighten else None))
                seen.append(view.seen(resized))
                yield seen[-1][None]

        with contextlib.ExitStack() as stack:
            stack.enter_context(bar)
            outputs = _Files(stack, pathlib.Path(folder), self, video.frame_rate or self.frame_rate)
            for chunk in stream.chunks(shown(), seed=(seed, 0)):
                length = chunk["objects"]["pres"].shape[1]
                pictures = np.stack(seen[:length])
                del seen[:length]
                _add(sums, chunk, pictures)
                examples.add(count, pictures, chunk, view)
                for t in range(length):
                    frame, foreground = waiting.popleft()
                    size = size or frame.shape[:2]
                    outputs.add(frame, {key: chunk["objects"][key][0, t] for key in KEYS}, foreground)
                count += length
                bar.update(length)
            outputs.finish()
        metrics = {name: value / count for name, value in sums.items()}
        return {"frames": count, "frame_size": size, "metrics": metrics, "examples": examples.arrays()}


def rows_of(number: int, objects: dict, size: tuple[int, int]) -> list[tuple]:
    """(frame, id, left, top, width, height, presence) of the tracked objects of one frame, boxes cut to the frame.

    Args:
      number: of the frame, from 1.
      objects: `where [K,4]`, `pres [K,1]`, `track_id [K]`; ids are written from 1 on, as MOTChallenge wants them.
      size: (rows, columns) of the video.
    """
    where, rows = np.asarray(objects["where"], np.float64), []
    low, high = (where[:, :2] + sign * where[:, 2:] / 2 for sign in (-1, 1))
    low, high = (np.clip(edge, 0, 1) * size for edge in (low, high))
    for slot in np.flatnonzero(np.asarray(objects["track_id"]) >= 0):
        (top, left), (height, width) = low[slot], high[slot] - low[slot]
        if min(height, width) >= SMALLEST_SIDE:
            identity = int(objects["track_id"][slot]) + 1
            rows.append((number, identity, left, top, width, height, float(objects["pres"][slot, 0])))
    return rows


def tightened(rows: list[tuple], foreground: np.ndarray, size: tuple[int, int]) -> list[tuple]:
    """The `rows` of one frame (see `rows_of`) with boxes shrunk to the foreground inside of them.

    Rows and columns of pixels with less foreground than `SPECK` do not count; boxes without any stay as they are.

    Args:
      rows: in pixels of a frame of (rows, columns) `size`.
      foreground: `[h,w]` bool, of the frame at any size.
      size: see `rows`.
    """
    scale, result = np.divide(size, foreground.shape), []
    for number, identity, left, top, width, height, presence in rows:
        low = np.array([top, left]) / scale
        high = np.array([top + height, left + width]) / scale
        first, last = np.floor(low).astype(int), np.ceil(high).astype(int)
        inside = foreground[first[0] : last[0], first[1] : last[1]]
        extents = [np.flatnonzero(inside.sum(axis=1 - axis) >= SPECK) for axis in (0, 1)]
        if all(extent.size for extent in extents):
            # A pixel of the border counts as far as it is inside of the box.
            high = np.minimum(high, first + [extent[-1] + 1 for extent in extents])
            low = np.maximum(low, first + [extent[0] for extent in extents])
        (top, left), (height, width) = low * scale, (high - low) * scale
        result.append((number, identity, float(left), float(top), float(width), float(height), presence))
    return result


def without_doubles(rows: list[tuple], most_overlap: float) -> list[tuple]:
    """The `rows` of one frame (see `rows_of`) less those that overlap one of a smaller id by an IoU above the limit.

    This is non-maximum suppression with age in place of a score: the track that was there first goes on.
    """
    if not rows or most_overlap >= 1:
        return rows
    left, top, width, height = np.array(rows, np.float64)[:, 2:6].T
    edges = np.stack([top, top + height, left, left + width], axis=-1)
    overlap, kept = iou_matrix(edges, edges), []
    for k in sorted(range(len(rows)), key=lambda k: rows[k][1]):
        if not np.any(overlap[k, kept] > most_overlap):
            kept.append(k)
    return [rows[k] for k in sorted(kept)]


class _Files:
    """The files of a tracked video; they get their names when everything is on disk."""

    def __init__(self, stack: contextlib.ExitStack, folder: pathlib.Path, settings: Tracker, frame_rate: float):
        self._folder, self._settings, self._rate = folder, settings, frame_rate
        self._temporary = pathlib.Path(tempfile.mkdtemp(dir=folder, prefix=".tracking.", suffix=".unfinished"))
        stack.callback(shutil.rmtree, self._temporary, ignore_errors=True)
        texts = [self._temporary / name for name in (TRACKS, MOT)]
        self._tracks, self._mot = (path.open("w", encoding="utf-8") for path in texts)
        for stream in (self._tracks, self._mot):
            stack.callback(_close, stream)
        self._tracks.write(",".join(video_tracks.TRACKS_HEADER) + "\n")
        self._film, self._count = None, 0
        self._delayed = collections.deque()  # frames whose tracks may still be found too short
        self._length: dict[int, int] = {}
        self._last_seen: dict[int, int] = {}

    def add(self, frame: np.ndarray, objects: dict, foreground: np.ndarray | None) -> None:
        """One more frame `[H,W,3]` with its objects; `foreground`: see `tightened`, None to leave boxes as they are."""
        self._count += 1
        rows = rows_of(self._count, objects, frame.shape[:2])
        if foreground is not None:
            rows = tightened(rows, foreground, frame.shape[:2])
        rows = without_doubles(rows, self._settings.most_overlap)
        for row in rows:
            self._length[row[1]] = self._length.get(row[1], 0) + 1
            self._last_seen[row[1]] = self._count
        self._delayed.append((frame, rows))
        if len(self._delayed) >= self._settings.least_frames:
            self._write()
        if self._count % 1000 == 0:  # ids never come back: what was written and is long gone need not be remembered
            old = [k for k, last in self._last_seen.items() if last < self._count - self._settings.least_frames]
            for identity in old:
                del self._length[identity], self._last_seen[identity]

    def finish(self) -> None:
        """Write what is left and give the files their names."""
        while self._delayed:
            self._write()
        try:
            for stream in (self._tracks, self._mot):
                stream.flush()
                os.fsync(stream.fileno())
                stream.close()
            if self._film is not None:
                self._film.release()
                self._check_film()
            for name in (TRACKS, MOT, ANNOTATED):
                if (self._temporary / name).exists():
                    os.replace(self._temporary / name, self._folder / name)
        except OSError as error:
            raise files.cannot_write(self._folder, error) from error

    def _write(self) -> None:
        frame, rows = self._delayed.popleft()
        rows = [row for row in rows if self._length[row[1]] >= self._settings.least_frames]
        try:
            for number, identity, left, top, width, height, presence in rows:
                box = ",".join(f"{value:.2f}" for value in (left, top, width, height))
                self._tracks.write(f"{number},{identity},{box},{presence:.4f}\n")
                self._mot.write(f"{number},{identity},{box},{presence:.4f},-1,-1,-1\n")
        except OSError as error:
            raise files.cannot_write(self._folder / TRACKS, error) from error
        if self._settings.annotate:
            self._draw(frame, rows)

    def _draw(self, frame: np.ndarray, rows) -> None:
        if self._film is None:
            self._factor = int(np.clip(round(self._settings.annotated_width / frame.shape[1]), 1, 4))
            # The codec takes no odd sides.
            self._even = tuple(self._factor * side + self._factor * side % 2 for side in frame.shape[:2])
            code = cv2.VideoWriter_fourcc(*self._settings.codec)
            path = str(self._temporary / ANNOTATED)
            self._film = cv2.VideoWriter(path, code, self._rate, (self._even[1], self._even[0]))
            if not self._film.isOpened():
                raise UserError(
                    f"the video with boxes cannot be written as '{self._settings.codec}' of {self._even[1]}x"
                    f"{self._even[0]} pixels to {self._folder}; free space, or bind another Tracker.codec, or "
                    "Tracker.annotate = False"
                )
        image = draw(frame, rows, self._factor)
        padding = [(0, even - side) for even, side in zip(self._even, image.shape[:2], strict=True)]
        self._film.write(np.pad(image, [*padding, (0, 0)], mode="edge")[..., ::-1])

    def _check_film(self) -> None:
        """OpenCV's writer does not say when the disk is full."""
        capture = cv2.VideoCapture(str(self._temporary / ANNOTATED))
        written = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if written != self._count:
            raise UserError(
                f"the video with boxes could not be written to {self._folder}: {max(written, 0)} of {self._count} "
                "frames are in it; expected a writable folder with free space: choose another --out or free space"
            )


def _close(stream) -> None:
    """Close a file that is given up or closed already; what cannot be written any more is not worth an error."""
    with contextlib.suppress(OSError):
        stream.close()


def draw(frame: np.ndarray, rows, factor: int = 1) -> np.ndarray:
    """A frame `[H,W,3]` uint8, `factor` times as large, with the boxes and ids of its `rows` (see `rows_of`)."""
    height, width = frame.shape[:2]
    image = Image.fromarray(frame) if factor == 1 else drawing.upscale(frame, factor)
    if rows:
        table = np.array(rows, np.float64)
        left, top, wide, high = table[:, 2:6].T
        boxes = np.stack([(top + high / 2) / height, (left + wide / 2) / width, high / height, wide / width], axis=-1)
        objects = Objects(
            boxes[None], np.ones((1, len(rows))), table[None, :, 1].astype(int), np.zeros((1, len(rows)), bool)
        )
        # On tiny frames numbers would hide everything.
        drawing.draw_objects(
            image, objects, 0, threshold=0.0, width=max(1, round(image.width / 400)), tags=image.width >= 160
        )
    return np.asarray(image)


class _Examples:
    """Picks a few stretches of the video for the report."""

    def __init__(self, clips: int, length: int, num_frames: int | None, model):
        total = num_frames or clips * length
        clips = min(clips, max(1, total // length)) if clips else 0
        length = min(length, total)
        self.first = np.unique(np.linspace(0, total - length, clips).round().astype(int)).tolist() if clips else []
        self._length, self._parts, self._model = length, [[] for _ in self.first], model

    def add(self, start: int, pictures: np.ndarray, chunk: dict, view: VideoView) -> None:
        for first, parts in zip(self.first, self._parts, strict=True):
            for t in range(max(0, first - start), min(len(pictures), first + self._length - start)):
                rebuilt = chunk["reconstruction"][0, t]
                objects = {key: chunk["objects"][key][0, t] for key in KEYS}
                if self._model.has_sprites:
                    decoded = sprites.record(self._model, chunk["objects"]["what"][0, t], objects["pres"][..., 0])
                    colour = view.shown_alone(np.float32(decoded[..., :3]) / 255)
                    opacity = decoded[..., 3:]
                    objects["sprites"] = np.concatenate([np.where(opacity > 0, colour, 0), opacity], axis=-1)
                parts.append((view.shown(pictures[t]), view.shown(rebuilt), objects))

    def arrays(self) -> dict[str, np.ndarray]:
        whole = [(n, parts) for n, parts in zip(self.first, self._parts, strict=True) if len(parts) == self._length]
        if not whole:
            return {}
        video, rebuilt = (np.stack([[part[i] for part in parts] for _, parts in whole]) for i in (0, 1))
        names = whole[0][1][0][2]
        stacked = {name: np.stack([[part[2][name] for part in parts] for _, parts in whole]) for name in names}
        drawn = {"sprites": stacked["sprites"]} if "sprites" in stacked else {}
        return drawn | {
            "video": video,
            "reconstruction": rebuilt,
            "boxes": stacked["where"],
            "pres": stacked["pres"][..., 0],
            "depth": stacked["depth"][..., 0],
            "track_id": np.where(stacked["track_id"] >= 0, stacked["track_id"] + 1, -1),
            "is_new": stacked["is_new"],
            "first_frames": np.array([first for first, _ in whole]),
        }


def _add(sums: dict, chunk: dict, pictures: np.ndarray) -> None:
    batch = {"video": pictures[None], "frame_mask": np.ones((1, len(pictures)), bool)}
    for name, value in reconstruction.metrics(chunk, batch).items():
        sums[name] = sums.get(name, 0.0) + value * len(pictures)
