"""Videos of one's own, frame after frame: any file that FFmpeg reads, or a folder of images.

Only one frame is in memory at a time. Whatever the file holds (grey, with transparency, 10 or 16 bits), frames come out
as RGB of 8 bits; that they were converted is said once.
"""

import dataclasses
import functools
import hashlib
import pathlib
import re
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from absl import logging

from silot_tf.data import coded_video
from silot_tf.errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2")
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
        read = _frames_of_folder if self.path.is_dir() else coded_video.frames
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
    _check_is_film(path)
    with coded_video.opened(path) as (container, stream):
        rate, count = coded_video.declared(container, stream)
    if next(coded_video.frames(path, lambda message: None), None) is None:
        raise UserError(f"{path} has no frame that can be read; expected a video with at least one frame")
    return VideoFile(path, rate, count)


def _frames_of_folder(folder: pathlib.Path, say: Callable[[str], None]) -> Iterator[np.ndarray]:
    for path in _images_in(folder):
        # The data are read first: OpenCV does not say whether a file is unreadable or no image.
        frame = cv2.imdecode(np.frombuffer(path.read_bytes() or b"\0", np.uint8), cv2.IMREAD_UNCHANGED)
        if frame is None:
            raise UserError(f"{path} cannot be read as an image; expected a folder of whole images: mend or remove it")
        yield as_rgb(frame, str(folder), say)


def as_rgb(frame: np.ndarray, folder: str, say: Callable[[str], None] = lambda message: None) -> np.ndarray:
    """`[H,W,3]` RGB uint8 of what OpenCV reads: `[H,W]` or `[H,W,C]`, blue first, uint8, uint16 or float in [0, 1].

    Transparent pixels are shown over black, 16-bit values divided by 257.

    Args:
      frame: as read.
      folder: what messages call the place where it comes from; others there may be of another kind.
      say: called with one sentence for each conversion.
    """
    if frame.dtype == np.uint16:
        say(f"{folder} holds images of 16 bits per channel; they are reduced to 8 bits")
        frame = np.round(frame / 257.0).astype(np.uint8)
    elif frame.dtype != np.uint8:
        say(f"{folder} holds images of {frame.dtype} values; they are reduced to 8 bits")
        frame = np.round(np.clip(np.nan_to_num(frame.astype(np.float64)), 0, 1) * 255).astype(np.uint8)
    if frame.ndim == 2 or frame.shape[-1] == 1:
        say(f"{folder} holds grey images; they are taken as three equal channels")
        return np.repeat(frame.reshape(*frame.shape[:2], 1), 3, axis=-1)
    if frame.shape[-1] == 4:
        tell = functools.partial(say, f"{folder} holds images with transparency; they are shown over black")
        frame = coded_video.over_black(frame, tell)
    return np.ascontiguousarray(frame[..., ::-1])


def _images_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """Images of a folder by the numbers in their names: frame 9 comes before frame 10."""

    def key(path):
        return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name) if part]

    found = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    if not found:
        raise UserError(f"folder {folder} holds no images; expected frames as {', '.join(IMAGE_SUFFIXES)} files")
    return sorted(found, key=key)


def _check_is_film(path: pathlib.Path) -> None:
    """FFmpeg takes any text for a film in characters, and a single image for a film of one frame."""
    try:
        with open(path, "rb") as stream:
            beginning = stream.read(_SNIFFED)
    except OSError as error:
        raise UserError(f"video {path} cannot be read ({error}); expected a file that may be read") from error
    if not beginning:
        raise UserError(f"{path} is empty; expected a video file: copy it again")
    if _is_text(beginning) or path.suffix.lower() in IMAGE_SUFFIXES:
        hint = "; of single images give the folder" if path.suffix.lower() in IMAGE_SUFFIXES else ""
        raise UserError(f"{path} is not a video; expected a file that FFmpeg reads (mp4, avi, mkv, ...){hint}")


def _is_text(data: bytes) -> bool:
    if b"\0" in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start > len(data) - 4 and len(data) == _SNIFFED  # cut inside of a character
    return True
