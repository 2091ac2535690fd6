"""Videos of one's own, frame after frame: any file that OpenCV reads, or a folder of images.

Only one frame is in memory at a time. Whatever the file holds (grey, with transparency, 16 bits), frames come out as
RGB of 8 bits; that they were converted is said once.
"""

import dataclasses
import hashlib
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterator

# What a damaged file is worth saying is said here, once; FFmpeg would say it for every frame.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np
from absl import logging

from silot_tf.errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2")
GREY_FORMATS = (b"Y800", b"GREY", b"Y16 ", b"Y1\x00\x10")
_SNIFFED = 4096  # bytes
_FINGERPRINTED = 1 << 20  # bytes at either end of a file


@dataclasses.dataclass(frozen=True)
class VideoFile:
    """A video that can be read, from its first frame, as often as needed.

    Attributes:
      path: file or folder.
      frame_rate: frames per second, None where nothing says it (folders).
      declared_frames: how many frames the file says it has, or the folder has; None where it does not say.
    """

    path: pathlib.Path
    frame_rate: float | None
    declared_frames: int | None
    _said: set = dataclasses.field(default_factory=set, repr=False, compare=False)

    def frames(self) -> Iterator[np.ndarray]:
        """Yields frames `[H,W,3]` RGB uint8, all of the size of the first.

        Raises:
          UserError: if there is no frame at all, if a frame has another size than the first, or (in a folder) if an
            image cannot be read.
        """
        read = _frames_of_folder if self.path.is_dir() else _frames_of_file
        size, number = None, 0
        for number, frame in enumerate(read(self.path, self._say_once), start=1):
            if size is None:
                size = frame.shape[:2]
            elif frame.shape[:2] != size:
                raise UserError(
                    f"{self.path}: frame {number} has {frame.shape[0]}x{frame.shape[1]} pixels (rows x columns), those "
                    f"before it {size[0]}x{size[1]}; expected frames of one size: cut the video there, or convert it "
                    "to one size first"
                )
            yield frame
        if not number:
            raise UserError(f"{self.path} has no frame that can be read; expected a video with at least one frame")
        if self.declared_frames and number < self.declared_frames:
            self._say_once(
                f"{self.path} says that it has {self.declared_frames} frames, only {number} of them can be read (cut "
                "short or damaged?); going on with these"
            )

    def fingerprint(self) -> str:
        """Checksum that tells this video from others: of sizes, and of the first and last megabyte of every file."""
        digest = hashlib.sha256()
        for path in _images_in(self.path) if self.path.is_dir() else [self.path]:
            size = path.stat().st_size
            digest.update(f"{path.name if self.path.is_dir() else ''}:{size}:".encode())
            with open(path, "rb") as stream:
                digest.update(stream.read(_FINGERPRINTED))
                stream.seek(max(0, size - _FINGERPRINTED))
                digest.update(stream.read())
        return digest.hexdigest()

    def _say_once(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            logging.warning("%s", message)


def open_video(path) -> VideoFile:
    """The video in a file or a folder of images (taken in the order of the numbers in their names).

    Raises:
      UserError: if there is nothing at `path`, or nothing that can be read as a video.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        return VideoFile(path, None, len(_images_in(path)))
    if not path.is_file():
        raise UserError(f"video {path} does not exist; expected a video file, or a folder of images")
    with _quiet(), _opened(path) as capture:
        rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        readable, _ = capture.read()
    if not readable:
        raise UserError(f"{path} has no frame that can be read; expected a video with at least one frame")
    return VideoFile(path, rate if 0 < rate < 1000 else None, int(count) if 0 < count < 2**31 else None)


def _frames_of_file(path: pathlib.Path, say: Callable[[str], None]) -> Iterator[np.ndarray]:
    with _opened(path) as capture:
        pixel_format = int(capture.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)) % 2**32
        if pixel_format.to_bytes(4, "little") in GREY_FORMATS:
            say(f"{path} is grey; its frames are taken as three equal channels")
        while True:
            with _quiet():
                found, frame = capture.read()
            if not found:
                return
            yield as_rgb(frame, str(path), say)


def _frames_of_folder(folder: pathlib.Path, say: Callable[[str], None]) -> Iterator[np.ndarray]:
    for path in _images_in(folder):
        # The data are read first: OpenCV does not say whether a file is unreadable or no image.
        frame = cv2.imdecode(np.frombuffer(path.read_bytes() or b"\0", np.uint8), cv2.IMREAD_UNCHANGED)
        if frame is None:
            raise UserError(f"{path} cannot be read as an image; expected a folder of whole images: mend or remove it")
        yield as_rgb(frame, str(folder), say)


def as_rgb(frame: np.ndarray, source: str, say: Callable[[str], None] = lambda message: None) -> np.ndarray:
    """`[H,W,3]` RGB uint8 of what OpenCV reads: `[H,W]` or `[H,W,C]`, blue first, uint8, uint16 or float in [0, 1].

    Transparent pixels are shown over black, 16-bit values divided by 257.

    Args:
      frame: as read.
      source: what messages call it.
      say: called with one sentence for each conversion.
    """
    if frame.dtype == np.uint16:
        say(f"{source} has 16 bits per channel; its frames are reduced to 8 bits")
        frame = np.round(frame / 257.0).astype(np.uint8)
    elif frame.dtype != np.uint8:
        say(f"{source} has {frame.dtype} values; its frames are reduced to 8 bits")
        frame = np.round(np.clip(np.nan_to_num(frame.astype(np.float64)), 0, 1) * 255).astype(np.uint8)
    if frame.ndim == 2 or frame.shape[-1] == 1:
        say(f"{source} is grey; its frames are taken as three equal channels")
        return np.repeat(frame.reshape(*frame.shape[:2], 1), 3, axis=-1)
    if frame.shape[-1] == 4:
        say(f"{source} has transparency; its frames are shown over black")
        frame = np.round(frame[..., :3] * (frame[..., 3:] / 255.0)).astype(np.uint8)
    return np.ascontiguousarray(frame[..., 2::-1])


def _images_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """Images of a folder by the numbers in their names: frame 9 comes before frame 10."""

    def key(path):
        return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name) if part]

    found = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    if not found:
        raise UserError(f"folder {folder} holds no images; expected frames as {', '.join(IMAGE_SUFFIXES)} files")
    return sorted(found, key=key)


class _opened:
    """The capture of a file that is a video, released at the end."""

    def __init__(self, path: pathlib.Path):
        with open(path, "rb") as stream:
            beginning = stream.read(_SNIFFED)
        # FFmpeg takes any text for a film in characters, and a single image for a film of one frame.
        if not beginning or _is_text(beginning) or path.suffix.lower() in IMAGE_SUFFIXES:
            hint = "; of single images give the folder" if path.suffix.lower() in IMAGE_SUFFIXES else ""
            raise UserError(f"{path} is not a video; expected a file that OpenCV reads (mp4, avi, mkv, ...){hint}")
        with _quiet():
            self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise UserError(
                f"{path} cannot be read as a video: its format is unknown, or it is damaged or cut short (an mp4 that "
                "lacks its end cannot be opened); expected a whole file: copy it again, or convert it"
            )

    def __enter__(self):
        return self._capture

    def __exit__(self, *_):
        self._capture.release()


def _is_text(data: bytes) -> bool:
    if b"\0" in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start > len(data) - 4 and len(data) == _SNIFFED  # cut inside of a character
    return True


class _quiet:
    """Keeps OpenCV's own messages back: they come in several lines, beside the one that is ours."""

    def __enter__(self):
        sys.stderr.flush()
        self._level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

    def __exit__(self, *_):
        cv2.utils.logging.setLogLevel(self._level)
