"""The file of one recorded episode: frames without loss at a fraction of a kilobyte each, actions, rewards, labels.

An episode is an npz file (a zip archive of plain arrays, nothing that could run code):

* `frames`: chunks of `CHUNK` frames one after the other, see `silot_tf.data.packing`; `chunk_ends`: where each ends.
* `actions`, `rewards`: row t belongs to the step that led to frame t.
* `labels.*`: see `silot_tf.data.packing`.
* `header`: JSON text: format version, shapes, checksum of the content, the recorder's notes on the episode.

The same content gives the same bytes, with the same version of zlib; the checksum of the content holds without that.
"""

import hashlib
import io
import json
import pathlib
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np

from silot_tf import files
from silot_tf.data.packing import decode_frames, encode_frames, pack_labels, unpack_labels
from silot_tf.errors import UserError

FORMAT_VERSION = 1
CHUNK = 16
NO_ACTION = -1  # of the first frame, which no action led to


class EpisodeWriter:
    """An episode while it is recorded; frames are compressed as they come, so that long ones need little memory."""

    def __init__(self):
        self.frame_shape = None
        self._actions, self._rewards = [], []
        self._chunks, self._waiting = [], []
        self._hash = hashlib.sha256()

    @property
    def num_frames(self) -> int:
        """Frames added so far."""
        return len(self._rewards)

    @property
    def score(self) -> float:
        """Sum of the rewards so far."""
        return float(sum(self._rewards))

    def add(self, frame: np.ndarray, action=NO_ACTION, reward: float = 0.0) -> None:
        """Append one frame.

        Args:
          frame: uint8 `[H,W,3]`, RGB; copied.
          action: what led to this frame; `NO_ACTION` for the first one.
          reward: of that action.

        Raises:
          UserError: if the frame is something else, or of another size than the first.
        """
        frame = np.array(frame)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
            raise UserError(
                f"a frame to record is {frame.dtype} of shape {list(frame.shape)}; expected uint8 [height, width, 3]"
            )
        self.frame_shape = self.frame_shape or frame.shape
        if frame.shape != self.frame_shape:
            raise UserError(
                f"frame {self.num_frames} is of shape {list(frame.shape)}, the episode's first of "
                f"{list(self.frame_shape)}; expected frames of one size: record raw frames, before any resizing"
            )
        self._hash.update(frame.tobytes())
        self._waiting.append(frame)
        self._actions.append(action)
        self._rewards.append(float(reward))
        if len(self._waiting) == CHUNK:
            self._compress()

    def iterate(self) -> Iterator[np.ndarray]:
        """The frames added so far, one after the other, uint8 `[H,W,3]` each."""
        for chunk in self._chunks:
            yield from decode_frames(chunk, self.frame_shape)
        yield from self._waiting

    def save(self, path, labels: dict[str, np.ndarray] | None = None, notes: dict | None = None) -> dict:
        """Write the file, whole or not at all; return its entry for a manifest.

        Args:
          path: of the file.
          labels: see `pack_labels`; None for none.
          notes: about this episode, JSON-serialisable; kept in the header, and returned as part of the entry.

        Returns:
          dict with `file` (name), `bytes`, `sha256` (of the file), `content_sha256` (of frames, actions and rewards,
          however compressed), `frames` and the notes.

        Raises:
          UserError: if there are no frames, if labels do not fit them, or if the file cannot be written.
        """
        if not self.num_frames:
            raise UserError(f"{path}: an episode without frames was to be recorded; expected at least one frame")
        if self._waiting:
            self._compress()
        actions = np.asarray(self._actions)
        actions = actions.astype(np.int32 if actions.dtype.kind in "biu" else np.float32)
        rewards = np.asarray(self._rewards, np.float32)
        content = self._hash.copy()
        for array in (actions, rewards):
            content.update(array.tobytes())
        arrays = {
            "frames": np.frombuffer(b"".join(self._chunks), np.uint8),
            "chunk_ends": np.cumsum([len(chunk) for chunk in self._chunks]),
            "actions": actions,
            "rewards": rewards,
        }
        layout = None
        if labels is not None:
            packed, layout = pack_labels(labels, self.num_frames)
            arrays |= {f"labels.{key}": value for key, value in packed.items()}
        header = {
            "format": FORMAT_VERSION,
            "frames": self.num_frames,
            "frame_shape": list(self.frame_shape),
            "chunk": CHUNK,
            "content_sha256": content.hexdigest(),
            "labels": layout,
            "notes": notes or {},
        }
        arrays["header"] = np.frombuffer(json.dumps(header, sort_keys=True).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        data = buffer.getvalue()
        write_file(path, data)
        return _entry(pathlib.Path(path), data, header)

    def _compress(self) -> None:
        self._chunks.append(encode_frames(np.stack(self._waiting)))
        self._waiting = []


class EpisodeFile:
    """A recorded episode on disk; reads what is asked for.

    Args:
      path: of the file.
      cure: what to do when it cannot be read, for error messages.

    Raises:
      UserError: if there is no such file, or something else in it.
    """

    def __init__(self, path, cure: str = "record the episode again"):
        self.path, self._cure = pathlib.Path(path), cure
        self._packed = None  # compressed frames and where chunks end; small, and clips are asked for at random
        self.header = json.loads(self._read("header")["header"].tobytes())
        if self.header.get("format") != FORMAT_VERSION:
            raise UserError(
                f"{path} has format version {self.header.get('format')}, expected {FORMAT_VERSION}; {cure}, or use "
                "the version of silot_tf that recorded it"
            )

    @property
    def num_frames(self) -> int:
        """E."""
        return self.header["frames"]

    def frames(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """uint8 `[stop - start,H,W,3]`: frames `start` to `stop - 1`, all by default; reads only their chunks."""
        start, stop, _ = slice(start, stop).indices(self.num_frames)
        shape = tuple(self.header["frame_shape"])
        if stop <= start:
            return np.empty((0, *shape), np.uint8)
        if self._packed is None:
            stored = self._read("frames", "chunk_ends")
            self._packed = stored["frames"].tobytes(), [0, *stored["chunk_ends"].tolist()]
        data, ends = self._packed
        size, parts = self.header["chunk"], []
        for chunk in range(start // size, (stop - 1) // size + 1):
            first = chunk * size
            part = slice(max(start - first, 0), stop - first)
            parts.append(decode_frames(data[ends[chunk] : ends[chunk + 1]], shape, part))
        return np.concatenate(parts)

    def steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Actions `[E,...]` (first row `NO_ACTION`, or NaN for real-valued actions) and rewards `[E]` float32."""
        stored = self._read("actions", "rewards")
        return stored["actions"], stored["rewards"]

    def labels(self) -> dict[str, np.ndarray] | None:
        """What was given to `EpisodeWriter.save`, None if nothing."""
        layout = self.header["labels"]
        if layout is None:
            return None
        stored = self._read(*(f"labels.{key}" for key in layout))
        return unpack_labels({key: stored[f"labels.{key}"] for key in layout}, layout)

    def entry(self) -> dict:
        """The file's entry for a manifest, as `EpisodeWriter.save` returns it; every part is read, and so checked."""
        self._read()
        return _entry(self.path, self.path.read_bytes(), self.header)

    def _read(self, *names: str) -> dict[str, np.ndarray]:
        """Arrays of the file, all by default; zip keeps a checksum of each."""
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                return {name: archive[name] for name in names or archive.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(
                f"{self.path} cannot be read as a recorded episode ({error or type(error).__name__}); {self._cure}"
            ) from error


def write_file(path, data: bytes | str) -> None:
    """`files.write_atomic` with an error message that fits recordings."""
    try:
        files.write_atomic(path, data)
    except UserError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        raise UserError(
            f"cannot write {path} ({reason}); expected a writable folder with free space: free some, or name another "
            "folder. What was recorded before is kept"
        ) from error


def write_episode(path, frames: np.ndarray, *, actions, rewards, labels=None, notes: dict | None = None) -> dict:
    """Write an episode that is in memory; see `EpisodeWriter.save`.

    Args:
      path: of the file.
      frames: uint8 `[E,H,W,3]`, RGB.
      actions: `[E]` or `[E,A]`; row t led to frame t.
      rewards: `[E]`; of those actions.
      labels: arrays `[E,N,...]` by name, see `pack_labels`; None for none.
      notes: about this episode, JSON-serialisable.
    """
    if not len(frames) == len(actions) == len(rewards):
        raise UserError(
            f"{path}: {len(frames)} frames, {len(actions)} actions and {len(rewards)} rewards were to be recorded; "
            "expected the same number of each"
        )
    writer = EpisodeWriter()
    for frame, action, reward in zip(frames, actions, rewards, strict=True):
        writer.add(frame, action, reward)
    return writer.save(path, labels, notes)


def _entry(path: pathlib.Path, data: bytes, header: dict) -> dict:
    return {
        **header["notes"],
        "file": path.name,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "content_sha256": header["content_sha256"],
        "frames": header["frames"],
    }
