"""Results of several runs as curves over conditions: mean and spread over seeds."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from silot_tf.reporting.runs import Run

#: Metrics that count events: over conditions they are summed, all others are averaged.
COUNTED = ("misses", "false_positives", "switches", "ground_truth", "clips")
MODES = {"": "posterior", "rollout_": "prior roll-out"}


@dataclasses.dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (divisor n) of the finite ones of some values; NaN when there are none."""

    mean: float
    std: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Spread of `values`, numbers or None."""
        finite = np.array([v for v in values if v is not None and np.isfinite(v)], np.float64)
        if not finite.size:
            return cls(float("nan"), float("nan"), 0)
        return cls(float(finite.mean()), float(finite.std()), int(finite.size))


@dataclasses.dataclass(frozen=True)
class Curve:
    """Results of one method under several conditions.

    Attributes:
      label: name to print.
      names: every name the method goes by (label, experiment), for finding it from a table of claims.
      is_baseline: whether it is a comparison method rather than the trained model.
      conditions: condition name -> number, ordered by number.
      values: condition name -> metric -> spread over the runs.
      overall: metric -> spread over the runs of each run's mean (sum for `COUNTED`) over conditions.
      runs: number of runs with results.
      told: conditions under which some run was told how many objects there are; count errors are left out of these.
    """

    label: str
    names: tuple[str, ...]
    is_baseline: bool
    conditions: dict[str, float]
    values: dict[str, dict[str, Spread]]
    overall: dict[str, Spread]
    runs: int
    told: tuple[str, ...] = ()

    def points(self, metric: str) -> dict[float, Spread]:
        """Condition number -> spread, where the metric was measured."""
        found = {number: self.values[name].get(metric) for name, number in self.conditions.items()}
        return {number: spread for number, spread in found.items() if spread is not None and spread.count}

    def metrics(self) -> list[str]:
        """Every metric measured under some condition, in the order of the files."""
        return list(dict.fromkeys(metric for row in self.values.values() for metric in row))


def model_curves(groups: Mapping[str, Sequence[Run]], labels: Mapping[str, str], model_name: str) -> list[Curve]:
    """One curve per group of runs that has results.

    Args:
      groups: experiment name -> runs (seeds).
      labels: experiment name -> name to print, where another one is wanted.
      model_name: name to print for runs that name no experiment, or when there is one group only.
    """
    curves = []
    for experiment, runs in groups.items():
        evaluated = [run for run in runs if run.results.get("model")]
        told = tuple(dict.fromkeys(name for run in evaluated for name in told_conditions(run)))
        tables = [(_without_told_counts(run.results["model"], told), _conditions(run)) for run in evaluated]
        if tables:
            label = labels.get(experiment) or (model_name if len(groups) == 1 or not experiment else experiment)
            curve = curve_of(label, (label, experiment), False, tables)
            if told:  # means over fewer conditions than those of others would be taken for the same
                overall = {m: spread for m, spread in curve.overall.items() if "count_error" not in m}
                told = tuple(name for name in curve.conditions if name in told)
                curve = dataclasses.replace(curve, overall=overall, told=told)
            curves.append(curve)
    return curves


def told_conditions(run: Run) -> list[str]:
    """Conditions under which the model of a run was told how many objects there are."""
    return [str(name) for name in run.results.get("told_conditions") or ()]


def baseline_curves(runs: Sequence[Run], labels: Mapping[str, str]) -> list[Curve]:
    """One curve per baseline, over all runs (on the same clips all values agree and the spread is 0)."""
    tables: dict[str, list] = {}
    for run in runs:
        for name, table in (run.results.get("baselines") or {}).items():
            tables.setdefault(name, []).append((table, _conditions(run)))
    return [
        curve_of(label := labels.get(name, name.replace("_", " ")), (label, name), True, rows)
        for name, rows in tables.items()
    ]


def as_json(curve: Curve) -> dict:
    """The curve as plain dictionaries, NaN as None."""

    def plain(row: Mapping[str, Spread]) -> dict:
        return {
            metric: {"mean": _or_none(s.mean), "std": _or_none(s.std), "runs": s.count} for metric, s in row.items()
        }

    return {
        "label": curve.label,
        "baseline": curve.is_baseline,
        "runs": curve.runs,
        "told_conditions": list(curve.told),
        "conditions": {name: plain(curve.values[name]) for name in curve.conditions},
        "overall": plain(curve.overall),
    }


def is_counted(metric: str) -> bool:
    """Whether a metric (any mode, pooled or not) counts events."""
    bare = metric.removeprefix("pooled_").removeprefix("rollout_").removeprefix("pooled_")
    return re.sub(r"_above_\d+$", "", bare) in COUNTED


def _without_told_counts(table: Mapping, told: Sequence[str]) -> dict:
    """Results without the errors of numbers that were told."""
    return {
        name: {m: v for m, v in row.items() if name not in told or "count_error" not in m}
        for name, row in table.items()
    }


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _conditions(run: Run) -> dict[str, float]:
    return {str(name): float(number) for name, number in (run.results.get("conditions") or {}).items()}


def curve_of(label: str, names: tuple, is_baseline: bool, tables: list[tuple[dict, dict]]) -> Curve:
    """One curve out of the results of several runs.

    Args:
      label, names, is_baseline: see `Curve`.
      tables: per run condition -> metric -> value (a number or None), and condition -> number.
    """
    numbers: dict[str, float] = {}
    for table, conditions in tables:
        # Without numbers (older results) conditions keep their order of appearance.
        numbers.update(
            {name: conditions.get(name, float(i)) for i, name in enumerate(table) if _listed(name, conditions)}
        )
    numbers = dict(sorted(numbers.items(), key=lambda item: item[1]))
    values = {
        name: {metric: Spread.of(t.get(name, {}).get(metric) for t, _ in tables) for metric in _metrics(tables, name)}
        for name in numbers
    }
    overall = {
        metric: Spread.of(_overall(table, conditions, metric) for table, conditions in tables)
        for metric in dict.fromkeys(m for row in values.values() for m in row)
    }
    return Curve(label, names, is_baseline, numbers, values, overall, len(tables))


def _listed(name: str, conditions: dict) -> bool:
    return name in conditions or not conditions


def _metrics(tables: list, name: str) -> list[str]:
    return list(dict.fromkeys(metric for table, _ in tables for metric in table.get(name, {})))


def _overall(table: dict, conditions: dict, metric: str) -> float | None:
    """One run's value over all conditions: its extra row (say "all") where it has one, else mean or sum."""
    extra = [row for name, row in table.items() if not _listed(name, conditions)]
    if len(extra) == 1 and extra[0].get(metric) is not None:
        return extra[0][metric]
    values = [row[metric] for row in table.values() if row.get(metric) is not None and np.isfinite(row[metric])]
    if not values:
        return None
    return float(np.sum(values) if is_counted(metric) else np.mean(values))
