"""Several models on the same test clips, in one figure, one table and one page, made from run folders alone.

Give run folders, or common folders of several seeds, of experiments that were tested under the same conditions.
Folders of one experiment are its seeds; baselines come with them. The configuration says which published claims stand
beside the numbers and how experiments are called (reporting.Report.labels).
"""

import sys

from absl import flags, logging

from reproduce import command_line, exits
from silot_tf import configuration
from silot_tf.errors import UserError

DEFAULT_GIN_FILE = "gin_configs/papers/silot/comparison.gin"

_RUN_DIRS = flags.DEFINE_list("run_dirs", [], "Run folders, or common folders of several seeds, separated by commas.")
_OUT = flags.DEFINE_string("out", None, "Folder for the page (index.html) and everything that belongs to it.")
_GIN_FILE = flags.DEFINE_multi_string(
    "gin_file", [DEFAULT_GIN_FILE], "Configuration of the report. May be repeated, later files win."
)
_GIN_PARAM = flags.DEFINE_multi_string(
    "gin_param", [], "One binding, for example 'reporting.Report.title=\"Mine\"'; wins over files. May be repeated."
)


def main() -> None:
    """Do what the command line says, then leave the process."""
    with exits.one_line_errors():
        if command_line.wants_help():
            print(_help_text())
            sys.exit(0)
        command_line.parse("--run_dirs=FOLDER,FOLDER --out=FOLDER")
        if len(_RUN_DIRS.value) < 1 or not _OUT.value:
            raise UserError("expected --run_dirs=FOLDER,FOLDER,... and --out=FOLDER; --help explains them")
        logging.use_absl_handler()
        logging.set_verbosity(logging.INFO)
        page = compare(_RUN_DIRS.value, _OUT.value, _GIN_FILE.value, _GIN_PARAM.value)
        print(f"report: {page.resolve()}")


def compare(run_dirs, out, gin_files=(DEFAULT_GIN_FILE,), bindings=()):
    """Path of the page.

    Args:
      run_dirs: run folders, or common folders of several seeds.
      out: folder for the page.
      gin_files, bindings: see `configuration.load`; they configure `reporting.Report`.

    Raises:
      UserError: for folders without results, or whose results cannot stand side by side.
    """
    from silot_tf.reporting import comparison, runs
    from silot_tf.reporting.report import Report

    folders = comparison.expand(run_dirs)
    comparison.check_comparable([runs.read_run(folder) for folder in folders])
    configuration.load(gin_files, bindings)
    return configuration.build(Report).write(folders, out)


def _help_text() -> str:
    lines = [__doc__.strip(), "", "usage: python -m reproduce.compare --run_dirs=FOLDER,FOLDER --out=FOLDER", ""]
    lines += command_line.listed(flags.FLAGS[flag.name] for flag in (_RUN_DIRS, _OUT, _GIN_FILE, _GIN_PARAM))
    return "\n".join([*lines, "", f"Without --gin_file: {DEFAULT_GIN_FILE}."])


if __name__ == "__main__":
    main()
