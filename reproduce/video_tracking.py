"""A whole video through a trained model, chunk after chunk: tracks as text, boxes drawn on the frames, example clips.

Frames come and go; what stays in memory does not grow with the video.
"""

import collections
import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator

import gin
import numpy as np

from reproduce import progress
from reproduce.track_files import TrackFiles
from silot_tf.data.video_clips import VideoView
from silot_tf.data.video_files import VideoFile
from silot_tf.errors import UserError
from silot_tf.evaluation import frame_tracks, reconstruction, sprites
from silot_tf.evaluation.frame_tracks import FrameTracks
from silot_tf.evaluation.reconnection import Reconnection
from silot_tf.evaluation.streaming import VideoStream
from silot_tf.training.interruption import StopRequest

KEYS = ("where", "depth", "pres", "track_id", "is_new")


@gin.configurable(module="reproduce")
@dataclasses.dataclass(frozen=True)
class Tracker:
    """Tracks a video with a trained model and writes what it finds.

    Args:
      chunk_frames: frames per call of the model.
      least_frames: tracks that appear in fewer frames are left out of the files; 1 keeps all. Later frames of a track
        decide about its first ones, so the files lag behind by so many frames while they are written.
      tighten: shrink boxes to what differs from the background inside of them: sprites are painted with soft edges, so
        boxes are larger than what they show. Without a background boxes stay as they are.
      most_overlap: of two objects whose boxes overlap by an IoU above it, the one that was found later is left out of
        the files in that frame; 1 keeps both.
      reconnect_frames: an object that was lost and is found anew within so many frames, near the place where it is
        expected by then, keeps its id; 0 leaves ids as the model gives them.
      reconnect_reach: how near, in sides of its box (root of the area).
      annotate: whether to write the video with boxes.
      annotated_width: smaller frames are enlarged there by a whole factor, 4 at most, to about this width in pixels, so
        that ids do not hide what they name.
      frame_rate: of that video where the input does not say (folders of images), frames per second.
      codec: of that video, four letters that OpenCV's FFmpeg can encode into mp4.
      example_clips: clips for the report, evenly spread over the video.
      example_frames: frames of each.
    """

    chunk_frames: int = 8
    least_frames: int = 1
    tighten: bool = False
    most_overlap: float = 1.0
    reconnect_frames: int = 0
    reconnect_reach: float = 1.0
    annotate: bool = True
    annotated_width: int = 640
    frame_rate: float = 10.0
    codec: str = "mp4v"
    example_clips: int = 3
    example_frames: int = 24

    def __post_init__(self):
        least_of = {
            "chunk_frames": 1,
            "least_frames": 1,
            "reconnect_frames": 0,
            "example_clips": 0,
            "example_frames": 1,
        }
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise UserError(f"Tracker.{name} is {getattr(self, name)}; expected a whole number of at least {least}")
        if not 0 < self.most_overlap <= 1:
            raise UserError(f"Tracker.most_overlap is {self.most_overlap}; expected an IoU above 0, at most 1")
        if self.reconnect_reach <= 0:
            raise UserError(f"Tracker.reconnect_reach is {self.reconnect_reach}; expected a number of sides above 0")
        if len(self.codec) != 4 or self.frame_rate <= 0:
            raise UserError(
                f"Tracker.codec is '{self.codec}' and frame_rate {self.frame_rate}; expected four letters such as mp4v "
                "and a number above 0"
            )

    def track(self, model, video: VideoFile, view: VideoView, folder, *, num_frames: int | None, seed: int) -> dict:
        """Track the video; write `tracks.csv`, `tracks_mot.txt` and, where asked for, `annotated.mp4` into `folder`.

        The files appear when all of them are complete, in place of earlier ones.

        Args:
          model: a built `VideoModel` with trained weights.
          video: see `open_video`.
          view: what the model is shown.
          folder: exists.
          num_frames: of the video as far as it is known, for choosing examples and the progress line.
          seed: of the noise of models that have some.

        Returns:
          `frames` (their number), `frame_size` (rows, columns), `metrics` (`reconstruction` and `mse`, means over
          frames) and `examples` (arrays of example clips without annotations, see `reporting.examples`; the clips'
          first frames, counted from 0, under `first_frames`).

        Raises:
          UserError: see `VideoFile.frames`; also if the folder cannot be written. Nothing is left behind.
        """
        keys = (*KEYS, "what") if model.has_sprites else KEYS
        stream = VideoStream(model, chunk_frames=self.chunk_frames, reconstruction=True, object_keys=keys)
        waiting, seen = collections.deque(), []
        examples = _Examples(self.example_clips, self.example_frames, num_frames, model, view)
        sums, count, size = {}, 0, None
        tighten = self.tighten and view.choices.background != "none"
        reconnection = Reconnection(self.reconnect_frames, self.reconnect_reach)
        bar = progress.bar(total=num_frames, desc="tracking", unit=" frames")

        def shown() -> Iterator[np.ndarray]:
            for frame in video.frames():
                resized = view.resized(frame)
                waiting.append((frame, view.foreground(resized) if tighten else None))
                seen.append(view.seen(resized))
                yield seen[-1][None]

        with contextlib.ExitStack() as stack:
            stack.enter_context(bar)
            outputs = TrackFiles(stack, pathlib.Path(folder), self, video.frame_rate or self.frame_rate)
            stop = stack.enter_context(StopRequest("leaving"))
            for chunk in stream.chunks(shown(), seed=(seed, 0)):
                if stop:
                    raise KeyboardInterrupt
                length = chunk["objects"]["pres"].shape[1]
                pictures = np.stack(seen[:length])
                del seen[:length]
                _add(sums, chunk, pictures)
                for t in range(length):
                    count += 1
                    (frame, foreground), objects = waiting.popleft(), {k: chunk["objects"][k][0, t] for k in keys}
                    size = size or frame.shape[:2]
                    tracks = self._cleaned(frame_tracks.of_outputs(objects, size), foreground, size)
                    named = reconnection.rename(count, tracks.track_id, tracks.edges)
                    tracks = dataclasses.replace(tracks, track_id=np.array(named, np.int64))
                    outputs.add(frame, tracks)
                    examples.add(count - 1, pictures[t], chunk["reconstruction"][0, t], objects, tracks, size)
                bar.update(length)
            outputs.finish()
        metrics = {name: value / count for name, value in sums.items()}
        return {"frames": count, "frame_size": size, "metrics": metrics, "examples": examples.arrays()}

    def _cleaned(self, tracks: FrameTracks, foreground: np.ndarray | None, size: tuple[int, int]) -> FrameTracks:
        """Tracks of a frame as they are told; `foreground`: see `frame_tracks.tightened`, None to leave boxes alone."""
        if foreground is not None:
            tracks = frame_tracks.tightened(tracks, foreground, size)
        return frame_tracks.without_doubles(tracks, self.most_overlap)


