"""From the command line to a finished experiment: flags, configuration, one-line errors, exit codes.

Exit codes: 0 done; 2 bad input, or a disk that is full or read-only (one line on stderr); 130 stopped by Ctrl-C or
SIGTERM.
"""

import os
import pathlib
import sys
from collections.abc import Sequence

from absl import flags, logging

from reproduce import command_line, exits, run_folders, startup
from silot_tf import configuration, run_stamp
from silot_tf.errors import UserError

MODES = ("all", "train", "evaluate", "report")
DATA_DIR_VARIABLE = "SILOT_TF_DATA_DIR"

flags.DEFINE_multi_string(
    "gin_file",
    [],
    "Configuration: a path, or a file of the installed package such as gin_configs/quick/scattered_mnist.gin. May be "
    "repeated, later files win. Without it: the stored configuration of --run_dir if there is one, else the default.",
)
flags.DEFINE_multi_string(
    "gin_param", [], "One binding, for example 'TrainingLoop.max_hours=0.5'; wins over files. May be repeated."
)
flags.DEFINE_string(
    "run_dir",
    None,
    "Folder of the run; a run that it holds is continued. It alone is enough to evaluate or report again. Default: "
    "runs/<experiment>/<folder>_<name of the gin file>_seed<seed>; with several seeds a folder seed<seed> for each in "
    "runs/<experiment>/<folder>_<name>.",
)
flags.DEFINE_string(
    "data_dir", None, f"Folder with downloaded data, such as MNIST; stands before the variable {DATA_DIR_VARIABLE}."
)
flags.DEFINE_integer("seed", None, "Seed of the run. Default: Experiment.seeds, which may name several.")
flags.DEFINE_string("mode", "all", "train, evaluate, report, or all of them one after the other.")


def run(experiment: str, default_gin_file: str, description: str) -> None:
    """Do what the command line says, then leave the process.

    Args:
      experiment: name of the family of experiments; part of the default run folder.
      default_gin_file: configuration without --gin_file.
      description: what --help says about the experiment.
    """
    with exits.one_line_errors(exits.goes_on("stopped")):
        if command_line.wants_help():
            print(help_text(f"python -m reproduce.{experiment}", default_gin_file, description))
            sys.exit(0)
        _parse_flags()
        logging.use_absl_handler()
        logging.set_verbosity(logging.INFO)
        _main(experiment, default_gin_file)


def help_text(program: str, default_gin_file: str, description: str) -> str:
    """What --help prints."""
    lines = [description.strip(), "", f"usage: {program} [--flag=value ...]", ""]
    lines += [
        *command_line.listed(flags.FLAGS.flags_by_module_dict()[__name__]),
        "",
        f"Without --gin_file: {default_gin_file}.",
        "The same line again continues a stopped run; Ctrl-C leaves a checkpoint.",
        "",
        "examples:",
        f"  {program} --gin_file={default_gin_file} --seed=1",
        f"  {program} --run_dir=runs/my_run --gin_param='TrainingLoop.max_hours=2'",
        f"  {program} --run_dir=runs/my_run --mode=report",
    ]
    return "\n".join(lines)


def _parse_flags() -> None:
    command_line.parse("only flags such as --mode=train")
    if flags.FLAGS.mode not in MODES:
        raise UserError(f"--mode={flags.FLAGS.mode} is unknown; expected one of {', '.join(MODES)}")
    if flags.FLAGS.seed is not None and not 0 <= flags.FLAGS.seed < 2**31:
        raise UserError(f"--seed={flags.FLAGS.seed} is out of range; expected 0 to 2^31 - 1")
    folder = flags.FLAGS.data_dir
    if folder is not None:
        if not pathlib.Path(folder).is_dir():
            raise UserError(f"--data_dir={folder} is not a folder; expected the folder with downloaded data")
        os.environ[DATA_DIR_VARIABLE] = folder


