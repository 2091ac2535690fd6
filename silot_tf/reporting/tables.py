"""Numbers as words and tables: names of metrics, rounding, one row per method and condition."""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from silot_tf.reporting.aggregation import Curve, Spread, is_counted

#: Stands for a missing number.
DASH = "\N{EN DASH}"


@dataclasses.dataclass(frozen=True)
class Metric:
    """How a metric is printed: short name, whether larger is better (None: neither), decimal places."""

    label: str
    higher_is_better: bool | None
    digits: int


METRICS = {
    "ap": Metric("AP", True, 3),
    "mota": Metric("MOTA", True, 3),
    "idf1": Metric("IDF1", True, 3),
    "count_error": Metric("Count error", False, 3),
    "count_error_relative": Metric("Relative count error", False, 3),
    "misses": Metric("Misses", False, 0),
    "false_positives": Metric("False positives", False, 0),
    "switches": Metric("Id switches", False, 0),
    "ground_truth": Metric("Annotated objects", None, 0),
    "reconstruction": Metric("Reconstruction (nats)", False, 1),
    "mse": Metric("Squared error", False, 5),
    "clips": Metric("Clips", None, 0),
    "mota_window": Metric("MOTA, last frames", True, 3),
    "switches_per_object": Metric("Switches/object", False, 2),
    "first_identity": Metric("First id kept", True, 3),
    "presence": Metric("Presence", True, 3),
    "presence_per_object": Metric("Presence/object", None, 3),
    "tracked": Metric("Tracked objects", None, 2),
    "objects": Metric("Objects found", None, 2),
    "hota": Metric("HOTA", True, 3),
    "deta": Metric("HOTA detection", True, 3),
    "assa": Metric("HOTA association", True, 3),
    "loca": Metric("HOTA localisation", True, 3),
    "objects_per_frame": Metric("Objects per frame", None, 2),
    "tracks": Metric("Tracks", None, 0),
    "track_frames": Metric("Median frames per track", None, 0),
    "threshold": Metric("Foreground threshold", None, 2),
    "score": Metric("Validation score", True, 3),
    "bound": Metric("log p(x), bound", True, 1),
    "weighted_log_likelihood": Metric("log p(x|z)", True, 1),
    "weighted_kl": Metric("KL", None, 1),
    "weighted_count_accuracy": Metric("Counting accuracy", True, 4),
    "weighted_count_error": Metric("Count error, weighted", False, 3),
    "weighted_objects": Metric("Objects found, weighted", None, 2),
    "elbo": Metric("ELBO", True, 1),
    "sample_log_likelihood": Metric("log p(x|z), one sample", True, 1),
    "sample_kl": Metric("KL, one sample", None, 1),
    "sample_count_accuracy": Metric("Counting accuracy, one sample", True, 4),
    "sample_count_error": Metric("Count error, one sample", False, 3),
    "effective_sample_size": Metric("Effective particles", None, 1),
    "particles": Metric("Particles", None, 0),
    "addition_accuracy": Metric("Digit addition", True, 4),
}
#: Order of columns in tables.
COLUMNS = (
    "bound", "weighted_log_likelihood", "weighted_kl", "weighted_count_accuracy", "addition_accuracy", "elbo",
    "sample_log_likelihood", "sample_kl", "sample_count_accuracy", "effective_sample_size", "particles",
    "ap", "ap_50", "mota", "idf1", "hota", "deta", "assa", "loca", "count_error", "count_error_relative", "misses",
    "false_positives", "switches", "ground_truth", "tracks", "objects_per_frame", "track_frames", "reconstruction",
    "mse", "clips",
)  # fmt: skip


def describe(metric: str) -> Metric:
    """Printed form of a metric, with or without the prefixes `rollout_` and `pooled_`."""
    bare, prefix = strip_prefixes(metric), "Pooled " if "pooled_" in metric else ""
    if found := re.fullmatch(r"ap_(\d+)", bare):
        return Metric(f"{prefix}AP@.{found[1].rstrip('0') or '0'}", True, 3)
    if found := re.fullmatch(r"(\w+)_above_(\d+)", bare):  # at another presence threshold
        words = describe(found[1])
        return dataclasses.replace(words, label=f"{prefix}{words.label}, presence > .{found[2].rstrip('0') or '0'}")
    known = METRICS.get(bare, Metric(bare.replace("_", " "), None, 3))
    return dataclasses.replace(known, label=prefix + known.label)


def strip_prefixes(metric: str) -> str:
    """Metric without `rollout_` and `pooled_`."""
    return metric.removeprefix("rollout_").removeprefix("pooled_").removeprefix("rollout_")


def number(value: float, digits: int) -> str:
    """`value` with a true minus sign and thin thousands; an en dash for NaN and None."""
    if value is None or not np.isfinite(value):
        return DASH
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}").replace(",", "\N{NARROW NO-BREAK SPACE}")


def with_spread(spread: Spread | None, digits: int) -> str:
    """Mean, and plus-minus the standard deviation when there is more than one run and it is not 0."""
    if spread is None or not spread.count:
        return DASH
    text = number(spread.mean, digits)
    if spread.count == 1 or spread.std <= 1e-9 * abs(spread.mean):  # deterministic methods, up to rounding
        return text
    return f"{text} ± {number(spread.std, max(digits, 1))}"


