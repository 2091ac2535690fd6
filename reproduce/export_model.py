"""A trained run as a TensorFlow SavedModel that follows objects frame by frame, with a card and its own check.

The folder has signatures `initial_state`, `step` and `predict` for any number of streams (silot_tf.export.saved_model
tells them), `card.json` with units, shapes, configuration, metrics and checksums, and `check.py`, which compares the
export with what the live model gave; it runs without this package, and before the folder gets its name. Of a run of
`reproduce.own_video`, the export takes frames of the video as they are.

usage: python -m reproduce.export_model --run_dir=RUN --out=FOLDER [--flag=value ...]
       python -m reproduce.export_model --mode=verify --out=FOLDER [--run_dir=RUN]

Exit codes: 0 done; 1 the export differs from the model; 2 bad input, or a disk that is full or read-only; 130 stopped.
"""

import dataclasses
import pathlib
import sys
import tempfile

from absl import app, flags, logging

from reproduce import exits, run_folders, startup
from silot_tf import configuration, files, run_stamp
from silot_tf.errors import UserError

MODES = ("all", "export", "verify")
#: What of run.json is told on the card.
_OF_THE_RUN = ("experiment", "seed", "commit", "started", "finished", "updates", "hours", "versions", "devices")

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of a trained run (a single seed).")
_OUT = flags.DEFINE_string("out", None, "Folder to write, which must not exist yet; or to verify.")
_MODE = flags.DEFINE_string(
    "mode", "all", "all: export and verify; export: without comparing; verify: compare an export that exists."
)
_GIN_PARAM = flags.DEFINE_multi_string(
    "gin_param", [], "One binding on top of the run's configuration, such as 'test/silot.SILOT.num_slots=64'."
)
_FRAME_SHAPE = flags.DEFINE_list(
    "frame_shape", None, "HEIGHT,WIDTH of the frames to come, pixels. Default: that of the run's test frames, or video."
)
_DETERMINISTIC = flags.DEFINE_bool("deterministic", False, "Leave out all noise: the mean stands for every sample.")
_STABLEHLO = flags.DEFINE_bool("stablehlo", False, "Also write a step at batch 1 as a StableHLO module.")
_WEIGHTS = flags.DEFINE_string("weights", None, "final, overall or latest. Default: Experiment.weights of the run.")


class _Different(Exception):
    """An export that was not kept; its argument is the report of the comparison."""


def main(_):
    """Do what the flags say, then leave the process."""
    with exits.one_line_errors("stopped; nothing was written"):
        _check_flags()
        logging.set_verbosity(logging.WARNING)
        startup.start_tensorflow_quietly()
        try:
            report = verify() if _MODE.value == "verify" else export()
        except _Different as different:
            report = different.args[0]
    if report is not None:
        print(_words(report))
        sys.exit(0 if report["equal"] else 1)


def export() -> dict | None:
    """Write the folder; return the comparison with the live model, or None where none was asked for."""
    from silot_tf.export import card, saved_model, stablehlo, verification

    out, run_dir = pathlib.Path(_OUT.value), pathlib.Path(_RUN_DIR.value)
    with files.new_folder(out) as folder:
        size = _FRAME_SHAPE.value and tuple(map(int, _FRAME_SHAPE.value))
        configured = str(run_folders.stored_configuration(run_dir))
        setup, frame_shape, preprocessing = _run(run_dir, configured, _GIN_PARAM.value, size)
        model, weights = _live_model(setup, run_dir, _WEIGHTS.value or setup.weights)
        _try_one_frame(model, preprocessing.seen_shape if preprocessing else frame_shape)
        options = {"deterministic": _DETERMINISTIC.value, "preprocessing": preprocessing}
        signatures = saved_model.write(model, folder, frame_shape, **options)
        clips = verification.clips_for(_example_video(run_dir), frame_shape, preprocessing)
        arrays = verification.reference(model, clips, **options)
        verification.write_reference(folder, arrays)
        report = verification.compare(folder) if _MODE.value == "all" else None
        module = {"stablehlo": stablehlo.write(folder)} if _STABLEHLO.value else {}
        content = card.describe(model, signatures, frame_shape, **options)
        card.write(folder, content | _origin(run_dir, weights) | {"verification": report} | module)
        if report is not None and not report["equal"]:
            raise _Different(report)  # so that no folder stays: an export that is not the model is worth nothing
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    height, width = frame_shape[:2]
    slots = content["model"]["slots"]
    inside = f"; inside, {preprocessing.description['sentence']}" if preprocessing else ""
    print(f"export: {out.resolve()} ({size / 1e6:.1f} MB; frames of {height}x{width}, {slots} slots{inside})")
    return report


def verify() -> dict:
    """Compare an export with the live model of `--run_dir`; without one, with its outputs kept in the export."""
    from silot_tf.export import card, verification

    out = pathlib.Path(_OUT.value)
    content = card.read(out)
    card.check_files(out, content)
    arrays = None
    if _RUN_DIR.value is not None:
        run_dir, frame_shape = pathlib.Path(_RUN_DIR.value), tuple(content["frame"]["shape"])
        with tempfile.TemporaryDirectory() as elsewhere:
            configuration.write(elsewhere, configuration.CONFIG_FILE, content["configuration"])
            configured = str(pathlib.Path(elsewhere) / configuration.CONFIG_FILE)
            setup, _, preprocessing = _run(run_dir, configured, (), frame_shape[:2])
        model, weights = _live_model(setup, run_dir, content["weights"]["choice"])
        if weights != content["weights"]:
            raise UserError(
                f"{run_dir} has other weights by now (update {weights['global_step']}) than {out} was made of (update "
                f"{content['weights']['global_step']}); leave --run_dir out, or export again"
            )
        clips = verification.clips_for(_example_video(run_dir), frame_shape, preprocessing)
        arrays = verification.reference(
            model, clips, deterministic=content["deterministic"], preprocessing=preprocessing
        )
    return verification.compare(out, arrays)


