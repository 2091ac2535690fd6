"""Several models on the same test clips: whether run folders can be compared, and their numbers side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from silot_tf.errors import UserError
from silot_tf.reporting.aggregation import Curve, told_conditions
from silot_tf.reporting.figures import Panel, panel_plot
from silot_tf.reporting.runs import RUN_FILES, Run
from silot_tf.reporting.sections import MODE_TITLES, Gallery, metric_lines
from silot_tf.reporting.tables import condition_table, describe, listing, number

#: Metrics that say how large a test set is, whoever is tested on it.
_SIZES = ("clips", "ground_truth")
_SAME = 1e-6  # how far values of a deterministic baseline on the same clips may be apart


def expand(folders: Sequence[Path | str]) -> list[Path]:
    """Run folders: each as given or, of a common folder of several seeds, those inside of it; each of them once.

    Raises:
      UserError: for a folder that holds no run.
    """
    found = []
    for folder in map(Path, folders):
        inside = [folder] if _is_run(folder) else sorted(path for path in folder.glob("*") if _is_run(path))
        if not inside:
            expected = "a run folder, with run.json in it, or the common folder of several seeds"
            raise UserError(f"{folder} holds no run; expected {expected}")
        found += inside
    return list({path.resolve(): path for path in found}.values())


def check_comparable(runs: Sequence[Run]) -> None:
    """Raise UserError unless all runs were tested, under the same conditions and on test sets of the same size."""
    for run in runs:
        if not run.results.get("model"):
            raise UserError(f"{run.folder} has no results; evaluate it first (--mode=evaluate --run_dir={run.folder})")
    first = runs[0]
    for run in runs[1:]:
        ours, theirs = (one.results.get("conditions") or {} for one in (first, run))
        if ours != theirs:
            raise UserError(
                f"{run.folder} was tested under other conditions ({_conditions(theirs)}) than {first.folder} "
                f"({_conditions(ours)}); evaluate both with the same ones"
            )
        for condition in ours:
            for size in _SIZES:
                values = [one.results["model"].get(condition, {}).get(size) for one in (first, run)]
                if None not in values and values[0] != values[1]:
                    sizes = f"{describe(size).label.lower()} are {number(values[0], 0)} and {number(values[1], 0)}"
                    raise UserError(
                        f"{first.folder} and {run.folder} were tested on different clips: for {condition}, {sizes}; "
                        "evaluate both on the same ones"
                    )


def notices(runs: Sequence[Run], groups: Mapping[str, Sequence[Run]]) -> list[str]:
    """Sentences on what to be careful with where results of several models stand side by side.

    Args:
      runs: all of them.
      groups: name to print -> runs that are seeds of one training condition.
    """
    notes = []
    for label, members in groups.items():
        if told := list(dict.fromkeys(name for run in members for name in told_conditions(run))):
            span = told[0] if len(told) == 1 else f"{told[0]} to {told[-1]}"
            notes.append(
                f"{label} was told how many objects there are under {span} (hollow markers in plots); its count errors "
                "there would say nothing and are left out, also of means over all conditions."
            )
    tested = [run for run in runs if run.results.get("model")]
    if different := _measured_differently(tested):
        more = f" and {len(different) - 4} more" if len(different) > 4 else ""
        notes.append(
            f"Not measured in the same way in all runs (see their protocols): {', '.join(different[:4])}{more}."
        )
    notes += [f"{name} has other values in some runs: they may have seen other clips." for name in _unsteady(tested)]
    return notes


def comparison_section(
    gallery: Gallery, curves: Sequence[Curve], metrics: Sequence[str], condition_label: str
) -> dict | None:
    """One figure and one table per metric with all methods; None where there is one model only.

    Returns:
      `figure`: entry of a plot; `tables`: (heading, `tables.condition_table`).
    """
    if sum(not curve.is_baseline for curve in curves) < 2:
        return None
    panels, found = [], []
    for prefix, mode in MODE_TITLES.items():
        for metric in metrics:
            if (table := condition_table(curves, prefix + metric)) is None:
                continue
            words = describe(metric)
            heading = words.label if not prefix else f"{words.label}, {mode.lower()}"
            found.append((heading, table))
            lines = metric_lines(curves, prefix + metric)
            if any(not line.is_baseline for line in lines):
                panels.append(Panel(heading, tuple(lines), words.higher_is_better))
    if not panels:
        return None
    x_label = condition_label or "condition"
    names = listing([curve.label for curve in curves])
    alt = f"{listing([panel.title for panel in panels])} against {x_label}: {names}."
    return {"figure": gallery.plot("comparison", panel_plot(panels, x_label=x_label), alt), "tables": found}


def _is_run(folder: Path) -> bool:
    return folder.is_dir() and any((folder / name).is_file() for name in RUN_FILES if name != "config.gin")


def _conditions(conditions: Mapping) -> str:
    names = list(conditions)
    return listing(names) if len(names) <= 3 else f"{names[0]}, {names[1]}, ... {names[-1]}"


def _measured_differently(runs: Sequence[Run]) -> list[str]:
    """Names of the metrics whose protocols differ."""
    texts: dict[str, set[tuple[str, str]]] = {}
    for run in runs:
        measured = {metric for row in run.results["model"].values() for metric in row}
        for metric, text in (run.results.get("protocol") or {}).items():
            if metric in measured:
                texts.setdefault(describe(metric).label, set()).add((metric, text))
    return [label for label, pairs in texts.items() if len(pairs) > len({metric for metric, _ in pairs})]


def _unsteady(runs: Sequence[Run]) -> list[str]:
    """Baselines, which are deterministic, that have different values of a metric in different runs."""
    found = []
    names = dict.fromkeys(name for run in runs for name in run.results.get("baselines") or {})
    for name in names:
        tables = [run.results["baselines"][name] for run in runs if name in (run.results.get("baselines") or {})]
        first = tables[0]
        for other in tables[1:]:
            pairs = [
                (value, other[condition][metric])
                for condition, row in first.items()
                for metric, value in row.items()
                if metric in other.get(condition, {})
            ]
            if any(None not in pair and abs(pair[0] - pair[1]) > _SAME for pair in pairs):
                found.append(name.replace("_", " "))
                break
    return found
