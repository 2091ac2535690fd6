"""What a training run leaves for people and later programs besides checkpoints: example clips, a guilty batch."""

import io
import pathlib
from collections.abc import Mapping

import numpy as np

from silot_tf import files

EXAMPLES_FOLDER = "examples"


def write_examples(run_dir, arrays: Mapping, global_step: int) -> dict[str, np.ndarray]:
    """Write example clips to `<run_dir>/examples/update_<global step>.npz`; return them, frames as bytes.

    Args:
      run_dir: the run folder.
      arrays: name -> array; `[E,T,H,W,C]` floats are frames in [0, 1].
      global_step: update at which they were made.
    """
    arrays = {name: _small(value) for name, value in arrays.items()}
    path = pathlib.Path(run_dir) / EXAMPLES_FOLDER / f"update_{global_step:09d}.npz"
    _write(path, arrays | {"global_step": np.array(global_step)})
    return arrays


def write_batch(run_dir, batch: Mapping, where: Mapping[str, int], numbers: Mapping[str, float]) -> pathlib.Path:
    """Write a batch on which an update failed; return the path of the file.

    Args:
      run_dir: the run folder.
      batch: see `silot_tf.contracts`; arrays are stored as `batch/<key>`.
      where: what identifies the update (seed, stage, step, `global_step`, frames).
      numbers: settings and results of the update, stored as `value/<name>`.
    """
    path = pathlib.Path(run_dir) / f"non_finite_update_{where['global_step']:09d}.npz"
    _write(
        path,
        {f"batch/{key}": np.asarray(value) for key, value in batch.items()}
        | {key: np.array(value) for key, value in where.items()}
        | {f"value/{key}": np.array(value) for key, value in numbers.items()},
    )
    return path


def write_tested_batch(run_dir, batch: Mapping) -> pathlib.Path:
    """Write a batch on which an evaluation failed, arrays as `batch/<key>`; return the path of the file."""
    path = pathlib.Path(run_dir) / "non_finite_evaluation.npz"
    _write(path, {f"batch/{key}": np.asarray(value) for key, value in batch.items()})
    return path


def _small(array) -> np.ndarray:
    array = np.asarray(array)
    if array.ndim == 5 and array.dtype.kind == "f":
        return np.rint(np.clip(np.nan_to_num(array), 0, 1) * 255).astype(np.uint8)
    return array


def _write(path, arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    files.write_atomic(path, buffer.getvalue())
