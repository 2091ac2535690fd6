"""What a model knows of each frame as one vector, and files of such vectors."""

import json
import pathlib
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import tensorflow as tf

from silot_tf import files
from silot_tf.evaluation import measures

MANIFEST = "features.json"
NO_TARGET = -1  # frames that do not count


def reader(model) -> Callable:
    """A compiled function of `video [B,T,H,W,C]`, `seed [2]` and numbers of objects `[B]`: features `[B,T,F]`.

    They are the model's `features`; of a model without them, presence times appearance of all slots, one after the
    other. Numbers of objects are for models that are told them.
    """

    def read(video, seed, object_count):
        told = {"object_count": object_count} if model.is_told_count else {}
        state = model.initial_state(tf.shape(video)[0], **told) if told else None
        outputs, _ = model.unroll(video, state, seed=seed)
        if "features" in outputs:
            return outputs["features"]
        what = outputs["objects"]["pres"] * outputs["objects"]["what"]
        return tf.reshape(what, [-1, what.shape[1], what.shape[2] * what.shape[3]])

    return tf.function(read, autograph=False)


def read_batches(read: Callable, batches: Iterable[Mapping], target: Callable, *, seed: int, clips: int | None = None):
    """Yields features `[n,T,F]` float32 and targets `[n,T]` int32 of successive batches, `NO_TARGET` where none counts.

    Args:
      read: see `reader`.
      batches: contract batches.
      target: batch -> `[B,T]`.
      seed: from which the noise of every batch is derived.
      clips: end after so many; None for all.
    """
    for number, (batch, rows) in enumerate(measures.clips_of_one_size(batches, clips)):
        counts = measures.existing_objects(batch)
        most = np.zeros(len(batch["video"])) if counts is None else counts.max(axis=1)
        found = read(tf.constant(batch["video"]), tf.constant((seed, number)), tf.constant(most, tf.int32))
        wanted = np.where(batch["frame_mask"], target(batch), NO_TARGET)
        yield np.asarray(found)[:rows], wanted[:rows].astype(np.int32)


class FeatureFiles:
    """Features of clips in a folder, written once for the weights that they belong to.

    Args:
      folder: of the files, `<name>_features.npy` `[n,F]` float32 and `<name>_targets.npy` `[n]` int32, one row per
        frame that counts, and a manifest.
      identity: JSON of what they depend on; files of another identity are written anew.
    """

    def __init__(self, folder, identity: Mapping):
        self.folder = pathlib.Path(folder)
        self._identity = json.loads(json.dumps(identity))

    def get(self, name: str, pieces: Callable[[], Iterable]) -> tuple[np.ndarray, np.ndarray]:
        """The two arrays, read from disk as far as they are needed.

        Args:
          name: of the set.
          pieces: called without arguments where the files have to be made; see `read_batches`.
        """
        paths = [self.folder / f"{name}_{what}.npy" for what in ("features", "targets")]
        known = files.read_json_object(self.folder / MANIFEST, "delete it and evaluate again")
        if known.get(name) != self._identity or not all(path.is_file() for path in paths):
            self._write(paths, pieces())
            files.write_atomic(self.folder / MANIFEST, json.dumps(known | {name: self._identity}, indent=1) + "\n")
        return tuple(np.load(path, mmap_mode="r", allow_pickle=False) for path in paths)

    def _write(self, paths, pieces) -> None:
        """Rows are appended piece after piece, so that memory does not grow with their number."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = [path.with_suffix(".unfinished") for path in paths]
            rows, shapes = 0, None
            with open(temporary[0], "wb") as features, open(temporary[1], "wb") as targets:
                for found, wanted in pieces:
                    counted = wanted != NO_TARGET
                    for stream, values in ((features, found[counted]), (targets, wanted[counted])):
                        stream.write(np.ascontiguousarray(values).tobytes())
                    rows, shapes = rows + int(counted.sum()), (found.shape[-1:], ())
            for source, path, shape, kind in zip(temporary, paths, shapes, (np.float32, np.int32), strict=True):
                _add_header(source, path, (rows, *shape), kind)
        except OSError as error:
            raise files.cannot_write(self.folder, error) from error


def _add_header(source: pathlib.Path, path: pathlib.Path, shape: tuple, kind) -> None:
    """Turn raw numbers into a .npy file; `source` is removed."""
    whole = path.with_suffix(".whole")
    array = np.lib.format.open_memmap(whole, "w+", kind, shape)
    array[:] = np.memmap(source, kind, "r", shape=shape)
    array.flush()
    whole.replace(path)
    source.unlink()