class _Examples:
    """Picks a few stretches of the video for the report, with the objects as the files tell them."""

    def __init__(self, clips: int, length: int, num_frames: int | None, model, view: VideoView):
        total = num_frames or clips * length
        clips = min(clips, max(1, total // length)) if clips else 0
        length = min(length, total)
        self.first = np.unique(np.linspace(0, total - length, clips).round().astype(int)).tolist() if clips else []
        self._length, self._parts, self._model, self._view = length, [[] for _ in self.first], model, view

    def add(self, number: int, seen, rebuilt, objects: dict, tracks: FrameTracks, size: tuple[int, int]) -> None:
        """Frame `number`, counted from 0: what the model sees, its reconstruction, its objects, and the tracks told."""
        for first, parts in zip(self.first, self._parts, strict=True):
            if first <= number < first + self._length:
                told = {key: objects[key].copy() for key in KEYS}
                told["pres"][objects["track_id"] >= 0] = 0  # but for those that are told
                told["track_id"][:] = -1
                for key, value in (("where", tracks.where(size)), ("pres", tracks.presence[:, None])):
                    told[key][tracks.slot] = value
                told["track_id"][tracks.slot] = tracks.track_id
                if self._model.has_sprites:
                    told["sprites"] = self._sprites(objects["what"], told["pres"][..., 0])
                parts.append((self._view.shown(seen), self._view.shown(rebuilt), told))

    def _sprites(self, what, pres) -> np.ndarray:
        """`[K,h,w,4]` uint8, colours as they are shown."""
        decoded = sprites.record(self._model, what, pres)
        colour, opacity = self._view.shown_alone(np.float32(decoded[..., :3]) / 255), decoded[..., 3:]
        return np.concatenate([np.where(opacity > 0, colour, 0), opacity], axis=-1)

    def arrays(self) -> dict[str, np.ndarray]:
        whole = [(n, parts) for n, parts in zip(self.first, self._parts, strict=True) if len(parts) == self._length]
        if not whole:
            return {}
        video, rebuilt = (np.stack([[part[i] for part in parts] for _, parts in whole]) for i in (0, 1))
        names = whole[0][1][0][2]
        stacked = {name: np.stack([[part[2][name] for part in parts] for _, parts in whole]) for name in names}
        drawn = {"sprites": stacked["sprites"]} if "sprites" in stacked else {}
        return drawn | {
            "video": video,
            "reconstruction": rebuilt,
            "boxes": stacked["where"],
            "pres": stacked["pres"][..., 0],
            "depth": stacked["depth"][..., 0],
            "track_id": stacked["track_id"],
            "is_new": stacked["is_new"],
            "first_frames": np.array([first for first, _ in whole]),
        }


def _add(sums: dict, chunk: dict, pictures: np.ndarray) -> None:
    batch = {"video": pictures[None], "frame_mask": np.ones((1, len(pictures)), bool)}
    for name, value in reconstruction.metrics(chunk, batch).items():
        sums[name] = sums.get(name, 0.0) + value * len(pictures)
