"""The folder of an own video: what was measured and chosen, the background, the frames to train on."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping

import gin
import numpy as np
from absl import logging

from silot_tf import configuration, files
from silot_tf.data import still_images, video_background, video_choices, video_clips
from silot_tf.data.video_choices import Choices
from silot_tf.data.video_files import VideoFile
from silot_tf.errors import UserError

RECORD, BACKGROUND, BACKGROUND_PICTURE, FRAMES = "own_video.json", "background.npy", "background.png", "frames.npy"
BACKGROUND_FRAMES = 200  # of which the background is made
_CURE = "choose another --out, or delete the folder"


@gin.configurable(module="reproduce")
@dataclasses.dataclass(frozen=True)
class VideoStorage:
    """How much of a video is kept on disk, resized, for training.

    Args:
      most_frames: longer videos are not kept whole.
      stretch: but in stretches of so many successive frames, evenly spread.
    """

    most_frames: int = 6000
    stretch: int = 100

    def __post_init__(self):
        if not 1 <= self.stretch <= self.most_frames:
            raise UserError(
                f"VideoStorage has most_frames {self.most_frames} and stretch {self.stretch}; expected a stretch of at "
                "least 1 frame and at most most_frames"
            )

    def kept(self, num_frames: int) -> list[tuple[int, int]]:
        """(first, stop) of what is kept of a video."""
        return video_clips.stretches(num_frames, self.most_frames, self.stretch)


@dataclasses.dataclass(frozen=True)
class VideoRecord:
    """What `own_video.json` of a folder says.

    Attributes:
      video: path as given.
      fingerprint: of the video, see `VideoFile.fingerprint`.
      frames: how many can be read; None where only tracking has read it.
      frame_size: (rows, columns); None likewise.
      choices: settings for the video.
      trained_in: folder of the weights where the video was only tracked, else None.
    """

    video: str
    fingerprint: str
    frames: int | None
    frame_size: tuple[int, int] | None
    choices: Choices
    trained_in: str | None = None

    def write(self, folder) -> None:
        """Write `own_video.json`."""
        content = dataclasses.asdict(self)
        files.write_atomic(pathlib.Path(folder) / RECORD, json.dumps(content, indent=1) + "\n")


def read_record(folder) -> VideoRecord | None:
    """The record of a folder, None where there is none. Raises UserError if it is damaged."""
    path = pathlib.Path(folder) / RECORD
    content = files.read_json_object(path, _CURE)
    if not content:
        return None
    try:
        size = content["frame_size"] and tuple(content["frame_size"])
        return VideoRecord(**content | {"choices": Choices.from_json(content["choices"]), "frame_size": size})
    except (TypeError, KeyError) as error:
        raise UserError(f"{path} is damaged or of another version ({error}); {_CURE}") from error


def trained_record(folder) -> VideoRecord:
    """The record of a folder with trained weights, for `--weights`. Raises UserError if there is none."""
    path = pathlib.Path(folder)
    record = read_record(path) if path.is_dir() else None
    if record is None or not (path / BACKGROUND).is_file() or not (path / configuration.CONFIG_FILE).is_file():
        raise UserError(
            f"--weights={folder} is not a folder that own_video has trained in (it holds no {RECORD} with "
            f"{BACKGROUND} and {configuration.CONFIG_FILE}); expected the --out of an earlier training"
        )
    return record


def check_folder(folder, video: VideoFile) -> VideoRecord | None:
    """The record of an output folder that may be gone on with, None for a new one.

    Raises:
      UserError: if there is something else in its place.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out={folder} is a file; expected a folder, or a name for a new one")
    if not folder.exists() or not any(folder.iterdir()):
        return None
    record = read_record(folder)
    if record is None:
        raise UserError(f"--out={folder} exists and holds something else; expected a new folder, or one of this video")
    if record.fingerprint != video.fingerprint():
        raise UserError(
            f"--out={folder} holds the run of another video ({record.video}, or that file has changed), this one is "
            f"{video.path}; choose another --out"
        )
    return record


def measure(video: VideoFile, chooser) -> tuple[Choices, video_choices.Survey]:
    """Settings for a new video, printed, and what they were measured on."""
    found = video_choices.survey(video)
    choices = chooser.choose(found)
    print(f"{video.path}: {found.num_frames} frames; chosen, each to be overridden by --gin_param (see the gin file):")
    for sentence in choices.sentences(found.frame_size):
        print(f"  {sentence}")
    return choices, found


def background_of(video: VideoFile, choices: Choices) -> np.ndarray:
    """Background image `[h,w,3]` uint8 at working size, see `video_background.estimate`."""
    sample = video_background.RunningSample(BACKGROUND_FRAMES)
    for frame in video.frames():
        sample.add(video_choices.resize(frame, choices.working_size))
    return video_background.estimate(sample.frames, choices.background)


def write_background(folder, image: np.ndarray) -> None:
    """Write the background as an array and, for people, as a picture."""
    for name in (BACKGROUND, BACKGROUND_PICTURE):
        still_images.write(pathlib.Path(folder) / name, image)


def read_view(folder, choices: Choices) -> video_clips.VideoView:
    """What the model sees, by the background kept in a folder. Raises UserError if that is missing or damaged."""
    path = pathlib.Path(folder) / BACKGROUND
    try:
        image = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read ({error}); {_CURE} and train again") from error
    if image.shape != (*choices.working_size, 3) or image.dtype != np.uint8:
        raise UserError(f"{path} is {image.dtype} {image.shape}, not of the size that was chosen; {_CURE}")
    return video_clips.VideoView(choices, image)


def extent(video: VideoFile) -> tuple[int, tuple[int, int]]:
    """How many frames of a video can be read, and their (rows, columns)."""
    frames, size = 0, None
    for frame in video.frames():
        frames, size = frames + 1, frame.shape[:2]
    return frames, size


def check_shape(video: VideoFile, record: VideoRecord) -> None:
    """Raise UserError unless a video has frames of the shape of those that weights were trained on."""
    rows, columns = next(iter(video.frames())).shape[:2]
    expected = record.frame_size
    if expected and not math.isclose(rows / columns, expected[0] / expected[1], rel_tol=0.02):
        raise UserError(
            f"{video.path} has frames of {rows}x{columns} pixels, the weights were trained on {expected[0]}x"
            f"{expected[1]}; expected a video of the same camera: train on this one (without --weights)"
        )
    if expected and (rows, columns) != tuple(expected):
        logging.info("frames of %dx%d pixels are resized like those of %dx%d", rows, columns, *expected)


def bindings(choices: Choices, folder, sentences) -> list[str]:
    """The macros of `gin_configs/own_video` for a video.

    Args:
      choices: its settings.
      folder: with the background.
      sentences: for the head of the report.
    """
    found: Mapping[str, object] = {
        "ANCHOR": tuple(choices.anchor),
        "SIZE_PRIOR_MEAN": choices.size_prior_mean,
        "SLOTS": choices.slots,
        "REMARKS": tuple(sentences),
    }
    lines = [f"{name} = {value!r}" for name, value in found.items()]
    behind = {"foreground": None, "difference": "@layers.FixedColour()", "frames": "@layers.RecordedImage()"}
    lines.append(f"BACKGROUND = {None if choices.background == 'none' else behind[choices.view]}")
    if choices.view == "frames":
        lines.append(f"BACKGROUND_IMAGE = {str((pathlib.Path(folder) / BACKGROUND).resolve())!r}")
    return lines
