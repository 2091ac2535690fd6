"""Numbers and the page for a tracked video, and connected components of its foreground to compare with."""

import dataclasses
import pathlib
from collections.abc import Sequence

import gin
import numpy as np

from reproduce import progress
from reproduce.track_files import ANNOTATED, MOT, TRACKS
from silot_tf import configuration
from silot_tf.data import video_background
from silot_tf.data.video_clips import VideoView
from silot_tf.data.video_files import VideoFile
from silot_tf.errors import UserError
from silot_tf.evaluation import hota, results, video_tracks
from silot_tf.evaluation.reconnection import Reconnection
from silot_tf.models.baselines.connected_components import components, link
from silot_tf.mot_challenge import TrackRows
from silot_tf.ops import boxes as box_ops
from silot_tf.reporting.report import Report

BASELINE = "connected_components"
SMALLEST_TRACKED_SHARE = 0.25  # of the area of a usual object's box: what is less is a speck to the baseline


@gin.configurable(module="reproduce")
@dataclasses.dataclass(frozen=True)
class ForegroundBaseline:
    """Connected components of the foreground on the frames that the model sees, ids by nearest centre.

    Two results: with the measured threshold, the foreground that everything else was chosen by; and with the one of
    `thresholds` that gives the largest MOTA on the ground truth itself, which no tracker could know.

    Args:
      thresholds: candidates, sums over three channels of values in [0, 1].
      smallest_share: of the area of a usual object's box, for a component to count.
      radius: largest distance of centres of one object in successive frames, in heights of a usual object.
      reconnect_frames, reconnect_reach: as of the tracker, so that components are followed with the same means.

    Source: SILOT specification 6.4 (components and ids).
    """

    thresholds: Sequence[float] = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
    smallest_share: float = SMALLEST_TRACKED_SHARE
    radius: float = 0.75
    reconnect_frames: int = 0
    reconnect_reach: float = 1.0

    def __post_init__(self):
        if not self.thresholds or min(self.thresholds) <= 0 or self.radius <= 0 or not 0 <= self.smallest_share < 1:
            raise UserError(
                f"ForegroundBaseline has thresholds {self.thresholds}, smallest_share {self.smallest_share} and radius "
                f"{self.radius}; expected thresholds and a radius above 0, and a share below 1"
            )

    def score(
        self, video: VideoFile, view: VideoView, truth: TrackRows
    ) -> tuple[dict[str, dict[str, float]], dict[str, TrackRows]]:
        """Name of the baseline -> metric -> value, and name of the baseline -> its tracks."""
        measured = view.choices.foreground_threshold
        settings = list(dict.fromkeys([measured, *self.thresholds]))
        edges = {threshold: [] for threshold in settings}
        size, count = None, 0
        for frame in progress.bar(video.frames(), desc=BASELINE.replace("_", " "), unit=" frames"):
            size, count = frame.shape[:2], count + 1
            contrast = video_background.difference(view.resized(frame), view.background)
            for threshold in settings:
                edges[threshold].append(self._components(contrast >= threshold, size, view.choices.object_size))
        radius = self.radius * view.choices.object_size[0]
        tracked = {threshold: self._linked(found, radius) for threshold, found in edges.items()}
        scores = {threshold: video_tracks.score(found, truth, count) for threshold, found in tracked.items()}
        chosen = {BASELINE: measured, f"{BASELINE}_tuned": max(scores, key=lambda t: scores[t]["mota"])}
        return (
            {name: scores[threshold] | {"threshold": threshold} for name, threshold in chosen.items()},
            {name: tracked[threshold] for name, threshold in chosen.items()},
        )

    def _components(self, mask: np.ndarray, size, object_size) -> np.ndarray:
        """`[P,4]` (top, bottom, left, right) in pixels of the video, measured from its corner."""
        _, _, found = components(mask[None, None])
        where = box_ops.from_edges(found, mask.shape)
        centre, half = where[:, :2] * size, where[:, 2:] * size / 2
        (top, left), (bottom, right) = (centre - half).T, (centre + half).T
        large = (bottom - top) * (right - left) >= self.smallest_share * object_size[0] * object_size[1]
        return np.stack([top, bottom, left, right], axis=-1)[large]

    def _linked(self, edges: Sequence[np.ndarray], radius: float) -> TrackRows:
        """Components of all frames as tracks."""
        centres = [np.stack([own[:, :2].mean(axis=1), own[:, 2:].mean(axis=1)], axis=-1) for own in edges]
        ids = link(centres, [np.zeros(len(own)) for own in edges], radius)
        reconnection = Reconnection(self.reconnect_frames, self.reconnect_reach)
        ids = [reconnection.rename(t, own + 1, box) for t, (own, box) in enumerate(zip(ids, edges, strict=True))]
        top, bottom, left, right = np.concatenate(edges).T
        frame = np.repeat(np.arange(1, len(edges) + 1), [len(own) for own in edges])
        boxes = np.stack([left, top, right - left, bottom - top], axis=-1)
        return TrackRows(frame, np.concatenate(ids).astype(np.int64), boxes, np.ones(len(frame)))


