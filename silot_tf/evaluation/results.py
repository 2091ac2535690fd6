"""Evaluation results on disk: what evaluation writes and the report reads.

`<run_dir>/results/metrics.json`:
    model            condition -> metric -> value
    baselines        baseline -> condition -> metric -> value
    conditions       condition -> number (the x axis of plots)
    condition_label  what that number counts
    protocol         metric -> how it is computed, in words
Values that are not finite are stored as null and read back as NaN.

`<run_dir>/results/examples.npz` (no pickles), E clips:
    video [E,T,H,W,C], frame_mask [E,T]
    truth_boxes [E,T,N,4], truth_present [E,T,N], truth_track_id [E,T,N]
    reconstruction [E,T,H,W,C], boxes [E,T,K,4], pres [E,T,K], track_id [E,T,K], is_new [E,T,K]
    the last line again with prefix `rollout_`, and the scalar rollout_from: both only with a roll-out
    condition [E] str, optional: test condition of each clip
Boxes are (y, x, height, width), centre and size in fractions of the frame.
"""

import json
import math
import os
import pathlib
import tempfile
import zipfile
from collections.abc import Callable, Mapping

import numpy as np

from silot_tf.errors import UserError

FOLDER = "results"
METRICS_FILE = "metrics.json"
EXAMPLES_FILE = "examples.npz"
_SECTIONS = ("model", "baselines", "conditions", "condition_label", "protocol")


def write_metrics(
    run_dir,
    *,
    model: Mapping[str, Mapping[str, float]],
    baselines: Mapping[str, Mapping[str, Mapping[str, float]]],
    conditions: Mapping[str, float],
    condition_label: str,
    protocol: Mapping[str, str],
) -> pathlib.Path:
    """Path of the file written; sections as in the docstring of the module."""
    document = {
        "model": model,
        "baselines": baselines,
        "conditions": conditions,
        "condition_label": condition_label,
        "protocol": protocol,
    }
    text = json.dumps(_finite(document), indent=2, allow_nan=False) + "\n"
    return _replace(run_dir, METRICS_FILE, lambda stream: stream.write(text.encode()))


def read_metrics(run_dir) -> dict:
    """The sections of `metrics.json`. Raises UserError when the file is missing, damaged or incomplete."""
    path = _existing(run_dir, METRICS_FILE)
    try:
        document = json.loads(path.read_text())
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}); write it again with --mode=evaluate") from error
    missing = [name for name in _SECTIONS if not isinstance(document, dict) or name not in document]
    if missing:
        raise UserError(f"{path} lacks {missing}; write it again with --mode=evaluate")
    for name in ("model", "baselines"):
        document[name] = _nan_for_null(document[name])
    return document


def write_examples(run_dir, arrays: Mapping[str, np.ndarray]) -> pathlib.Path:
    """Path of the file written; `arrays` as `Evaluator.example_clips` gives them."""
    return _replace(run_dir, EXAMPLES_FILE, lambda stream: np.savez_compressed(stream, **arrays))


def read_examples(run_dir) -> dict[str, np.ndarray]:
    """The arrays of `examples.npz`. Raises UserError when the file is missing or damaged."""
    path = _existing(run_dir, EXAMPLES_FILE)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged ({error}); write it again with --mode=evaluate") from error


def _existing(run_dir, name: str) -> pathlib.Path:
    path = pathlib.Path(run_dir) / FOLDER / name
    if not path.is_file():
        raise UserError(f"{path} does not exist; make it with --mode=evaluate --run_dir={run_dir}")
    return path


def _replace(run_dir, name: str, write: Callable) -> pathlib.Path:
    """Write under another name in the same folder, then rename: nobody reads half a file."""
    folder = pathlib.Path(run_dir) / FOLDER
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}); choose another --run_dir or free space"
        ) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(unfinished, 0o644)  # mkstemp gives 0600, which would hide results from colleagues
        os.replace(unfinished, path)
    except BaseException as error:
        pathlib.Path(unfinished).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(
                f"{path} cannot be written ({error.strerror}); choose another --run_dir or free space"
            ) from error
        raise
    return path


def _finite(value):
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value


def _nan_for_null(value):
    if isinstance(value, dict):
        return {key: _nan_for_null(entry) for key, entry in value.items()}
    return float("nan") if value is None else value
