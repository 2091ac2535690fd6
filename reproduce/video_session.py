"""One process at work on an own video: training and tracking in its folder."""

import dataclasses
import pathlib
import time

from reproduce import video_results, video_runs, video_tracking
from reproduce.experiment import Experiment
from silot_tf import configuration, run_stamp
from silot_tf.data import video_clips
from silot_tf.errors import UserError
from silot_tf.training import determinism, restoring


@dataclasses.dataclass
class VideoSession:
    """One video with one folder.

    Attributes:
      out: the folder.
      video: opened.
      record: of the folder, written before anything else.
      gin_files: as loaded.
      gin_params: bindings of the command line, which win over what was measured.
      seed: of weights, crops and noise.
      source: folder of weights to start from, or None.
      background: newly estimated, or None where it is kept in a folder.
    """

    out: pathlib.Path
    video: object
    record: object
    gin_files: list
    gin_params: list
    seed: int
    source: pathlib.Path | None
    background: object

    def __post_init__(self):
        # After hours of training, files may have been edited: from then on the run's own copy counts.
        self._resolved = None

    def train(self) -> None:
        """Train, or go on. Raises `Interrupted` when stopped."""
        storage = configuration.build(video_runs.VideoStorage)
        self.count_frames()
        kept = storage.kept(self.record.frames)
        self._load()
        configuration.check_same(self.out, configuration.bound())
        stored = run_stamp.RunStamp(self.out).read().get("seed", self.seed)
        if stored != self.seed:
            raise UserError(f"--out={self.out} holds a run with seed {stored}, not {self.seed}; choose another --out")
        view = self._view()
        setup = self._setup(self.out / video_runs.FRAMES, kept, view)
        self._open_folder(view)
        if not (self.out / video_runs.FRAMES).is_file():
            video_clips.write_frames(self.video, self.out / video_runs.FRAMES, self.record.choices.working_size, kept)
        self._begin(setup, "train")
        self._resolved = [str(self.out / configuration.CONFIG_FILE)]
        setup.train(self.out, self.seed)
        run_stamp.RunStamp(self.out).finish()
        if run_stamp.RunStamp(self.out).read().get("status") == "trained":
            (self.out / video_runs.FRAMES).unlink(missing_ok=True)  # a large file, made again if training goes on

    def track(self, truth) -> None:
        """Track the video with the latest weights, score where there is ground truth (`TrackRows`), report."""
        self._load()
        view = self._view()
        setup = self._setup(self.out / video_runs.FRAMES, None, view)
        tracker = configuration.build(video_tracking.Tracker)
        baseline = configuration.build(video_results.ForegroundBaseline) if truth is not None else None
        trained = pathlib.Path(self.record.trained_in or self.out)
        model = setup.new_model(self.seed, setup.test_model)
        restoring.restore_weights(trained, model, "latest")
        self._open_folder(view)
        self._begin(setup, "track")
        started = time.monotonic()
        results = tracker.track(
            model,
            self.video,
            view,
            self.out,
            num_frames=self.record.frames or self.video.declared_frames,
            seed=self.seed,
        )
        self.record = dataclasses.replace(
            self.record, frames=results["frames"], frame_size=tuple(results["frame_size"])
        )
        self.record.write(self.out)
        scores = video_results.write_results(self.out, self.video, view, results, truth, baseline)
        stamp = run_stamp.RunStamp(self.out)
        stamp.add(hours={"track": (time.monotonic() - started) / 3600}, status="tracked")
        stamp.finish()
        page = video_results.write_report(self.out)
        video_results.announce(self.out, results, scores, page)

    def count_frames(self) -> None:
        """Read the video where the number of its frames is not known yet: its settings are those of other weights."""
        if self.record.frames is None:
            frames, frame_size = video_runs.extent(self.video)
            self.record = dataclasses.replace(self.record, frames=frames, frame_size=frame_size)

    def _load(self) -> None:
        """The configuration once more, now with what was measured; what the user gives wins."""
        where = self.record.trained_in or self.out
        sentences = (*self._remarks(), "The video with boxes and ids, if it was asked for, is annotated.mp4 beside.")
        measured = video_runs.bindings(self.record.choices, where, sentences)
        configuration.load(
            self._resolved or self.gin_files, [*measured, *_initial_weights(self.source), *self.gin_params]
        )

    def _remarks(self) -> list[str]:
        size = self.record.frame_size or self.record.choices.working_size
        first, *others = self.record.choices.sentences(size)
        return [
            f"Video: {pathlib.Path(self.record.video).name}.",
            *(f"{s[:1].upper()}{s[1:]}." for s in (first, *others)),
        ]

    def _view(self):
        """What the model sees: by the background that was just estimated, or that of the folder it is kept in."""
        if self.background is not None:
            return video_clips.VideoView(self.record.choices, self.background)
        # A folder that holds its own background keeps it; one that only tracks takes that of the weights.
        kept = self.record.trained_in or (self.out if (self.out / video_runs.BACKGROUND).is_file() else self.source)
        return video_runs.read_view(kept or self.out, self.record.choices)

    def _open_folder(self, view) -> None:
        """Write record and background; nothing is written before."""
        self.record.write(self.out)
        video_runs.write_background(self.out, view.background)

    def _setup(self, frames: pathlib.Path, kept, view):
        """The experiment that gin puts together around this video."""
        dataset = configuration.build(lambda: video_clips.VideoClips(frames, kept or [(0, 2**31)], view))
        setup = configuration.build(lambda: Experiment(dataset=dataset))
        if setup.deterministic:
            determinism.make_deterministic()
        return setup

    def _begin(self, setup, mode: str) -> None:
        text = configuration.bound()
        if mode == "train" or not (self.out / configuration.CONFIG_FILE).is_file():
            configuration.write(self.out, configuration.CONFIG_FILE, text)
        run_stamp.RunStamp(self.out).begin(
            seed=self.seed,
            experiment=f"own_video/{self.out.resolve().name}",
            model=getattr(setup.model, "__name__", str(setup.model)),
            mode=mode,
            gin_files=self.gin_files,
            gin_params=self.gin_params,
        )


def _initial_weights(source) -> list[str]:
    return [f"reproduce.Experiment.initial_weights = {str(source.resolve())!r}"] if source else []