def write_results(folder, video: VideoFile, view: VideoView, tracked: dict, truth: TrackRows | None, baseline) -> dict:
    """Write `results/metrics.json` and `results/examples.npz`; return name of the method -> metric -> value.

    Args:
      folder: of the run, with `tracks.csv`.
      video, view: see `Tracker.track`.
      tracked: what that returned.
      truth: rows to score the tracks by, or None.
      baseline: a `ForegroundBaseline`; not used without truth.
    """
    found, frames = video_tracks.read_tracks(pathlib.Path(folder) / TRACKS), tracked["frames"]
    mine = video_tracks.describe(found, frames) if truth is None else video_tracks.score(found, truth, frames)
    mine |= tracked["metrics"]
    baselines, baseline_tracks = ({}, {}) if truth is None else baseline.score(video, view, truth)
    condition = f"{video.path.name}, {frames} frames"
    protocol = video_tracks.protocol() | {
        "reconstruction": "Negative Bernoulli log-likelihood of what the model sees, nats per resized frame.",
        "mse": "Squared error per pixel and channel of what the model sees, values in [0, 1].",
        "threshold": "Of the foreground in which components are sought: sum over channels of |frame - background|.",
    }
    if tracked["examples"]:
        arrays = dict(tracked["examples"])
        first, length = arrays.pop("first_frames"), arrays["video"].shape[1]
        arrays["condition"] = np.array([f"frames {n + 1} to {n + length}" for n in first])
        if truth is not None:
            place = (first, length, tracked["frame_size"])
            arrays |= dict(zip(("truth_boxes", "truth_present", "truth_track_id"), _clips(truth, *place), strict=True))
            for name, rows in baseline_tracks.items():
                boxes, present, ids = _clips(rows, *place)
                own = {"boxes": boxes, "pres": present.astype(np.float32), "track_id": ids}
                own["is_new"] = np.zeros_like(present)  # said of models alone
                arrays |= {f"baseline_{name}_{field}": value for field, value in own.items()}
        results.write_examples(folder, arrays)
    results.write_metrics(
        folder,
        model={condition: mine},
        baselines={name: {condition: values} for name, values in baselines.items()},
        conditions={condition: 1},
        condition_label="video",
        protocol={name: text for name, text in protocol.items() if name in mine or name == "threshold"},
    )
    return {"model": mine} | baselines


def _clips(tracks: TrackRows, first, length: int, size) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`boxes [E,T,N,4]`, `present [E,T,N]`, `ids [E,T,N]` of tracks in example clips, see `reporting.examples`."""
    frames = np.asarray(first)[:, None] + np.arange(1, length + 1)
    rows = [[np.flatnonzero(tracks.frame == number) for number in clip] for clip in frames]
    most = max((len(own) for clip in rows for own in clip), default=0)
    boxes = np.zeros((*frames.shape, most, 4), np.float32)
    present, ids = np.zeros((*frames.shape, most), bool), np.full((*frames.shape, most), -1, np.int32)
    where = box_ops.from_edges(tracks.edges - 0.5, size)
    for clip, own in enumerate(rows):
        for t, chosen in enumerate(own):
            boxes[clip, t, : len(chosen)] = where[chosen]
            present[clip, t, : len(chosen)] = True
            ids[clip, t, : len(chosen)] = tracks.track_id[chosen]
    return boxes, present, ids


def write_report(folder) -> pathlib.Path:
    """Page of the report, made as the loaded configuration says."""
    return configuration.build(Report).write([folder], pathlib.Path(folder) / "report")


def announce(folder, tracked: dict, scores: dict, page: pathlib.Path) -> None:
    """Print what was found and where it is."""
    for name, values in scores.items():
        keys = ("mota", "idf1", "hota", "misses", "false_positives", "switches", "tracks", "objects_per_frame")
        print(f"{name}: " + ", ".join(f"{key} {values[key]:.4g}" for key in keys if key in values))
    if "mota" in scores["model"] and not hota.is_available():
        print(f"hota is not computed, it needs TrackEval: {hota.INSTALL}")
    if not scores["model"]["tracks"]:
        print("nothing was tracked: train longer (gin_configs/own_video/long.gin), or ask for less presence or shorter")
        print("tracks: --gin_param='TRACK_THRESHOLD=0.3', --gin_param='Tracker.least_frames=1'")
    written = [name for name in (TRACKS, MOT, ANNOTATED) if (pathlib.Path(folder) / name).is_file()]
    print(f"{tracked['frames']} frames tracked: {', '.join(written)} in {pathlib.Path(folder).resolve()}")
    print(f"report: {page.resolve()}")
