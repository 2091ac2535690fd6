"""TensorBoard summaries of training: scalars, and input frames over reconstructions."""

import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

FOLDER = "summaries"


class Summaries:
    """Writes event files to `<run_dir>/summaries`; `tensorboard --logdir=<run_dir>` shows them."""

    def __init__(self, run_dir):
        self._writer = tf.summary.create_file_writer(str(pathlib.Path(run_dir) / FOLDER))

    def scalars(self, prefix: str, values: Mapping[str, float], step: int) -> None:
        """Write numbers under `<prefix>/<name>`; what is not a number is left out."""
        with self._writer.as_default(step=step):
            for name, value in values.items():
                if isinstance(value, (int, float)):
                    tf.summary.scalar(f"{prefix}/{name}", value)

    def clips(self, name: str, video, reconstruction, step: int) -> None:
        """Write clips `[E,T,H,W,C]` (uint8) as one picture: frames side by side, reconstruction under input."""
        rows = [picture_of_clip(*pair) for pair in zip(video, reconstruction, strict=True)]
        with self._writer.as_default(step=step):
            tf.summary.image(name, np.concatenate(rows, axis=0)[None])

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


def picture_of_clip(video, reconstruction) -> np.ndarray:
    """`[2H + 3, T (W + 1), C]` uint8: frames in one row, reconstructions in the row below, thin grey lines between."""
    grey = 96
    rows = []
    for frames in (video, reconstruction):
        framed = np.pad(np.asarray(frames), ((0, 0), (1, 0), (0, 1), (0, 0)), constant_values=grey)
        rows.append(np.concatenate(list(framed), axis=1))
    picture = np.concatenate(rows, axis=0)
    return np.pad(picture, ((0, 1), (0, 0), (0, 0)), constant_values=grey)
