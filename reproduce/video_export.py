"""Runs of own videos in exports: their experiment, and what the model sees of frames as a part of the SavedModel."""

import math
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from reproduce import video_runs
from reproduce.experiment import Experiment
from reproduce.video_session import VideoSession  # noqa: F401  registers what configurations of own videos name
from silot_tf import configuration
from silot_tf.data import video_choices, video_clips
from silot_tf.errors import UserError
from silot_tf.export import tables
from silot_tf.export.preprocessing import Preprocessing
from silot_tf.ops import byte_resizing

#: Boxes and ids of an export are the model's own, those in the files of own_video are not.
_NOT_INSIDE = (
    "what own_video does to the objects that the model finds before it writes tracks (reproduce.Tracker): shrinking "
    "boxes to the foreground, leaving out doubles and short tracks, giving back ids to objects that are found anew"
)


def experiment(run_dir, record: video_runs.VideoRecord, gin_files: Sequence[str], gin_params: Sequence[str]):
    """The experiment of a folder that own_video has trained in, around a data set that cannot be opened.

    Args:
      run_dir: the folder.
      record: what it holds.
      gin_files, gin_params: its configuration, and bindings that win over it.

    Raises:
      UserError: if the video was only tracked there, or the background is missing.
    """
    run_dir = pathlib.Path(run_dir)
    if record.trained_in is not None:
        raise UserError(
            f"--run_dir={run_dir} has no weights of its own, its video was tracked with those of {record.trained_in}; "
            f"expected the folder of the training: --run_dir={record.trained_in}"
        )
    view = video_runs.read_view(run_dir, record.choices)
    # A folder that was moved has its background elsewhere by now.
    behind = [line for line in video_runs.bindings(record.choices, run_dir, ()) if line.startswith("BACKGROUND_IMAGE")]
    configuration.load(gin_files, [*behind, *gin_params])
    dataset = configuration.build(lambda: video_clips.VideoClips(run_dir / video_runs.FRAMES, [(0, 2**31)], view))
    return configuration.build(lambda: Experiment(dataset=dataset))


def preprocessing(run_dir, record: video_runs.VideoRecord, size: tuple[int, int] | None):
    """What the model sees of frames of the video.

    Args:
      run_dir: folder that own_video has trained in.
      record: what it holds.
      size: (rows, columns) of the frames to come; None for those of the video.

    Returns:
      (rows, columns, 3) of the frames that come in, and a `Preprocessing` from these to what the model sees.

    Raises:
      UserError: if the size is not known, or frames would be distorted otherwise than in training.
    """
    choices, trained = record.choices, record.frame_size
    size = size or trained
    if size is None:
        raise UserError(
            f"{pathlib.Path(run_dir) / video_runs.RECORD} does not tell the size of the frames; expected "
            "--frame_shape=HEIGHT,WIDTH of the video"
        )
    if trained and not math.isclose(size[0] / size[1], trained[0] / trained[1], rel_tol=0.02):
        raise UserError(
            f"--frame_shape={size[0]},{size[1]}: the model was trained on frames of {trained[0]}x{trained[1]} pixels; "
            "expected the same ratio of height to width"
        )
    view = video_runs.read_view(run_dir, choices)
    height, width = choices.working_size
    sees = _seen(view)
    description = {
        "sentence": (
            f"frames are resized to {height}x{width}; the model sees {video_choices.VIEWS[choices.view]}"
            + ("" if choices.view == "frames" else f" (background: {choices.background} of the video)")
        ),
        "view": choices.view,
        "background": choices.background,
        "contrast": choices.contrast,
        "foreground_threshold": choices.foreground_threshold,
        "video_size": None if trained is None else list(trained),
        "working_size": [height, width],
        "not_inside": _NOT_INSIDE,
    }
    return (*size, 3), Preprocessing(
        seen_shape=(height, width, 3),
        in_graph=lambda frame: sees(byte_resizing.resize(frame, (height, width))),
        live=lambda frames: view.seen(np.stack([view.resized(frame) for frame in frames])),
        description=description,
    )


def _seen(view: video_clips.VideoView) -> Callable:
    """`VideoView.seen` of whole frames `[B,h,w,3]` uint8 in TensorFlow operations, to the last bit.

    Tables hold what NumPy makes of each of the few differences that there are. Quotients are taken in float64 and
    rounded: TensorFlow turns divisions by constants into products, which would show in float32.
    """
    choices = view.choices
    if choices.view == "frames":
        return tables.to_float
    steps = np.arange(-255, 256).astype(np.float32) / np.float32(255)
    contrast = np.float32(choices.contrast)
    if choices.view == "difference":
        steps = np.clip(video_clips.GREY + contrast * steps, 0, 1)

    def differences(frames):
        behind = tf.constant(view.background.astype(np.int32))
        return tf.gather(tf.constant(steps), tf.cast(frames, tf.int32) - behind + 255)

    def divided(values, number):
        return tf.cast(tf.cast(values, tf.float64) / tf.constant(number, tf.float64), tf.float32)

    def total(values):  # in NumPy's order
        return values[..., :1] + values[..., 1:2] + values[..., 2:]

    def foreground(frames):
        difference = differences(frames)
        strength = divided(total(tf.abs(difference)), np.float32(choices.foreground_threshold))
        difference *= tf.clip_by_value(2.0 * strength - 1.0, 0.0, 1.0)
        light = divided(total(difference), 3)
        extent = [reduce(difference, axis=-1, keepdims=True) for reduce in (tf.reduce_max, tf.reduce_min)]
        return tf.clip_by_value(contrast * tf.concat([-light, light, extent[0] - extent[1]], axis=-1), 0.0, 1.0)

    return differences if choices.view == "difference" else foreground
