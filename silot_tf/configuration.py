"""gin files: where they are looked for, parsing with one-line errors, the configuration kept in a run folder.

gin is read while an experiment is built and never afterwards. Unknown names are errors that say file and line.
"""

import contextlib
import difflib
import fnmatch
import importlib.resources
import os
import pathlib
import re
import tokenize
from collections.abc import Iterable, Sequence

import gin
from absl import logging

from silot_tf import files
from silot_tf.errors import UserError

PACKAGE = "gin_configs"
CONFIG_FILE, OPERATIVE_FILE = "config.gin", "operative_config.gin"

#: Bindings of tests that come beside those of the experiment and tell their own settings.
FURTHER_TESTS = ("Experiment.further_tests", "FurtherTest.*")
#: Bindings that may differ when a run is resumed (`configurable.parameter`, shell patterns): how long, how often, and
#: what is done with the result. Everything else decides the course of training.
CHANGEABLE = (
    "Stage.max_updates",
    "TrainingLoop.max_hours",
    "TrainingLoop.log_every",
    "TrainingLoop.evaluate_every",
    "TrainingLoop.examples_every",
    "TrainingLoop.checkpoint_*",
    "Experiment.seeds",
    "Experiment.test_*",
    "Experiment.weights",
    "Experiment.baselines",
    "Experiment.report",
    "Experiment.measures",
    "Experiment.prior_clips",
    "Experiment.examples_*",
    "Report.*",
    "TunedBaseline.*",
    "SlotsByCondition.*",
    "LabelSums.*",
    "PriorClips.*",
    "Tracker.*",
    "ForegroundBaseline.*",
    *FURTHER_TESTS,
)


def folders() -> list[str]:
    """Prefixes for gin files in the order they are tried: as given, beside the package, inside the package."""
    package = pathlib.Path(str(importlib.resources.files(PACKAGE)))
    return ["", str(package.parent), str(package)]


def find(path: str) -> str:
    """Path of a gin file that exists.

    Args:
      path: as typed, for example `gin_configs/quick/scattered_mnist.gin` or `quick/scattered_mnist.gin`.

    Raises:
      UserError: if there is none, with files of such a name.
    """
    for folder in folders():
        candidate = os.path.join(folder, path)
        if os.path.isfile(candidate):
            return candidate
    package = pathlib.Path(folders()[-1])
    known = sorted(str(file.relative_to(package.parent)) for file in package.rglob("*.gin"))
    kind = pathlib.PurePath(path).name
    alike = [name for name in known if name.endswith("/" + kind)] or difflib.get_close_matches(path, known, cutoff=0.3)
    raise UserError(f"--gin_file={path} does not exist; expected a path, or a file such as {', '.join(alike or known)}")


def load(gin_files: Sequence[str], bindings: Sequence[str] = ()) -> None:
    """Replace the configuration of this process by files, then single bindings, and lock it.

    Args:
      gin_files: see `find`; later ones win.
      bindings: such as `Trainer.clip_norm = 5`; they win over files.

    Raises:
      UserError: for a missing file, an unknown name or a value that cannot be read, with file and line.
    """
    gin.clear_config()
    read = []
    for name in gin_files:
        path = find(name)
        with _errors_as_one_line(f"{path}: "), _search_path():
            read.append(gin.parse_config_file(path))
    for binding in bindings:
        with _errors_as_one_line(f"--gin_param='{binding}': "):
            gin.parse_config(binding)
    try:
        gin.finalize()
    except ValueError as error:
        raise UserError(_undefined_macro(str(error), _all_files(read), bindings)) from error


def bound() -> str:
    """Everything that is bound, as a gin file that can be read back."""
    return _plain_imports(gin.config_str(max_line_length=110))


def operative() -> str:
    """Everything that was used so far, defaults included, as a gin file."""
    return _plain_imports(gin.operative_config_str(max_line_length=110))


def build(configurable):
    """What `configurable()` returns; mistakes in bound values become one-line errors.

    Raises:
      UserError: also for required parameters that are not bound and for values of the wrong type.
    """
    try:
        return configurable()
    except (TypeError, ValueError, RuntimeError, UserError) as error:
        text = str(error)
        if "In call to configurable" not in text and "Required bindings" not in text:
            raise
        logging.debug("while building", exc_info=True)
        raise UserError(one_line(text)) from error


