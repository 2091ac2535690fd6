"""Plots of training: which logged columns make a panel, smoothing, mean over seeds, marks."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np

from silot_tf.reporting.figures import Line, Marks, Plot, training_plot, wants_log_scale
from silot_tf.reporting.runs import Log, Run, update_axis
from silot_tf.reporting.tables import describe

#: Columns that say when, not what.
AXIS = (
    "global_step",
    "update",
    "step",
    "stage",
    "time",
    "wall_time",
    "seconds",
    "hours",
    "epoch",
    "timestamp",
)
FRAMES = ("frames", "num_frames", "frames_used", "clip_frames")
#: Patterns of column names by section key. The first match counts; what matches nothing is "other".
SECTIONS = (
    ("loss", r"(total_?)?loss(/total)?|loss_total"),
    ("loss", r"(loss|losses|terms?|kl)[/_].*"),
    ("health", r".*grad.*norm.*|.*norm.*grad.*"),
    ("schedules", r".*(learning_rate|anneal|schedule|log_odds|wheels|noise|temperature|weight).*|lr"),
    ("speed", r".*(per_second|steps_s|seconds|memory|examples_s).*"),
    ("health", r".*(objects|presence|pres_|_on$).*|.*_on"),
    ("loss", r".*(loss|kl|reconstruction|nll|elbo|prior).*"),
)
#: Headings by section key, in the order of the page, and whether the section is folded.
HEADINGS = (
    ("validation", "Validation scores", False),
    ("loss", "Loss and its terms", False),
    ("health", "Objects switched on, gradient norm", False),
    ("schedules", "Schedules", True),
    ("speed", "Speed and memory", True),
    ("other", "Everything else", True),
)
#: Titles of columns whose names say too little.
TITLES = {
    "loss": "Total loss",
    "total_loss": "Total loss",
    "loss/total": "Total loss",
    "objects_on": "Objects on per frame",
    "objects_pres": "Sum of presences per frame",
}
VALIDATION = (
    "score",
    "bound",
    "weighted_count_accuracy",
    "mota",
    "ap",
    "ap_50",
    "count_error",
    "idf1",
    "reconstruction",
    "loss",
)
SMOOTHED_POINTS = 60  # a moving average over 1/60 of the run


@dataclasses.dataclass(frozen=True)
class Panel:
    """One plot of the training section: file name, section key, heading, text for readers without sight."""

    name: str
    section: str
    title: str
    plot: Plot
    alt: str


def training_panels(groups: Mapping[str, Sequence[Run]]) -> list[Panel]:
    """Panels for every logged column, loss first.

    Args:
      groups: label -> runs; each group is drawn in its own colour.
    """
    marks = timeline([run for runs in groups.values() for run in runs])
    columns = dict.fromkeys(c for runs in groups.values() for run in runs for c in run.log)
    by_section: dict[str, list[str]] = {key: [] for key, _, _ in HEADINGS}
    for column in columns:
        if column not in AXIS and column not in FRAMES:
            by_section[section_of(column)].append(column)
    panels = []
    for section, names in by_section.items():
        for title, lines in _plots_of(names, groups):
            values = np.concatenate([line.mean for line in lines])
            log_scale = section in ("loss", "health") and wants_log_scale(values)
            plot = training_plot(lines, title=title, marks=marks, log_scale=log_scale)
            panels.append(Panel(f"training_{slug(title)}", section, title, plot, _alt(title, lines)))
    return panels


def _plots_of(columns: Sequence[str], groups: Mapping[str, Sequence[Run]]) -> list[tuple[str, list[Line]]]:
    """Title and lines: a plot per column, except that norms by module share one, with a line per module."""
    plots: dict[str, list[Line]] = {}
    for column in columns:
        if by_module := re.fullmatch(r"(.*norm)/(.+)", column):
            title = f"{column_title(by_module[1])} by module"
            logs = [run.log for runs in groups.values() for run in runs]
            for line in lines_over_updates({by_module[2]: logs}, column):
                place = len(plots.setdefault(title, []))
                plots[title].append(dataclasses.replace(line, std=None, style=place, threads=()))
        else:
            logs_by_group = {label: [run.log for run in runs] for label, runs in groups.items()}
            title = column_title(column)
            plots[title if title not in plots else f"{title} ({column})"] = lines_over_updates(logs_by_group, column)
    return list(plots.items())


def validation_panels(groups: Mapping[str, Sequence[Run]]) -> list[Panel]:
    """Panels of validation scores over updates; posterior solid and prior roll-out dashed in one panel."""
    marks = timeline([run for runs in groups.values() for run in runs])
    logs = {label: [run.evaluations for run in runs if run.evaluations] for label, runs in groups.items()}
    logs = {label: rows for label, rows in logs.items() if rows}
    present = {c for rows in logs.values() for log in rows for c in log}
    panels = []
    for metric in VALIDATION:
        lines = []
        for name, word in ((metric, ""), (f"rollout_{metric}", "prior roll-out")):
            if name in present:
                for line in lines_over_updates(logs, name, smooth=False):
                    label = ", ".join(t for t in (line.label if len(logs) > 1 else "", word or "posterior") if t)
                    lines.append(dataclasses.replace(line, label=label, dashed=bool(word)))
        if lines:
            title = f"Validation: {describe(metric).label}".replace("Validation: Validation", "Validation")
            plot = training_plot(lines, title=title, marks=marks)
            panels.append(Panel(f"validation_{metric}", "validation", title, plot, _alt(title, lines)))
    return panels


def section_of(column: str) -> str:
    """Key of the section a logged column belongs to."""
    return next((key for key, pattern in SECTIONS if re.fullmatch(pattern, column.lower())), "other")


def column_title(column: str) -> str:
    """A logged column in words: `kl/discovery_what` becomes `KL: discovery what`."""
    if column in TITLES:
        return TITLES[column]
    words = column.replace("_", " ").replace("/", ": ")
    words = re.sub(r"\bkl\b", "KL", re.sub(r"^(loss|terms?): ", "", words), flags=re.I)
    return words[:1].upper() + words[1:]


def timeline(runs: Sequence[Run]) -> Marks:
    """Stage boundaries of every run (text at those of the first), growth of the clip in the first run."""
    stages, frames = [], ()
    for run in runs:
        log = run.log if "stage" in run.log else run.evaluations
        if "stage" in log:
            for update, value in _changes(log, "stage")[1:]:
                stages.append((update, f"stage {value:g}" if run is runs[0] else ""))
        for name in FRAMES:
            if name in run.log and not frames:
                changes = _changes(run.log, name)
                texts = [f"{value:g} frames" if n == 0 else f"{value:g}" for n, (_, value) in enumerate(changes)]
                if len(changes) > 1:
                    frames = tuple((update, text) for (update, _), text in zip(changes, texts, strict=True))
    return Marks(tuple(stages), frames)


def lines_over_updates(groups: Mapping[str, Sequence[Log]], column: str, smooth: bool = True) -> list[Line]:
    """One line per group: mean and standard deviation over its runs at updates that all of them logged.

    With one run and `smooth`, the mean is a moving average and the raw values stay behind it as a thread.
    """
    lines = []
    for style, (label, logs) in enumerate(groups.items()):
        threads = []
        for log in logs:
            if column in log:
                x, y = update_axis(log), log[column]
                seen = np.isfinite(y)
                threads.append((x[seen], y[seen]))
        threads = [thread for thread in threads if len(thread[0])]
        if not threads:
            continue
        # Several rows of one update (the end of a stage and the beginning of the next): the last one counts.
        values_at = [dict(zip(x, y, strict=True)) for x, y in threads]
        common = sorted(set.intersection(*(set(values) for values in values_at)))
        if len(threads) == 1 or not common:  # without common updates the longest run stands for the mean
            x, y = max(threads, key=lambda thread: len(thread[0]))
            lines.append(Line(label, x, _smooth(y, smooth), style=style, threads=tuple(threads)))
            continue
        values = np.array([[values[x] for x in common] for values in values_at])
        mean, std = _smooth(values.mean(axis=0), smooth), _smooth(values.std(axis=0), smooth)
        lines.append(Line(label, np.array(common), mean, std, len(threads), style, threads=tuple(threads)))
    return lines


def slug(name: str) -> str:
    """Name made of letters, digits and underscores, for files."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower()


def _smooth(values: np.ndarray, smooth: bool) -> np.ndarray:
    width = len(values) // SMOOTHED_POINTS
    if not smooth or width < 2:
        return values
    kernel = np.ones(width)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones_like(values), kernel, "same")


def _changes(log: Log, column: str) -> list[tuple[float, float]]:
    """(update, value) where a column takes a new value, its first value included."""
    values, updates = log[column], update_axis(log)
    seen = np.isfinite(values)
    values, updates = values[seen], updates[seen]
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    return [(float(updates[i]), float(values[i])) for i in starts]


def _alt(title: str, lines: Sequence[Line]) -> str:
    parts = [f"{line.label} goes from {line.mean[0]:.4g} to {line.mean[-1]:.4g}" for line in lines]
    return f"{title} over {lines[0].x[-1]:,.0f} updates: {'; '.join(parts)}."
