"""Checks an exported model against what the live model gave: `python -I check.py` in the folder of the export.

This file is copied into every export and runs alone: it needs TensorFlow and NumPy, nothing of the package that the
model was trained with, and refuses to import it. Exit codes: 0 equal, 1 not equal.
"""

import json
import os
import pathlib
import sys

FORBIDDEN = ("silot_tf", "reproduce", "atari_data", "gin_configs")
STATE_PREFIX = "state__"
TOLERANCE = 1e-5


class _Forbid:
    """An importer that refuses packages, also where they are installed."""

    def find_spec(self, name, path=None, target=None):
        """Called by Python before any other importer."""
        if name.split(".")[0] in FORBIDDEN:
            raise ImportError(f"{name} is not to be imported here")


def main(folder, reference=None) -> int:
    """Compare, print one line of JSON, return the exit code.

    Args:
      folder: of the export.
      reference: `.npz` with clips and the live model's outputs; None for the one in the folder.
    """
    sys.meta_path.insert(0, _Forbid())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy as np
    import tensorflow as tf

    folder = pathlib.Path(folder)
    with np.load(reference or folder / "reference.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive}
    loaded = tf.saved_model.load(str(folder))  # to be kept: weights go with the object
    signatures = loaded.signatures
    differences = {}
    for batch in arrays["batch_sizes"]:
        for kind in ("uint8", "float32"):
            found = _run(tf, np, signatures, arrays, int(batch), kind)
            for name, value in found.items():
                expected = arrays[f"batch{batch}/{name}"]
                difference = difference_of(np, value, expected, arrays["frame_shape"], name)
                differences[f"batch {batch}, {kind}, {name}"] = difference
    largest = max(differences, key=differences.get)
    equal = differences[largest] <= TOLERANCE
    report = {
        "equal": equal,
        "largest_difference": differences[largest],
        "where": largest,
        "tolerance": TOLERANCE,
        "compared": len(differences),
        "imported": [name for name in FORBIDDEN if name in sys.modules],
    }
    print(json.dumps(report))
    return 0 if equal and not report["imported"] else 1


def _run(tf, np, signatures, arrays, batch: int, kind: str) -> dict:
    """Results of the export on the clips, `[B,T,...]`, and of a prediction from the state in the middle."""
    video, resets = arrays["video"][:batch], arrays[f"batch{batch}/reset"]
    seed = tf.constant(arrays["seed"], tf.int32)
    with_images = f"batch{batch}/reconstruction" in arrays
    suffix = "_with_reconstruction" if with_images else ""
    step = signatures[("step_uint8" if kind == "uint8" else "step") + suffix]
    state = signatures["initial_state"](batch_size=tf.constant(batch))
    names, steps, predicted = list(state), [], {}
    for t in range(video.shape[1]):
        frame = video[:, t].astype(np.float32) / np.float32(255) if kind == "float32" else video[:, t]
        results = step(frame=tf.constant(frame), reset=tf.constant(resets[:, t]), seed=seed, **state)
        state = {name: results[name] for name in names}
        steps.append({name: value.numpy() for name, value in results.items() if name not in state})
        if t == arrays["predict_after"]:
            frames = tf.constant(int(arrays["predicted_frames"]))
            predicted = signatures["predict" + suffix](frames=frames, seed=seed, **state)
    found = {name: np.stack([results[name] for results in steps], axis=1) for name in steps[0]}
    found |= {f"predicted_{name}": value.numpy() for name, value in predicted.items() if name not in state}
    return {name: value for name, value in found.items() if f"batch{batch}/{name}" in arrays}


def difference_of(np, found, expected, frame_shape, name: str) -> float:
    """Largest difference; that of boxes in fractions of the frame, that of numbers above 1 in parts of the largest.

    float32 cannot hold 1e-5 of 210 pixels, and rounding differs between kernels for different batch sizes.
    """
    if found.shape != expected.shape or found.dtype != expected.dtype or not np.isfinite(found.astype(float)).all():
        return float("inf")
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    if name.endswith("boxes"):
        found, expected = (value / np.tile(frame_shape[:2].astype(np.float64), 2) for value in (found, expected))
    scale = 1.0 if name.endswith("ids") else np.abs(expected).max(initial=1)
    return float(np.abs(found - expected).max(initial=0) / scale)


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or [pathlib.Path(__file__).resolve().parent])))
