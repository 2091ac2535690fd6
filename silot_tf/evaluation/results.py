"""Evaluation results on disk: what evaluation writes and the report reads.

`<run_dir>/results/metrics.json`:
    model            condition -> metric -> value
    baselines        baseline -> condition -> metric -> value
    conditions       condition -> number (the x axis of plots)
    condition_label  what that number counts
    protocol         metric -> how it is computed, in words
    told_conditions  optional: conditions under which the model was told how many objects there are
Values that are not finite are stored as null and read back as NaN.

`<run_dir>/results/examples.npz` (no pickles), E clips:
    video [E,T,H,W,C], frame_mask [E,T]
    truth_boxes [E,T,N,4], truth_present [E,T,N], truth_track_id [E,T,N]
    reconstruction [E,T,H,W,C], boxes [E,T,K,4], pres, depth [E,T,K], track_id [E,T,K], is_new [E,T,K]
    sprites [E,T,K,h,w,4] uint8, optional: colour and opacity of what is decoded of each object alone, before its
        presence; 0 where that is next to nothing
    the last two entries again with prefix `rollout_`, and the scalar rollout_from: both only with a roll-out
    condition [E] str, optional: test condition of each clip
    boxes, pres, track_id, is_new with prefix `baseline_<name>_`, optional: each baseline tuned for MOTA
and optional, roll-outs after one of J objects was edited in one of V ways; F frames from rollout_from on:
    what_if_object [E,J] id of the edited object, -1 for none; what_if_removed [E,J,V] bool, else it was moved by
    what_if_shift [E,J,V,2] (y, x) in fractions of the frame
    what_if_reconstruction [E,J,V,F,H,W,C] uint8, what_if_boxes [E,J,V,F,K,4], what_if_pres, what_if_depth,
    what_if_track_id and what_if_is_new [E,J,V,F,K]
Boxes are (y, x, height, width), centre and size in fractions of the frame.

`<run_dir>/results/prior.npz`, optional: clips drawn from the prior, arrays as above with the frames made up as `video`.
`<run_dir>/results/features/`, optional: what measures have written of the model's features (see `features`).

`<run_dir>/results/further/<name>.json` and `.npz`, one pair for each further test of the same weights:
    title, description          for readers
    weights                     which weights were tested, as in run.json
    frames, lengths             frames per clip; lengths after which clips are scored, ascending
    trained_frames, window      frames per clip in training (null: not said); frames in the windows of `mota_window`
    conditions, condition_label, protocol   as above, with the names of curves
    model                       condition -> {"lengths": {length: {metric: value}}, "over_time": {name: [value, ...]}}
    baselines                   baseline -> condition -> the same
Curves have one value per frame; null where there is none. The arrays of the .npz are those of `examples.npz`.
"""

import io
import json
import math
import pathlib
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np

from silot_tf import files
from silot_tf.errors import UserError

FOLDER = "results"
METRICS_FILE = "metrics.json"
EXAMPLES_FILE = "examples.npz"
PRIOR_FILE = "prior.npz"
FEATURES = "features"
FURTHER = "further"
_FURTHER_SECTIONS = (
    "title", "description", "weights", "frames", "lengths", "trained_frames", "window", "conditions",
    "condition_label", "protocol", "model", "baselines",
)  # fmt: skip
_SECTIONS = ("model", "baselines", "conditions", "condition_label", "protocol")


def write_metrics(
    run_dir,
    *,
    model: Mapping[str, Mapping[str, float]],
    baselines: Mapping[str, Mapping[str, Mapping[str, float]]],
    conditions: Mapping[str, float],
    condition_label: str,
    protocol: Mapping[str, str],
    told_conditions: Sequence[str] = (),
) -> pathlib.Path:
    """Path of the file written; sections as in the docstring of the module."""
    document = {
        "model": model,
        "baselines": baselines,
        "conditions": conditions,
        "condition_label": condition_label,
        "protocol": protocol,
    }
    if told_conditions:
        document["told_conditions"] = list(told_conditions)
    text = json.dumps(_finite(document), indent=2, allow_nan=False) + "\n"
    return files.write_atomic(pathlib.Path(run_dir) / FOLDER / METRICS_FILE, text)


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
    return files.write_atomic(pathlib.Path(run_dir) / FOLDER / EXAMPLES_FILE, _packed(arrays))


