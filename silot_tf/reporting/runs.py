"""What a run folder says: configuration, run stamp, training logs, results; read without any model."""

import csv
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from silot_tf import files
from silot_tf.errors import UserError

CURE = "delete it and evaluate again"

RUN_FILES = (
    "run.json",
    "config.gin",
    "operative_config.gin",
    "metrics.csv",
    "evaluations.csv",
    "results/metrics.json",
)
STEP_COLUMNS = ("global_step", "update", "step")

Log = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run, as far as its folder tells.

    Attributes:
      folder: the run folder.
      info: contents of run.json, or {}.
      config: text of config.gin, or "".
      operative_config: text of operative_config.gin, or "".
      log: training log, column -> float64 `[rows]` (see `read_log`), or {}.
      evaluations: validation scores during training, the same form, or {}.
      results: contents of results/metrics.json, or {}.
    """

    folder: Path
    info: dict
    config: str
    operative_config: str
    log: Log
    evaluations: Log
    results: dict

    @property
    def name(self) -> str:
        """Folder name and seed, for sentences about this run."""
        return f"{self.folder.name} (seed {self.info['seed']})" if "seed" in self.info else self.folder.name

    @property
    def updates(self) -> int | None:
        """Number of training updates: run.json's word for it, else the last logged one, else None."""
        for key in ("updates", "global_step", "steps"):
            if isinstance(self.info.get(key), int | float):
                return int(self.info[key])
        steps = [update_axis(log)[-1] for log in (self.log, self.evaluations) if log]
        return int(max(steps)) if steps else None

    @property
    def hours(self) -> dict[str, float]:
        """Hours by activity, for example {"train": 0.2}; a plain number in run.json is called "in all"."""
        hours = self.info.get("hours")
        if isinstance(hours, dict):
            return {str(key): float(value) for key, value in hours.items() if isinstance(value, int | float)}
        return {"in all": float(hours)} if isinstance(hours, int | float) else {}

    @property
    def gin_files(self) -> list[str]:
        """gin files of the command, from run.json or from the command line it holds."""
        if isinstance(self.info.get("gin_files"), list | tuple):
            return [str(name) for name in self.info["gin_files"]]
        return re.findall(r"--?gin_file[= ](\S+)", self.command)

    @property
    def command(self) -> str:
        """The command line that started the run, or ""."""
        command = self.info.get("command", "")
        return " ".join(map(str, command)) if isinstance(command, list | tuple) else str(command)


def read_run(folder: Path) -> Run:
    """The run in `folder`; pieces that do not exist are empty.

    Raises:
      UserError: if the folder is not a run folder, or a file in it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir() or not any((folder / name).is_file() for name in RUN_FILES):
        raise UserError(f"{folder} is not a run folder: expected run.json or config.gin in it; name one with --run_dir")
    results = files.read_json_object(folder / "results" / "metrics.json", CURE)
    _check_results(folder / "results" / "metrics.json", results)
    return Run(
        folder=folder,
        info=files.read_json_object(folder / "run.json", CURE),
        config=_read_text(folder / "config.gin"),
        operative_config=_read_text(folder / "operative_config.gin"),
        log=read_log(folder / "metrics.csv"),
        evaluations=read_log(folder / "evaluations.csv"),
        results=results,
    )


def read_log(path: Path) -> Log:
    """Columns of a CSV log as float64, ordered by update; {} when the file is missing or has no rows.

    Empty and unreadable cells are NaN, columns without any number are dropped, except `stage`, whose names
    are numbered in order of appearance. When an update of a stage was logged twice (a killed run that was
    resumed), the later row counts. A last line cut short is dropped.
    """
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8", errors="replace") as stream:
        rows = [row for row in csv.reader(stream) if row]
    if len(rows) < 2:
        return {}
    header, body = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    columns = {}
    for index, name in enumerate(header):
        cells = [row[index] for row in body]
        values = np.array([_number(cell) for cell in cells], np.float64)
        if name == "stage" and not np.isfinite(values).any():
            order = {cell: number for number, cell in enumerate(dict.fromkeys(cells))}
            values = np.array([order[cell] for cell in cells], np.float64)
        if name and np.isfinite(values).any():
            columns[name] = values
    return _without_repeats(columns)


def update_axis(log: Log) -> np.ndarray:
    """Update numbers of the rows of a log: the first of `STEP_COLUMNS` it has, else the row numbers."""
    for name in STEP_COLUMNS:
        if name in log:
            return log[name]
    return np.arange(len(next(iter(log.values()))), dtype=np.float64)


def group_runs(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs by run.json's `experiment` ("" where it says none), in order of appearance: sets of seeds."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(str(run.info.get("experiment") or ""), []).append(run)
    return groups


def configuration_differences(runs: Sequence[Run]) -> list[str]:
    """Bindings that are not the same in all runs, seeds aside, as lines `folder: binding`."""
    bindings = {run.folder.name: _bindings(run.config) for run in runs if run.config}
    if len(bindings) < 2:
        return []
    common = set.intersection(*bindings.values())
    return [f"{name}: {line}" for name, lines in bindings.items() for line in sorted(lines - common)]


def _bindings(config: str) -> set[str]:
    statements = re.sub(r"(\\\n|\n(?=[ \t)\]}]))\s*", " ", re.sub(r"(?m)^#.*$", "", config)).splitlines()
    lines = {re.sub(r"\s+", " ", line.strip()) for line in statements}
    return {line for line in lines if line and not re.match(r"\S*seed ?=", line, re.I)}


def _without_repeats(columns: Log) -> Log:
    """Rows by update, the last of each (update, stage): a stage begins where another one ends."""
    if not columns:
        return {}
    steps = update_axis(columns)
    stages = columns.get("stage", np.zeros(len(steps)))
    last = {(step, stage): row for row, (step, stage) in enumerate(zip(steps, stages, strict=True))}
    rows = np.array([last[key] for key in sorted(last) if np.isfinite(key).all()], np.int64)
    return {name: values[rows] for name, values in columns.items()}


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return {"true": 1.0, "false": 0.0}.get(cell.strip().lower(), float("nan"))


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _check_results(path: Path, results: dict) -> None:
    tables = [results.get("model", {}), *dict(results.get("baselines") or {}).values()]
    if not all(isinstance(t, dict) and all(isinstance(row, dict) for row in t.values()) for t in tables):
        raise UserError(f"{path} is not laid out as condition -> metric -> value; delete it and evaluate again")