def _check_flags() -> None:
    """What can be told before TensorFlow starts."""
    mode, out = _MODE.value, _OUT.value
    if mode not in MODES:
        raise UserError(f"--mode={mode} is unknown; expected one of {', '.join(MODES)}")
    if not out:
        raise UserError("--out is missing; expected the folder of the export")
    if mode == "verify" and not pathlib.Path(out).is_dir():
        raise UserError(f"--out={out} is not a folder; expected an export: make it first, without --mode=verify")
    if mode != "verify" and pathlib.Path(out).exists():
        raise UserError(f"--out={out} exists; expected the name of a new folder: choose another, or remove it")
    if mode != "verify" and _RUN_DIR.value is None:
        raise UserError("--run_dir is missing; expected the folder of a trained run, such as runs/.../seed0")
    if _RUN_DIR.value is not None and run_folders.stored_configuration(_RUN_DIR.value) is None:
        raise UserError(
            f"--run_dir={_RUN_DIR.value} holds no {configuration.CONFIG_FILE}; expected the folder of a trained run"
        )
    if _FRAME_SHAPE.value is not None and not (
        len(_FRAME_SHAPE.value) == 2 and all(side.isdigit() and int(side) > 0 for side in _FRAME_SHAPE.value)
    ):
        raise UserError(
            f"--frame_shape={','.join(_FRAME_SHAPE.value)}: expected HEIGHT,WIDTH in pixels, such as 210,160"
        )


def _run(run_dir: pathlib.Path, configured: str, gin_params, size: tuple[int, int] | None):
    """The experiment of a run, the shape of the frames to come, and the `Preprocessing` before the model, or None.

    Args:
      run_dir: its folder.
      configured: file with its configuration.
      gin_params: bindings that win over it.
      size: (rows, columns) of the frames to come; None for the usual ones.
    """
    import silot_tf.training  # noqa: F401  registers what configurations name before gin is locked
    from reproduce import video_runs
    from reproduce.experiment import Experiment

    record = video_runs.read_record(run_dir)
    if record is not None:
        from reproduce import video_export

        setup = video_export.experiment(run_dir, record, [configured], gin_params)
        return setup, *video_export.preprocessing(run_dir, record, size)
    configuration.load([configured], gin_params)
    setup = configuration.build(Experiment)
    trained = tuple(setup.dataset.frame_shape)
    usual = tuple(getattr(setup.dataset, "test_frame_shape", trained))
    return setup, (*size, trained[-1]) if size else usual, None


def _live_model(setup, run_dir: pathlib.Path, which: str):
    """The model as it is tested, with the weights of the run, and which weights these are."""
    from silot_tf.training import checkpoints, restoring

    if not (run_dir / checkpoints.FOLDER).is_dir():
        raise UserError(f"{run_dir} is not trained: it holds no {checkpoints.FOLDER}/; train first (--mode=train)")
    seed = run_stamp.RunStamp(run_dir).read().get("seed", 0)
    model = setup.new_model(seed, setup.test_model)
    best = restoring.restore_weights(run_dir, model, which)
    return model, dataclasses.asdict(best) | {"choice": which}


def _try_one_frame(model, frame_shape) -> None:
    """Let the model say in one line what it has against frames of this shape."""
    import tensorflow as tf

    try:
        model.step(tf.zeros([1, *frame_shape]), model.initial_state(1), seed=tf.constant([0, 0]))
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"the model refuses frames of shape {list(frame_shape)} ({first}); expected another --frame_shape"
        ) from error


def _example_video(run_dir: pathlib.Path):
    """Test clips that the run kept, or None."""
    from silot_tf.evaluation import results

    if not (run_dir / results.FOLDER / results.EXAMPLES_FILE).is_file():
        return None
    return results.read_examples(run_dir)["video"]


def _origin(run_dir: pathlib.Path, weights: dict) -> dict:
    """The part of the card about the run and about now."""
    from silot_tf.evaluation import results

    record = run_stamp.RunStamp(run_dir).read()
    metrics = None
    if (record.get("evaluated") or {}).get("weights") == {k: v for k, v in weights.items() if k != "choice"}:
        path = run_dir / results.FOLDER / results.METRICS_FILE
        metrics = files.read_json_object(path, "evaluate the run again (--mode=evaluate)").get("model")
    return {
        "run": {key: record[key] for key in _OF_THE_RUN if key in record},
        "weights": weights,
        "configuration": configuration.bound(),
        "metrics": metrics,  # of these very weights; null where they were not evaluated
        "versions": run_stamp.versions(),
        "commit": run_stamp.commit(),
        "exported": run_stamp.now(),
    }


def _words(report: dict) -> str:
    from silot_tf.export import verification

    verdict = "equals the live model" if report["equal"] else "DIFFERS from the live model; nothing was written"
    if _MODE.value == "verify" and not report["equal"]:
        verdict = "DIFFERS from the live model"
    return f"verified in a process without silot_tf: {verdict} ({verification.in_words(report)})"


if __name__ == "__main__":
    app.run(main)
