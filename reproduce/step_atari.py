"""Objects of an Atari game while it is played: steps an environment behind the observation wrapper and counts.

  python -m reproduce.step_atari --export=FOLDER [--game=SpaceInvaders] [--frames=1000] [--video=boxes.mp4]

FOLDER comes from `python -m reproduce.export_model`, best of a run on that game. Actions are random. Needs the extra
`atari`. Exit codes: 0 done; 2 bad input (one line on stderr); 130 stopped.
"""

import collections
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from absl import app, flags

from reproduce import atari_environments, exits, progress, startup
from silot_tf.errors import UserError

_EXPORT = flags.DEFINE_string("export", None, "Folder of an exported model.")
_GAME = flags.DEFINE_string("game", "SpaceInvaders", "Any game that comes with ale-py.")
_FRAMES = flags.DEFINE_integer("frames", 1000, "Frames to step.", lower_bound=1)
_RESIZE = flags.DEFINE_bool("resize", False, "Resize frames to what the export takes, if they differ.")
_CROP = flags.DEFINE_list("crop", None, "TOP,LEFT,HEIGHT,WIDTH: the part of frames that the model sees, pixels.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the game and of the actions.", lower_bound=0)
_VIDEO = flags.DEFINE_string("video", None, "Write frames with boxes to this MP4 file, which must not exist yet.")


def main(_):
    """Play, count, print."""
    with exits.one_line_errors():
        if not _EXPORT.value:
            raise UserError("--export is missing; expected the folder of an exported model (reproduce.export_model)")
        if _VIDEO.value and pathlib.Path(_VIDEO.value).exists():
            raise UserError(f"--video={_VIDEO.value} exists; expected the name of a new file")
        print("\n".join(_play()))


def _play() -> list[str]:
    startup.start_tensorflow_quietly()
    from silot_tf.export.agents import ObjectObservation

    crop = atari_environments.crop_from(_CROP.value)
    env = ObjectObservation(atari_environments.make(_GAME.value), _EXPORT.value, crop=crop, resize=_RESIZE.value)
    writer = None if _VIDEO.value is None else _Video(_VIDEO.value)
    counts, lengths, seconds = [], collections.Counter(), []
    try:
        env.action_space.seed(_SEED.value)
        observation, _ = env.reset(seed=_SEED.value)
        for _ in progress.bar(range(_FRAMES.value), desc="playing", unit=" frames"):
            started = time.perf_counter()
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                observation, _ = env.reset()
            seconds.append(time.perf_counter() - started)
            ids = observation["ids"][observation["ids"] >= 0]
            counts.append(len(ids))
            lengths.update(ids.tolist())
            if writer is not None:
                writer.add(env.render())
        if writer is not None:
            writer.finish()
    finally:
        env.close()
        if writer is not None:
            writer.close()
    return _summary(np.array(counts), lengths, np.array(seconds))


def _summary(counts: np.ndarray, lengths, seconds: np.ndarray) -> list[str]:
    followed = np.array(list(lengths.values()) or [0])
    later = seconds[min(10, len(seconds) - 1) :]  # the first frames compile
    lines = [
        f"{len(counts)} frames of {_GAME.value}",
        f"objects per frame: {counts.mean():.1f} on average, {counts.min()} to {counts.max()}",
        f"different objects: {len(lengths)}, each followed for {followed.mean():.1f} frames on average",
        f"frames per second, game and model: {1 / later.mean():.1f} (median frame {1000 * np.median(later):.1f} ms)",
    ]
    return lines + ([f"video: {pathlib.Path(_VIDEO.value).resolve()}"] if _VIDEO.value else [])


class _Video:
    """An MP4 file that gets its name when it is whole."""

    def __init__(self, path, frames_per_second: int = 15):
        self._path, self._rate, self._writer = pathlib.Path(path), frames_per_second, None
        self._unfinished = self._path.with_name(f".{self._path.stem}.unfinished.mp4")

    def add(self, frame: np.ndarray) -> None:
        """Append a frame, uint8 `[H,W,3]` RGB."""
        import cv2

        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            size = (frame.shape[1], frame.shape[0])
            self._writer = cv2.VideoWriter(str(self._unfinished), cv2.VideoWriter_fourcc(*"mp4v"), self._rate, size)
            if not self._writer.isOpened():
                raise UserError(f"cannot write {self._path}: expected a writable folder with free space")
        self._writer.write(frame[..., ::-1])

    def finish(self) -> None:
        """Give the file its name."""
        self._writer.release()
        os.replace(self._unfinished, self._path)

    def close(self) -> None:
        """Remove what is not finished."""
        if self._writer is not None:
            self._writer.release()
        self._unfinished.unlink(missing_ok=True)


if __name__ == "__main__":
    app.run(main)
