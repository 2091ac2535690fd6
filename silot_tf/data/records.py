"""Generated clips on disk: sharded TFRecord files with a manifest, complete and verified or not there at all.

A cache is a folder `<name>-<first letters of the parameters' checksum>` with `manifest.json` and shards. It
is written under another name and renamed when everything is on disk, so an interrupted generation is never
taken for complete. Each record is a `tf.train.Example` whose features are the zlib-compressed bytes of one
array per field; the records rather than the files are compressed, so that skipping and shuffling do not
unpack anything.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import socket
import zlib
from collections.abc import Callable

import numpy as np
from absl import logging
from tqdm import tqdm

from silot_tf.errors import UserError

CACHE_DIR_VARIABLE = "SILOT_TF_CACHE_DIR"
MANIFEST = "manifest.json"
FORMAT_VERSION = 1
CLIPS_PER_SHARD = 1000

_verified = set()  # folders whose checksums this process has compared


@dataclasses.dataclass(frozen=True)
class ClipCache:
    """A verified cache.

    Attributes:
      folder: where it lies.
      files: paths of the shards, in order.
      num_clips: number of records in all shards together.
      fields: name -> (dtype name, shape of one clip's array).
    """

    folder: pathlib.Path
    files: tuple[str, ...]
    num_clips: int
    fields: dict[str, tuple[str, tuple[int, ...]]]


def cache_root(cache_dir: str | None) -> pathlib.Path:
    """Folder of all caches: `cache_dir`, else the variable SILOT_TF_CACHE_DIR, else `~/.cache/silot_tf`."""
    return pathlib.Path(cache_dir or os.environ.get(CACHE_DIR_VARIABLE) or "~/.cache/silot_tf").expanduser()


def load_or_generate(
    root: pathlib.Path,
    name: str,
    parameters: dict,
    num_clips: int,
    generate: Callable[[int, int], dict[str, np.ndarray]],
    clips_per_shard: int | None = None,
) -> ClipCache:
    """The cache of these parameters, generated first if it does not exist.

    Args:
      root: see `cache_root`.
      name: readable beginning of the folder's name.
      parameters: everything the clips depend on, JSON-serialisable, including seed and generator version.
      num_clips: number of clips.
      generate: `(start, stop) -> arrays` with leading dimension `stop - start`, for clips start..stop-1; must
        not depend on how the clips are cut into pieces.
      clips_per_shard: how many to generate at once and write to one file; None for `CLIPS_PER_SHARD`.

    Raises:
      UserError: if a cache exists but differs from its manifest, or if it cannot be written.
    """
    parameters = json.loads(json.dumps({**parameters, "format": FORMAT_VERSION, "clips": num_clips}))
    key = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:12]
    folder = pathlib.Path(root) / f"{name}-{key}"
    if not os.path.exists(folder):
        _generate(folder, parameters, num_clips, generate, clips_per_shard or CLIPS_PER_SHARD)
    return load(folder, parameters)


def load(folder: pathlib.Path, parameters: dict | None = None) -> ClipCache:
    """The cache in `folder`, after comparing sizes and checksums with its manifest (once per process).

    Args:
      folder: a folder written by `load_or_generate`.
      parameters: what the manifest must say; None accepts anything.

    Raises:
      UserError: naming the file that is missing, cut short or changed, or the parameters that differ.
    """
    folder = pathlib.Path(folder)
    cure = f"delete the folder {folder} and it is generated again"
    manifest_path = folder / MANIFEST
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        files = [(folder / entry["name"], entry["bytes"], entry["sha256"]) for entry in manifest["files"]]
        fields = {key: (field["dtype"], tuple(field["shape"])) for key, field in manifest["fields"].items()}
        stored = manifest["parameters"]
        num_clips = int(stored["clips"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{manifest_path} is missing or not a manifest of cached clips ({error!r}); {cure}") from error
    if parameters is not None and stored != parameters:
        names = sorted(k for k in {*stored, *parameters} if stored.get(k) != parameters.get(k))
        difference = ", ".join(f"{k}: stored {stored.get(k)}, expected {parameters.get(k)}" for k in names)
        raise UserError(f"{manifest_path} belongs to clips with other parameters ({difference}); {cure}")
    if folder.resolve() not in _verified:
        for path, size, checksum in files:
            _verify(path, size, checksum, cure)
        _verified.add(folder.resolve())
    return ClipCache(folder, tuple(str(path) for path, _, _ in files), num_clips, fields)


def _verify(path: pathlib.Path, size: int, checksum: str, cure: str) -> None:
    try:
        found = path.stat().st_size
        if found != size:
            raise UserError(f"{path} has {found} bytes, its manifest says {size}; {cure}")
        if _sha256(path) != checksum:
            raise UserError(f"{path} has changed since it was written (its checksum differs); {cure}")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}); {cure}") from error


def _generate(folder, parameters, num_clips, generate, clips_per_shard) -> None:
    logging.info("generating %d clips into %s", num_clips, folder)
    # The name tells whose it is, so that what a killed process left behind can be cleared away later.
    partial = folder.with_name(f"{folder.name}.partial-{socket.gethostname()}-{os.getpid()}")
    with _writing_to(folder.parent):
        _clear_abandoned(folder)
        partial.mkdir(parents=True)
    try:
        entries, fields = [], {}
        starts = range(0, num_clips, clips_per_shard)
        title = f"generating {folder.name}"
        with tqdm(total=num_clips, desc=title, unit="clip", leave=len(starts) > 1) as progress:
            for number, start in enumerate(starts):
                stop = min(start + clips_per_shard, num_clips)
                clips = generate(start, stop)
                fields = {
                    key: {"dtype": value.dtype.name, "shape": list(value.shape[1:])} for key, value in clips.items()
                }
                path = partial / f"clips-{number:05d}-of-{len(starts):05d}.tfrecord"
                with _writing_to(folder.parent):
                    _write_shard(path, clips)
                    entries.append({"name": path.name, "bytes": path.stat().st_size, "sha256": _sha256(path)})
                progress.update(stop - start)
        manifest = {"parameters": parameters, "fields": fields, "files": entries}
        with _writing_to(folder.parent):
            _write_text(partial / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")
            _publish(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_shard(path: pathlib.Path, clips: dict[str, np.ndarray]) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in range(len(next(iter(clips.values())))):
            features = {
                # Level 6 is 11 to 16 % smaller than level 1; both cost less than drawing the clips.
                key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[zlib.compress(value[row].tobytes(), 6)]))
                for key, value in clips.items()
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _write_text(path: pathlib.Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _publish(partial: pathlib.Path, folder: pathlib.Path) -> None:
    try:
        os.rename(partial, folder)
    except OSError:
        # Another process may have finished the same clips in the meantime; its result is as good as ours.
        if not (folder / MANIFEST).is_file():
            raise


def _clear_abandoned(folder: pathlib.Path) -> None:
    """Remove what processes of this machine that no longer run left of the same cache."""
    prefix = f"{folder.name}.partial-{socket.gethostname()}-"
    for left in folder.parent.glob(f"{prefix}*"):
        process = left.name.removeprefix(prefix)
        if process.isdigit() and (int(process) == os.getpid() or not _is_running(int(process))):
            shutil.rmtree(left, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _writing_to(folder: pathlib.Path):
    """Turn failures to write (full or read-only disk) into a UserError."""
    import tensorflow as tf

    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "message", None) or error
        raise UserError(
            f"cannot write generated clips to {folder} ({reason}); free some space, or name another folder "
            f"by the dataset's cache_dir or the environment variable {CACHE_DIR_VARIABLE}"
        ) from error


def _sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
