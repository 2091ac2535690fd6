"""The files of a tracked video: its tracks as text, and the video with boxes; memory does not grow with its length."""

import collections
import contextlib
import os
import pathlib
import shutil
import tempfile

# What goes wrong with the film is said here, in one line; FFmpeg would say it in its own words beside it.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np
from PIL import Image

from silot_tf import files
from silot_tf.errors import UserError
from silot_tf.evaluation import video_tracks
from silot_tf.evaluation.frame_tracks import FrameTracks
from silot_tf.reporting import drawing
from silot_tf.reporting.examples import Objects

TRACKS, MOT, ANNOTATED = "tracks.csv", "tracks_mot.txt", "annotated.mp4"


class TrackFiles:
    """Written frame by frame; the files get their names when everything is on disk.

    Args:
      stack: closes and removes what is not finished.
      folder: exists.
      settings: a `Tracker`.
      frame_rate: of the video with boxes, frames per second.
    """

    def __init__(self, stack: contextlib.ExitStack, folder: pathlib.Path, settings, frame_rate: float):
        self._folder, self._settings, self._rate = folder, settings, frame_rate
        files.remove_unfinished(folder)
        self._temporary = pathlib.Path(tempfile.mkdtemp(dir=folder, prefix=".tracking.", suffix=".unfinished"))
        stack.callback(shutil.rmtree, self._temporary, ignore_errors=True)
        texts = [self._temporary / name for name in (TRACKS, MOT)]
        self._tracks, self._mot = (path.open("w", encoding="utf-8") for path in texts)
        for stream in (self._tracks, self._mot):
            stack.callback(_close, stream)
        self._tracks.write(",".join(video_tracks.TRACKS_HEADER) + "\n")
        self._film, self._count, self._written = None, 0, 0
        self._delayed = collections.deque()  # frames whose tracks may still be found too short
        self._length: dict[int, int] = {}
        self._last_seen: dict[int, int] = {}

    def add(self, frame: np.ndarray, tracks: FrameTracks) -> None:
        """One more frame `[H,W,3]` with its tracks."""
        self._count += 1
        for identity in tracks.track_id.tolist():
            self._length[identity] = self._length.get(identity, 0) + 1
            self._last_seen[identity] = self._count
        self._delayed.append((frame, tracks))
        if len(self._delayed) >= self._settings.least_frames:
            self._write()
        if self._count % 1000 == 0:  # ids do not come back after long: what is written and gone need not be remembered
            longest = max(self._settings.least_frames, self._settings.reconnect_frames)
            old = [k for k, last in self._last_seen.items() if last < self._count - longest]
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
                else:  # a film of earlier tracks would not be of these
                    (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise files.cannot_write(self._folder, error) from error

    def _write(self) -> None:
        frame, tracks = self._delayed.popleft()
        self._written += 1
        lengths = np.array([self._length[identity] for identity in tracks.track_id.tolist()], int)
        tracks = tracks.chosen(lengths >= self._settings.least_frames)
        try:
            for identity, (top, bottom, left, right), presence in zip(
                tracks.track_id, tracks.edges, tracks.presence, strict=True
            ):
                box = ",".join(f"{value:.2f}" for value in (left, top, right - left, bottom - top))
                self._tracks.write(f"{self._written},{identity},{box},{presence:.4f}\n")
                self._mot.write(f"{self._written},{identity},{box},{presence:.4f},-1,-1,-1\n")
        except OSError as error:
            raise files.cannot_write(self._folder / TRACKS, error) from error
        if self._settings.annotate:
            self._draw(frame, tracks)

    def _draw(self, frame: np.ndarray, tracks: FrameTracks) -> None:
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
        image = draw(frame, tracks, self._factor)
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


def draw(frame: np.ndarray, tracks: FrameTracks, factor: int = 1) -> np.ndarray:
    """A frame `[H,W,3]` uint8, `factor` times as large, with boxes and ids."""
    image = Image.fromarray(frame) if factor == 1 else drawing.upscale(frame, factor)
    if len(tracks):
        boxes = tracks.where(frame.shape[:2])[None]
        nothing = np.zeros((1, len(tracks)), bool)
        objects = Objects(boxes, np.ones_like(nothing, float), tracks.track_id[None], nothing)
        # On tiny frames numbers would hide everything.
        drawing.draw_objects(
            image, objects, 0, threshold=0.0, width=max(1, round(image.width / 400)), tags=image.width >= 160
        )
    return np.asarray(image)
