"""The still image behind the frames of a static camera: what every pixel usually shows, counted over frames."""

import io
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from silot_tf import files
from silot_tf.errors import UserError

STATISTICS = ("median", "mode")
#: What a 16-bit counter can hold.
MOST_FRAMES = 2**16 - 1


class StillImage:
    """Counts, for every pixel and channel, how often each of 256 values was seen.

    Frames may be crops at known places of larger frames. Memory: half a kilobyte per pixel and channel, 52 MB for
    210x160 pixels.
    """

    def __init__(self):
        self.num_frames = 0
        self._counts = np.zeros((0, 0, 3, 256), np.uint16)

    def add(self, video, crop_offset=None, frame_mask=None) -> None:
        """Count the frames of some clips.

        Args:
          video: `[B,T,H,W,3]`, uint8, or floats in [0, 1] (counted in steps of 1/255).
          crop_offset: `[B,2]` (y, x) pixel of the frames' top-left corner inside the uncropped frames, None for zeros.
          frame_mask: `[B,T]` bool, False for frames to leave out; None for none.
        """
        video = np.asarray(video)
        if video.dtype != np.uint8:
            video = np.round(video * np.float32(255)).astype(np.uint8)
        clips, frames, height, width = video.shape[:4]
        offsets = np.zeros((clips, 2), int) if crop_offset is None else np.asarray(crop_offset).astype(int)
        mask = np.ones((clips, frames), bool) if frame_mask is None else np.asarray(frame_mask)
        self._grow(*(offsets + np.array([height, width])).max(axis=0, initial=0))
        channel = np.arange(3)
        for clip, (top, left), used in zip(video, offsets, mask, strict=True):
            rows, columns = np.arange(top, top + height)[:, None, None], np.arange(left, left + width)[:, None]
            for image in clip[used]:
                if self.num_frames == MOST_FRAMES:
                    raise UserError(f"more than {MOST_FRAMES} frames cannot be counted; record from fewer clips")
                self._counts[rows, columns, channel, image] += 1  # no entry twice within one frame
                self.num_frames += 1

    def image(self, statistic: str = "median") -> np.ndarray:
        """Image `[H,W,3]` uint8 of the uncropped frames.

        Args:
          statistic: of each pixel and channel over all frames that show it: "median" (the lower one of an even number)
            or "mode" (the lowest of equally frequent values), which also finds what is seen less than half of the time.

        Raises:
          UserError: for an unknown statistic, without frames, or if some pixel was never seen.
        """
        if statistic not in STATISTICS:
            raise UserError(f"statistic '{statistic}' is unknown; expected one of {', '.join(STATISTICS)}")
        seen = self._counts[:, :, 0].sum(axis=-1, dtype=np.int64)
        if not seen.size or not seen.all():
            raise UserError(
                f"{np.sum(seen == 0)} of {seen.size} pixels are in none of the {self.num_frames} frames; record from "
                "more clips, or from uncropped ones"
            )
        if statistic == "mode":
            return self._counts.argmax(axis=-1).astype(np.uint8)
        image = np.empty(self._counts.shape[:3], np.uint8)
        for row, counts in enumerate(self._counts):  # the sums of the whole image would take much memory
            image[row] = (2 * counts.cumsum(axis=-1, dtype=np.int64) >= seen[row][:, None, None]).argmax(axis=-1)
        return image

    def _grow(self, rows: int, columns: int) -> None:
        """Make room for uncropped frames of at least this size."""
        old = self._counts.shape[:2]
        if rows > old[0] or columns > old[1]:
            padding = [(0, max(0, new - size)) for new, size in zip((rows, columns), old, strict=True)]
            self._counts = np.pad(self._counts, [*padding, (0, 0), (0, 0)])


def record(batches: Iterable[Mapping], num_clips: int = 256, statistic: str = "median") -> np.ndarray:
    """Image `[H,W,3]` uint8 behind the first `num_clips` clips of some batches (see `silot_tf.contracts`).

    Raises:
      UserError: see `StillImage.image`.
    """
    still, left = StillImage(), num_clips
    for batch in batches:
        part = {key: np.asarray(batch[key])[:left] for key in ("video", "crop_offset", "frame_mask") if key in batch}
        still.add(**part)
        left -= len(part["video"])
        if left <= 0:
            break
    return still.image(statistic)


def write(path, image: np.ndarray) -> pathlib.Path:
    """Write an image `[H,W,3]` uint8 as `.npy` or `.png`, as the name says; return the path.

    Raises:
      UserError: for another name, or if the folder cannot be written.
    """
    path, buffer = pathlib.Path(path), io.BytesIO()
    if path.suffix == ".npy":
        np.save(buffer, image, allow_pickle=False)
    elif path.suffix == ".png":
        from PIL import Image  # not at the top: needed for this kind of file only

        Image.fromarray(image).save(buffer, format="png")
    else:
        raise UserError(f"{path} is no name for a recorded image; expected one that ends in .npy or .png")
    return files.write_atomic(path, buffer.getvalue())
