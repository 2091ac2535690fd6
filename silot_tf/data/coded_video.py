"""Frames of a coded video file, read with FFmpeg (PyAV) so that each has the size it has in the file.

OpenCV reads the same files with the same library, but stretches every frame to the size of the first.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator

import av
import numpy as np

from silot_tf.errors import UserError

# What a damaged file is worth saying is said by us, once; FFmpeg would say it for every frame.
av.logging.set_level(None)


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[tuple]:
    """The open container of a file and its first video stream, cover pictures aside.

    Raises:
      UserError: if the file cannot be opened as a video.
    """
    try:
        # An absolute path is never taken for an address, whatever the name.
        container = av.open(str(path.absolute()), metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _unreadable(path) from error
    with container:
        films = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not films or films[0].codec_context is None:
            raise _unreadable(path)
        yield container, films[0]


def declared(container, stream) -> tuple[float | None, int | None]:
    """(frames per second, number of frames) as a file says or implies them, None where it does not."""
    rate = float(stream.guessed_rate or stream.average_rate or 0)
    if not 0 < rate < 1000:
        rate = None
    count = stream.frames
    if not count and rate:
        if stream.duration and stream.time_base:
            count = round(float(stream.duration * stream.time_base) * rate)
        elif container.duration:
            count = round(container.duration / av.time_base * rate)
    return rate, count if 0 < count < 2**31 else None


def frames(path: pathlib.Path, say: Callable[[str], None]) -> Iterator[np.ndarray]:
    """Yields frames `[H,W,3]` RGB uint8, upright where the file says how it was held; sizes may differ.

    What cannot be decoded is left out: nothing is yielded for it.

    Args:
      path: of the file.
      say: called with one sentence for each conversion, perhaps for every frame.

    Raises:
      UserError: see `opened`.
    """
    with opened(path) as (container, stream):
        converter = av.video.reformatter.VideoReformatter()  # frames would begin with a new one each
        for frame in _decoded(container, stream):
            yield _as_rgb(frame, converter, path, say, stream.codec_context.name)


def _decoded(container, stream) -> Iterator:
    """Frames as the codec gives them. Threads divide frames only (PyAV's default), so errors are their packet's own."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError):
            packet = None  # cut short: what was read is still to come out of the codec
        try:
            found = stream.decode(packet)
        except EOFError:
            return  # it has already come out
        except (av.FFmpegError, OSError):
            found = []
        yield from found
        if packet is None:
            return


def _as_rgb(frame, converter, path: pathlib.Path, say: Callable[[str], None], codec: str) -> np.ndarray:
    """`[H,W,3]` RGB uint8 of a decoded frame, turned upright."""
    pixel = frame.format
    colours = [component for component in pixel.components if not component.is_alpha]
    # The fourth byte of uncompressed frames is as often a filler as it is opacity.
    clear = len(colours) < len(pixel.components) and codec != "rawvideo"
    if (bits := max(component.bits for component in colours)) > 8:
        say(f"{path} has {bits} bits per channel; its frames are reduced to 8 bits")
    if len(colours) == 1 and not pixel.has_palette:
        say(f"{path} is grey; its frames are taken as three equal channels")
    image = converter.reformat(frame, format="rgba" if clear else "rgb24").to_ndarray()
    if clear:
        image = over_black(image, lambda: say(f"{path} has transparency; its frames are shown over black"))
    turns = round(frame.rotation / 90) % 4  # counterclockwise, as it is to be shown
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def over_black(image: np.ndarray, tell: Callable[[], None]) -> np.ndarray:
    """`[H,W,3]` uint8 of colours with opacity `[H,W,4]` uint8; `tell` is called if any pixel is transparent."""
    if (image[..., 3] == 255).all():
        return np.ascontiguousarray(image[..., :3])
    tell()
    return np.round(image[..., :3] * (image[..., 3:] / 255.0)).astype(np.uint8)


def _unreadable(path: pathlib.Path) -> UserError:
    return UserError(
        f"{path} cannot be read as a video: its format is unknown, or it is damaged or cut short (an mp4 that lacks "
        "its end cannot be opened); expected a whole file that FFmpeg reads: copy it again, or convert it"
    )
