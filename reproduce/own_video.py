"""Objects in a video of your own, without labels: measure, train, track, report.

  python -m reproduce.own_video --video=film.mp4 --out=runs/film

reads any file that FFmpeg reads, or a folder of images, from a camera that does not move; prints what it measured and
chose; trains a model on crops of this video; tracks the whole of it; and writes into --out

  tracks.csv            frame, id, x, y, width, height (pixels of the video, from its top-left corner), presence
  tracks_mot.txt        the same as MOTChallenge rows
  annotated.mp4         the video with boxes and ids
  report/index.html     settings, learning curves, clips, metrics

With --ground_truth=gt.txt (MOTChallenge rows) tracks are scored, beside connected components of the same foreground.
  gin_configs/own_video/quick.gin   about half an hour on two CPU cores
  gin_configs/own_video/long.gin    hours, for better tracks
"""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags, logging

from reproduce import exits, startup
from silot_tf import configuration
from silot_tf.errors import UserError

DEFAULT_GIN_FILE = "gin_configs/own_video/quick.gin"
MODES = ("all", "train", "track", "report")

_VIDEO = flags.DEFINE_string("video", None, "Video file, or folder of images.")
_OUT = flags.DEFINE_string("out", None, "Folder for everything; one that holds a run of the same video is continued.")
_GROUND_TRUTH = flags.DEFINE_string("ground_truth", None, "MOTChallenge rows to score the tracks by.")
_WEIGHTS = flags.DEFINE_string(
    "weights", None, "--out of an earlier training to start from: its weights, its choices and its background."
)
_MODE = flags.DEFINE_string(
    "mode",
    "all",
    "train, track (without training: with --weights also another video of the same camera), report, or all.",
)
_GIN_FILE = flags.DEFINE_multi_string("gin_file", [], f"Configuration; without it {DEFAULT_GIN_FILE}. May be repeated.")
_GIN_PARAM = flags.DEFINE_multi_string(
    "gin_param", [], "One binding, for example 'data.VideoChooser.object_size=(40, 16)'; may be repeated."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of weights and crops.", lower_bound=0, upper_bound=2**31 - 1)


def main(arguments):
    """Do what the flags say; errors a user can mend are one line and status 2."""
    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)
    with exits.one_line_errors(exits.goes_on("stopped")):
        if len(arguments) > 1:
            raise UserError(f"argument '{arguments[1]}' is not understood; expected only flags such as --mode=track")
        _work()


def _work() -> None:
    mode, out = _MODE.value, _OUT.value
    if mode not in MODES:
        raise UserError(f"--mode={mode} is unknown; expected one of {', '.join(MODES)}")
    if not out:
        raise UserError("--out is missing; expected a folder for the results")
    if not _VIDEO.value and mode != "report":
        raise UserError("--video is missing; expected a video file or a folder of images")
    for name in _GIN_FILE.value:
        configuration.find(name)  # a wrong name is told at once, not after TensorFlow has started
    from reproduce import video_runs  # needs no TensorFlow: most mistakes are told before that starts
    from silot_tf import mot_challenge
    from silot_tf.data import video_files

    out, video, record, truth = pathlib.Path(out), None, None, None
    if mode != "report":
        video = video_files.open_video(_VIDEO.value)
        record = video_runs.check_folder(out, video)
        # These are read again when they are needed; mistakes are told before anything long.
        if _GROUND_TRUTH.value:
            mot_challenge.read(_GROUND_TRUTH.value)
        if _WEIGHTS.value:
            video_runs.trained_record(_WEIGHTS.value)
    startup.start_tensorflow_quietly()
    # These register what configurations name, before gin is locked.
    import silot_tf.training  # noqa: F401
    from reproduce import experiment, video_results, video_tracking  # noqa: F401
    from silot_tf.training.interruption import Interrupted

    if mode == "report":
        if video_runs.read_record(out) is None or not (out / configuration.CONFIG_FILE).is_file():
            raise UserError(f"--out={out} holds no run; track a video first (--mode=all)")
        configuration.load([str(out / configuration.CONFIG_FILE), *_GIN_FILE.value], _GIN_PARAM.value)
        print(f"report: {video_results.write_report(out).resolve()}")
        return
    run = _prepare(out, video, record)
    if _GROUND_TRUTH.value:  # read before anything is written, and before long work
        run.count_frames()
        truth = mot_challenge.read(_GROUND_TRUTH.value, run.record.frames, run.record.frame_size)
    if mode in ("all", "train"):
        try:
            run.train()
        except Interrupted as interruption:
            exits.leave(exits.goes_on(str(interruption)), exits.STOPPED)
    if mode in ("all", "track"):
        run.track(truth)


def _prepare(out: pathlib.Path, video, record):
    """The run to be worked on, with its configuration loaded; writes nothing."""
    from reproduce import video_runs
    from reproduce.video_session import VideoSession
    from silot_tf.data.video_choices import VideoChooser

    mode, weights = _MODE.value, _WEIGHTS.value
    trained_here = record is not None and record.trained_in is None
    if mode == "track" and not trained_here and not weights:
        if record is not None:
            weights = record.trained_in  # tracked before with the weights of another folder
        else:
            raise UserError(
                f"--mode=track has nothing to track with: {out} holds no trained weights; give --weights=FOLDER of an "
                "earlier training, or train (--mode=all)"
            )
    if mode != "track" and record is not None and not trained_here:
        raise UserError(
            f"--out={out} holds tracks made with the weights of {record.trained_in}; choose another --out for training"
        )
    source = pathlib.Path(weights) if weights else None
    if mode == "track" and trained_here and source and source.resolve() != out.resolve():
        raise UserError(f"--out={out} holds weights of its own; choose another --out for tracks by those of {source}")
    if mode == "track" and trained_here:
        source = None  # its own
    stored = source if mode == "track" and source else out if trained_here else None
    gin_files = list(_GIN_FILE.value)
    if stored is not None and (stored / configuration.CONFIG_FILE).is_file():
        # Tracking by the configuration of the training; resuming without --gin_file likewise.
        if mode == "track":
            gin_files = [str(stored / configuration.CONFIG_FILE), *gin_files]
        gin_files = gin_files or [str(stored / configuration.CONFIG_FILE)]
    gin_files = gin_files or [DEFAULT_GIN_FILE]
    configuration.load(gin_files, _GIN_PARAM.value)
    earlier = video_runs.trained_record(source) if source else None
    background = None
    if record is not None and not (mode == "track" and source):
        choices = record.choices
    elif earlier is not None:
        video_runs.check_shape(video, earlier)
        choices = earlier.choices
        logging.info("sizes, slots and background are those of %s", source)
        record = video_runs.VideoRecord(
            str(video.path),
            video.fingerprint(),
            None,
            None,
            choices,
            str(source.resolve()) if mode == "track" else None,
        )
    else:
        chooser = configuration.build(VideoChooser)
        choices, found = video_runs.measure(video, chooser)
        background = video_runs.background_of(video, choices)
        record = video_runs.VideoRecord(
            str(video.path), video.fingerprint(), found.num_frames, found.frame_size, choices
        )
    return VideoSession(out, video, record, gin_files, _GIN_PARAM.value, _SEED.value, source, background)


if __name__ == "__main__":
    app.run(main)