def _main(experiment: str, default_gin_file: str) -> None:
    mode, run_dir = flags.FLAGS.mode, flags.FLAGS.run_dir
    gin_files = _configuration_files(mode, run_dir, default_gin_file)
    for name in gin_files:
        configuration.find(name)  # a wrong name is told at once, not after TensorFlow has started
    startup.start_tensorflow_quietly()
    # Registers what every configuration may name; data sets and models are imported by their gin files.
    from reproduce.experiment import Experiment
    from silot_tf.training import determinism

    configuration.load(gin_files, flags.FLAGS.gin_param)
    setup = configuration.build(Experiment)
    name = f"{experiment}/{_default_name(gin_files[-1])}"
    folders = run_folders.choose(run_dir, name, flags.FLAGS.seed, setup.seeds)
    if mode in ("all", "train"):
        for folder in (folders.common, *folders.runs.values()):
            configuration.check_same(folder, configuration.bound())
    if setup.deterministic:
        determinism.make_deterministic()
    _work(setup, run_folders.recorded_experiment(folders) or name, folders, gin_files)


def _default_name(gin_file: str) -> str:
    """Folder and file of a configuration, as in `quick_scattered_mnist`: several folders hold a file of one name."""
    path = pathlib.Path(gin_file)
    return "_".join(part for part in (path.parent.name, path.stem) if part)


def _configuration_files(mode: str, run_dir, default_gin_file: str) -> list[str]:
    """gin files in their order: for evaluation and report the run's stored configuration comes first."""
    given, stored = list(flags.FLAGS.gin_file), run_folders.stored_configuration(run_dir)
    if stored is None:
        if mode in ("evaluate", "report") and run_dir is not None:
            raise UserError(
                f"{run_dir} holds no {configuration.CONFIG_FILE}; expected the folder of a run: train first "
                "(--mode=train)"
            )
        return given or [default_gin_file]
    if mode in ("evaluate", "report"):
        return [str(stored), *given]
    return given or [str(stored)]


def _work(setup, name: str, folders: run_folders.RunFolders, gin_files: Sequence[str]) -> None:
    """Train and evaluate seed after seed, then report, as the mode says."""
    from silot_tf.training.interruption import Interrupted

    mode = flags.FLAGS.mode
    if mode in ("all", "train") and folders.several:
        configuration.write(folders.common, configuration.CONFIG_FILE, configuration.bound())
    for seed, run_dir in folders.runs.items():
        if mode == "report":
            break
        _begin(setup, name, seed, run_dir, gin_files)
        try:
            if mode in ("all", "train"):
                setup.train(run_dir, seed)
            if mode in ("all", "evaluate"):
                setup.evaluate(run_dir, seed, again=mode == "evaluate")
        except Interrupted as interruption:
            exits.leave(exits.goes_on(str(interruption)), exits.STOPPED)
        run_stamp.RunStamp(run_dir).finish()
    if mode in ("all", "report"):
        page = setup.write_report(folders.runs.values(), folders.common / "report")
        if page is not None:
            print(f"report: {page.resolve()}")


def _begin(setup, name: str, seed: int, run_dir: pathlib.Path, gin_files: Sequence[str]) -> None:
    """Write config.gin and run.json of one run, and log what differs from the configuration that was there."""
    mode, text, path = flags.FLAGS.mode, configuration.bound(), run_dir / configuration.CONFIG_FILE
    if mode == "evaluate" and not path.is_file():
        raise UserError(f"{run_dir} holds no run; train first (--mode=train) or give another --run_dir")
    logging.info("run folder %s, seed %d", run_dir, seed)
    stored = path.read_text() if path.is_file() else text
    changes = configuration.differences(stored, text, configuration.FURTHER_TESTS)
    for change in changes:
        logging.info("changed since this run was started: %s", change)
    if mode in ("all", "train"):  # evaluation leaves its own configuration beside its results
        configuration.write(run_dir, configuration.CONFIG_FILE, text)
    run_stamp.RunStamp(run_dir).begin(
        seed=seed,
        experiment=name,
        model=getattr(setup.model, "__name__", str(setup.model)),
        mode=mode,
        gin_files=gin_files,
        gin_params=flags.FLAGS.gin_param,
        changes=changes,
    )