def write_prior_clips(run_dir, arrays: Mapping[str, np.ndarray]) -> pathlib.Path:
    """Path of the file written; `arrays` as `PriorClips.record` gives them."""
    return files.write_atomic(pathlib.Path(run_dir) / FOLDER / PRIOR_FILE, _packed(arrays))


def join_examples(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Example clips of several conditions in one dictionary; scalars are those of the first; {} of nothing.

    Where one condition has fewer objects, empty ones are added: id -1, everything else 0.
    """
    return {
        name: value if np.ndim(value) == 0 else _concatenate([part[name] for part in parts], _empty(name))
        for name, value in (parts[0].items() if parts else ())
    }


def read_examples(run_dir) -> dict[str, np.ndarray]:
    """The arrays of `examples.npz`. Raises UserError when the file is missing or damaged."""
    path = _existing(run_dir, EXAMPLES_FILE)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged ({error}); write it again with --mode=evaluate") from error


def write_further(run_dir, name: str, document: Mapping, examples: Mapping[str, np.ndarray]) -> pathlib.Path:
    """Path of the JSON file of one further test; sections and arrays as in the docstring of the module.

    Args:
      run_dir: the run folder.
      name: of the test.
      document: what the JSON file holds.
      examples: arrays of example clips; none, and the file of an earlier test is deleted.
    """
    path = further_path(run_dir, name)
    arrays = path.with_suffix(".npz")
    if examples:
        files.write_atomic(arrays, _packed(examples))
    else:
        arrays.unlink(missing_ok=True)
    return files.write_atomic(path, json.dumps(_finite(document), allow_nan=False) + "\n")


def read_further(run_dir) -> dict[str, dict]:
    """Name -> contents of the JSON file of every further test, by name; null stands for NaN and is left as None.

    Raises:
      UserError: if a file is damaged or incomplete.
    """
    found = {}
    for path in sorted((pathlib.Path(run_dir) / FOLDER / FURTHER).glob("[!.]*.json")):
        document = files.read_json_object(path, "delete it and evaluate again")
        if missing := [name for name in _FURTHER_SECTIONS if name not in document]:
            raise UserError(f"{path} lacks {missing}; delete it and evaluate again")
        found[path.stem] = document
    return found


def further_path(run_dir, name: str) -> pathlib.Path:
    """Path of the JSON file of a further test; its example clips lie beside it, with the ending .npz."""
    return pathlib.Path(run_dir) / FOLDER / FURTHER / f"{name}.json"


def _empty(name: str) -> int:
    return -1 if name.endswith("track_id") else 0


def _concatenate(arrays: Sequence[np.ndarray], fill: int) -> np.ndarray:
    """Arrays joined along the first axis, each filled up to the largest size along the others."""
    if arrays[0].dtype.kind in "US":
        return np.concatenate(arrays)
    sizes = np.max([array.shape[1:] for array in arrays], axis=0)
    paddings = [[(0, 0), *((0, int(size - n)) for size, n in zip(sizes, a.shape[1:], strict=True))] for a in arrays]
    return np.concatenate([np.pad(a, p, constant_values=fill) for a, p in zip(arrays, paddings, strict=True)])


def _existing(run_dir, name: str) -> pathlib.Path:
    path = pathlib.Path(run_dir) / FOLDER / name
    if not path.is_file():
        raise UserError(f"{path} does not exist; make it with --mode=evaluate --run_dir={run_dir}")
    return path


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _finite(value):
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_finite(entry) for entry in value]
    return value


def _nan_for_null(value):
    if isinstance(value, dict):
        return {key: _nan_for_null(entry) for key, entry in value.items()}
    return float("nan") if value is None else value
