"""Is the export the model? What the live model says about a few clips, and the comparison in a process of its own."""

import io
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf

from silot_tf import files
from silot_tf.errors import UserError
from silot_tf.export.preprocessing import Preprocessing

REFERENCE_FILE, CHECK_FILE = "reference.npz", "check.py"
FRAMES, PREDICTED_FRAMES = 10, 4
BATCH_SIZES = (1, 3)
SEED = (11, 7)


def clips_for(video: np.ndarray | None, frame_shape, preprocessing: Preprocessing | None = None) -> np.ndarray:
    """Three clips `[3,FRAMES,H,W,C]` uint8: of `video` as far as it has frames of this shape, else moving squares.

    Args:
      video: `[E,T,H,W,C]`, float32 in [0, 1] or uint8, or None. Short clips run forth and back.
      frame_shape: (H, W, C).
      preprocessing: of the export; frames of the shape that the model sees are then enlarged, pixel by pixel.
    """
    if preprocessing is not None and video is not None and video.shape[2:] == tuple(preprocessing.seen_shape):
        for axis, side in ((2, frame_shape[0]), (3, frame_shape[1])):
            video = video.take(np.arange(side) * video.shape[axis] // side, axis=axis)
    if video is not None and video.ndim == 5 and video.shape[2:] == tuple(frame_shape) and min(video.shape[:2]) > 0:
        if video.dtype != np.uint8:
            video = np.round(np.clip(video, 0, 1) * 255).astype(np.uint8)
        forth_and_back = np.concatenate([video, video[:, ::-1]], axis=1)
        times = np.arange(FRAMES) % forth_and_back.shape[1]
        return np.resize(forth_and_back[:, times], (max(BATCH_SIZES), FRAMES, *frame_shape))
    height, width, channels = frame_shape
    rng = np.random.default_rng(0)
    clips = np.zeros((max(BATCH_SIZES), FRAMES, *frame_shape), np.uint8)
    side = max(2, min(height, width) // 5)
    for clip in clips:
        for _ in range(3):
            place, move = rng.uniform(0, [height - side, width - side]), rng.uniform(-1.5, 1.5, 2)
            colour = rng.integers(80, 256, channels)
            for t, frame in enumerate(clip):
                top, left = np.clip(np.round(place + t * move), 0, [height - side, width - side]).astype(int)
                frame[top : top + side, left : left + side] = colour
    return clips


def reference(
    model, clips: np.ndarray, *, deterministic: bool, preprocessing: Preprocessing | None = None
) -> dict[str, np.ndarray]:
    """Clips and what the live model gives for them, as `check.py` reads it.

    One clip alone starts over in the middle; of three together, the streams start over at different frames.

    Args:
      model: a built model with its weights.
      clips: see `clips_for`.
      deterministic, preprocessing: as in `saved_model.write`.
    """
    frame_shape = clips.shape[2:]
    seen_shape = preprocessing.seen_shape if preprocessing else frame_shape
    seen = preprocessing.live if preprocessing else lambda frame: frame.astype(np.float32) / np.float32(255)
    arrays = {
        "video": clips,
        "batch_sizes": np.array(BATCH_SIZES),
        "frame_shape": np.array(frame_shape),
        "seed": np.array(SEED, np.int32),
        "predict_after": np.array(FRAMES - 3),
        "predicted_frames": np.array(PREDICTED_FRAMES),
    }
    seed = None if deterministic else tf.constant(SEED, tf.int32)
    step, imagine = _compiled(model, seen_shape, seed), _compiled(model, seen_shape, seed, rollout_from=0)
    for batch in BATCH_SIZES:
        video = clips[:batch]
        resets = np.zeros((batch, FRAMES), bool)
        resets[np.arange(batch), (FRAMES // 2 + 2 * np.arange(batch)) % FRAMES] = True
        state, outputs, predicted = model.initial_state(batch), [], []
        for t in range(FRAMES):
            if resets[:, t].any():
                state = model.reset(state, tf.constant(resets[:, t]))
            results, state = step(tf.constant(seen(video[:, t])), state)
            outputs.append(results)
            if t == FRAMES - 3:
                imagined = state
                for _ in range(PREDICTED_FRAMES):
                    results, imagined = imagine(tf.zeros([batch, *seen_shape]), imagined)
                    predicted.append(results)
        arrays[f"batch{batch}/reset"] = resets
        for prefix, steps in (("", outputs), ("predicted_", predicted)):
            table = _table(keras.tree.map_structure(lambda *values: np.stack(values, axis=1), *steps), frame_shape)
            if batch > 1:  # images are large, and one clip of them tells as much
                table.pop("reconstruction")
            arrays |= {f"batch{batch}/{prefix}{name}": value for name, value in table.items()}
    return arrays


def _compiled(model, frame_shape, seed, **options):
    """`model.step` for any batch size: kernels chosen for one batch size round differently."""
    specs = keras.tree.map_structure(
        lambda value: tf.TensorSpec([None, *value.shape[1:]], value.dtype), model.initial_state(1)
    )
    return tf.function(
        lambda frame, state: model.step(frame, state, seed=seed, **options),
        input_signature=[tf.TensorSpec([None, *frame_shape]), specs],
        autograph=False,
    )


def _table(outputs: dict, frame_shape) -> dict[str, np.ndarray]:
    """The object table from contract outputs `[B,T,...]`, written down again independently of `tables`."""
    objects = outputs["objects"]
    table = {
        "presence": objects["pres"][..., 0],
        "ids": objects["track_id"],
        "depth": objects["depth"][..., 0],
        "appearance": objects["what"],
        "reconstruction": outputs["reconstruction"],
    }
    if "where" in objects:
        table["boxes"] = objects["where"] * np.tile(np.array(frame_shape[:2], np.float32), 2)
    if "is_new" in objects:
        table["is_new"] = objects["is_new"]
    return table


def write_reference(folder, arrays: dict) -> None:
    """Put the reference, and the program that reads it, into the folder of an export."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    files.write_atomic(pathlib.Path(folder) / REFERENCE_FILE, buffer.getvalue())
    shutil.copyfile(pathlib.Path(__file__).with_name(CHECK_FILE), pathlib.Path(folder) / CHECK_FILE)


def compare(folder, arrays: dict | None = None) -> dict:
    """Report of `check.py` (`equal`, `largest_difference`, `where`...), run in a fresh process that knows no model.

    Args:
      folder: of the export.
      arrays: see `reference`; None for those kept in the folder.

    Raises:
      UserError: if the process ends without a report, for example because the SavedModel cannot be loaded.
    """
    folder = pathlib.Path(folder).resolve()
    with tempfile.TemporaryDirectory() as elsewhere:
        arguments = [str(folder)]
        if arrays is not None:
            write_reference(elsewhere, arrays)
            arguments.append(str(pathlib.Path(elsewhere) / REFERENCE_FILE))
        # -I: neither the current folder, nor PYTHONPATH, nor the user's packages.
        command = [sys.executable, "-I", str(folder / CHECK_FILE), *arguments]
        done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError) as error:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(
            f"{folder} cannot be checked ({last}); expected a whole export: export the run again"
        ) from error


def in_words(report: dict) -> str:
    """How large the differences of a report of `compare` are, for one line."""
    if report["largest_difference"] == 0:  # then the place would be that of any tensor
        return f"all {report['compared']} tensors are equal"
    return (
        f"largest difference {report['largest_difference']:.1e} of {report['compared']} tensors, in {report['where']}; "
        f"tolerance {report['tolerance']:g}"
    )