def duration(hours: float) -> str:
    """Hours in the unit a person would use: seconds, minutes, hours or days."""
    if hours < 2 / 60:
        value, unit = f"{hours * 3600:.0f}", "s"
    elif hours < 2:
        value, unit = f"{hours * 60:.0f}", "min"
    else:
        value, unit = (f"{hours:.1f}", "h") if hours < 48 else (f"{hours / 24:.1f}", "days")
    return f"{value}\N{NO-BREAK SPACE}{unit}"


def plural(count: int, singular: str, many: str | None = None) -> str:
    """`1 run`, `2 runs`; the count with thin thousands."""
    return f"{number(count, 0)} {singular if count == 1 else many or singular + 's'}"


def listing(items: Sequence, last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    items = [str(item) for item in items]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}" if items else ""


def metric_table(curves: Sequence[Curve], prefix: str, columns: Sequence[str] = COLUMNS) -> dict | None:
    """Table of those of `columns` that were measured with `prefix` ("" posterior, "rollout_"); None when none was.

    Returns:
      `columns` (printed names), `keys`, and `groups`: per curve a label, whether it is a baseline, and rows
      (condition name, cells). The last row of a curve is over all conditions when there is more than one.
      A baseline has no roll-out: beside a roll-out it is shown with its ordinary values.
    """
    measured = {m for curve in curves if not curve.is_baseline for m in curve.metrics()}
    columns = [name for column in columns for name in (column, *_at_other_thresholds(column, prefix, measured))]
    keys = [prefix + column for column in columns if prefix + column in measured]
    if not keys:
        return None
    groups = []
    for curve in curves:
        names = [baseline_metric(curve, key) for key in keys]
        rows = [
            (condition, [with_spread(curve.values[condition].get(n), describe(n).digits) for n in names])
            for condition in curve.conditions
        ]
        if len(rows) > 1:
            rows.append(("all", [with_spread(curve.overall.get(n), describe(n).digits) for n in names]))
        groups.append({"label": curve.label, "is_baseline": curve.is_baseline, "rows": rows})
    return {"columns": [describe(key).label for key in keys], "keys": keys, "groups": groups}


def condition_table(curves: Sequence[Curve], metric: str) -> dict | None:
    """One metric of all methods: a row for each, a column for each condition; None where it was not measured.

    Returns:
      `metric`; `columns`, conditions by their numbers, and "all" where there are several; `rows`: (label, whether it
      is a baseline, cells). A cell is `with_spread`; a baseline beside a roll-out shows its ordinary values.
    """
    if not any(metric in curve.metrics() for curve in curves if not curve.is_baseline):
        return None
    conditions = dict(sorted({c: n for curve in curves for c, n in curve.conditions.items()}.items(), key=_number_of))
    digits, rows = describe(metric).digits, []
    for curve in curves:
        name = baseline_metric(curve, metric)
        spreads = [curve.values.get(condition, {}).get(name) for condition in conditions]
        spreads += [curve.overall.get(name)] if len(conditions) > 1 else []
        rows.append((curve.label, curve.is_baseline, [with_spread(spread, digits) for spread in spreads]))
    columns = [f"{value:g}" for value in conditions.values()] + (["all"] if len(conditions) > 1 else [])
    return {"metric": metric, "columns": columns, "rows": rows}


def _number_of(item: tuple[str, float]) -> float:
    return item[1]


def _at_other_thresholds(metric: str, prefix: str, measured) -> list[str]:
    """`mota_above_50` and alike for `mota`, without `prefix`, as far as they were measured with it."""
    start = f"{prefix}{metric}_above_"
    return sorted(name.removeprefix(prefix) for name in measured if name.startswith(start))


def baseline_metric(curve: Curve, metric: str) -> str:
    """The metric to show for a curve: beside a roll-out, baselines without one show ordinary values."""
    if curve.is_baseline and metric.startswith("rollout_") and metric not in curve.metrics():
        return metric.removeprefix("rollout_")
    return metric


def pooled_table(curves: Sequence[Curve]) -> dict | None:
    """Table of the variants pooled over whole test sets, over all conditions; None when there are none."""
    keys = list(dict.fromkeys(m for c in curves for m in c.metrics() if "pooled_" in m and not is_counted(m)))
    keys = [key for key in keys if not re.search(r"ap_\d+$", key)]
    if not keys:
        return None
    names = [("prior roll-out, " if "rollout_" in key else "") + describe(key).label for key in keys]
    rows = [(c.label, [with_spread(c.overall.get(key), describe(key).digits) for key in keys]) for c in curves]
    return {"columns": names, "rows": rows}


def protocol_rows(protocol: dict[str, str]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(metric, how it is measured) for the metrics of the tables in posterior mode, then for all others."""
    main = [key for key in COLUMNS if key in protocol]
    other = [key for key in protocol if key not in main]
    return [(_full_label(k), str(protocol[k])) for k in main], [(_full_label(k), str(protocol[k])) for k in other]


def _full_label(metric: str) -> str:
    label = describe(metric).label
    return f"Prior roll-out: {label}" if metric.startswith("rollout_") else label[:1].upper() + label[1:]