def one_line(text: str) -> str:
    """An error message of gin on one line, without addresses of Python objects."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and set(line.strip()) != {"^"}]
    call = re.compile(r"^In call to configurable '([^']*)'.*?(?: in scope '([^']*)')?$")
    lines = [call.sub(r"(in \1, scope '\2')", line) for line in lines]
    message = re.sub(r'(In file "[^"]*", line \d+) ', r"\1: ", " ".join(lines).replace(", scope ''", ""))
    return re.sub(r"malformed node or string on line \d+: <[^>]*>\s*", "", message)


def one_line_if_from_gin(text: str) -> str:
    """The message without the trace that gin appends to errors raised inside of what it builds; else unchanged."""
    return one_line(text) if "In call to configurable" in text else text


def statements(text: str) -> dict[str, str]:
    """Bindings of a configuration written by `bound`: name -> value; imports are left out."""
    logical = re.sub(r"\\\n\s*|\n(?=[ \t)\]}])\s*", " ", re.sub(r"(?m)^#.*$\n?", "", text))
    pairs = (line.split("=", 1) for line in logical.splitlines() if "=" in line)
    return {name.strip(): re.sub(r"\s+", " ", value.strip()) for name, value in pairs}


def differences(old: str, new: str, changeable: Iterable[str] = CHANGEABLE) -> list[str]:
    """What two configurations disagree about, `changeable` bindings aside: `name: old value -> new value`.

    A macro, or what is bound in a scope, may differ when nothing but changeable bindings uses it.
    """
    before, after = statements(old), statements(new)
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return [
        f"{name}: {before.get(name, 'not bound')} -> {after.get(name, 'not bound')}"
        for name in names
        if not _may_change(name, [before, after], tuple(changeable))
    ]


def check_same(run_dir, new: str) -> None:
    """Raise UserError unless the run in `run_dir` (if any) was started with the configuration `new`."""
    path = pathlib.Path(run_dir) / CONFIG_FILE
    if not path.is_file():
        return
    found = differences(path.read_text(), new)
    if found:
        raise UserError(
            f"{path} is of another configuration than this one; choose another folder or start with the same files "
            "and parameters. The differences (stored -> now):\n  " + "\n  ".join(found)
        )


def write(run_dir, name: str, text: str) -> None:
    """Write a configuration into a run folder."""
    files.write_atomic(pathlib.Path(run_dir) / name, text)


def _plain_imports(text: str) -> str:
    """gin writes `import a.b as a2` where names begin alike; the alias serves no purpose here."""
    return re.sub(r"(?m)^(import \S+) as \S+$", r"\1", text).rstrip() + "\n"


@contextlib.contextmanager
def _search_path():
    """Let gin look for included files where `find` looks, and nowhere else.

    gin's own list can only grow, and its second reader takes folders for Python packages: it stumbles over folders
    like those in `gin_configs`, which are none. Hence its two lists are replaced while files are read.
    """
    saved = gin.config._LOCATION_PREFIXES, gin.config._FILE_READERS
    gin.config._LOCATION_PREFIXES, gin.config._FILE_READERS = folders(), [(open, os.path.isfile)]
    try:
        yield
    finally:
        gin.config._LOCATION_PREFIXES, gin.config._FILE_READERS = saved


def _may_change(name: str, sources, patterns, seen=()) -> bool:
    scope, _, bare = name.rpartition("/")
    parameter = ".".join(bare.split(".")[-2:])
    if name in seen or any(fnmatch.fnmatchcase(parameter, pattern) for pattern in patterns):
        return True
    is_macro = "." not in parameter
    if not is_macro and not scope:
        return False
    use = rf"%{re.escape(name)}\b" if is_macro else rf"[@/]{re.escape(scope)}/"
    users = {user for source in sources for user, value in source.items() if re.search(use, value)}
    # A macro without users does nothing; a scope without any may be that of a program that is not written in gin.
    return (is_macro or bool(users)) and all(_may_change(user, sources, patterns, (*seen, name)) for user in users)


@contextlib.contextmanager
def _errors_as_one_line(source: str):
    """Turn errors of parsing into UserErrors; `source` is named where gin does not say file and line."""
    try:
        yield
    except (ValueError, SyntaxError, OSError, ImportError, TypeError, tokenize.TokenError) as error:
        text = error.args[0] if isinstance(error, tokenize.TokenError) else str(error)
        # A single binding is its own line 1; what counts is which one it is.
        text = re.sub(r"\n\s*In bindings string line \d+.*|\(line \d+\)", "", text, flags=re.S)
        message = one_line(text).rstrip(".")
        says_where = re.search(r"line \d+", message)
        raise UserError(("" if says_where else source) + message + _hint(text)) from error


def _hint(text: str) -> str:
    cures = {
        "doesn't have a parameter": "; check the spelling of the parameter",
        "No configurable matching": "; check the spelling, and that a line `import ...` names its module",
        "Failed to parse token": "; expected a Python literal (strings in quotes), %MACRO, @name or @name()",
        "multi-line statement": "; a bracket or quote is not closed",
        "No module named": "; check the spelling of the import",
    }
    return next((cure for part, cure in cures.items() if part in text), "")


def _all_files(parsed) -> list[str]:
    result = []
    for entry in parsed:
        result.append(find(entry.filename))
        result += _all_files(entry.includes)
    return result


def _undefined_macro(message: str, paths: Iterable[str], bindings: Iterable[str]) -> str:
    """The error of gin about a macro without a value, with the place of its use."""
    match = re.search(r"'([^']+)/gin\.macro'", message)
    if match is None:
        return one_line(message)
    use = re.compile(rf"^[^#]*%{re.escape(match[1])}\b")
    places = [
        f'file "{path}", line {number}'
        for path in paths
        for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), start=1)
        if use.match(line)
    ] + [f"--gin_param='{binding}'" for binding in bindings if use.match(binding)]
    where = places[0] if places else "the configuration"
    return f"%{match[1]} has no value, used in {where}; expected a line {match[1]} = ... somewhere"
