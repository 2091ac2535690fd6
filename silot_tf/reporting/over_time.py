"""Plots of a further test over the frames of its clips: mean and spread over runs, baselines beside them."""

from collections.abc import Mapping, Sequence

import numpy as np

from silot_tf.reporting.aggregation import Spread
from silot_tf.reporting.sections import MODE_TITLES, Gallery
from silot_tf.reporting.tables import describe, number
from silot_tf.reporting.time_figures import TimeLine, time_plot

#: Curves that are drawn -> title.
TITLES = {
    "mota_window": "MOTA, last {window} frames",
    "switches_per_object": "Id switches per object so far",
    "first_identity": "Objects under their first id",
    "presence_per_object": "Presence per true object",
    "presence": "Presence of tracked objects",
    "objects": "Objects found per frame",
    "count_error": "Count error per frame",
}
#: Curves of the model alone: baselines know no presence between 0 and 1.
MODEL_ONLY = ("presence_per_object", "presence")


def baseline_names(documents: Sequence[dict]) -> list[str]:
    """Names of all baselines of some further tests (contents of their files)."""
    return list(dict.fromkeys(name for document in documents for name in document["baselines"]))


def time_plots(
    gallery: Gallery, stem: str, label: str, documents: Sequence[dict], labels: Mapping[str, str]
) -> list[dict]:
    """Entries for the page, one plot for each of `TITLES` and each mode that was evaluated.

    Args:
      gallery: takes the pictures.
      stem: what their names begin with.
      label: name of the model.
      documents: contents of the files of one further test, one per run (see `silot_tf.evaluation.results`).
      labels: baseline -> name to print.
    """
    numbers = {name: n for document in documents for name, n in document["conditions"].items()}
    conditions = sorted(numbers, key=numbers.get)
    first, baselines = documents[0], baseline_names(documents)
    entries = []
    for prefix in MODE_TITLES:
        for curve, title in TITLES.items():
            models = [document["model"] for document in documents]
            lines = _lines(models, conditions, prefix + curve, 0)
            if not lines:
                continue
            shown = [] if curve in MODEL_ONLY else baselines
            for place, name in enumerate(shown, start=1):
                scores = [document["baselines"].get(name, {}) for document in documents]
                # Beside a roll-out, baselines show their ordinary values.
                lines += _lines(scores, conditions, curve, place)
            title = title.format(window=first["window"]) + (", prior roll-out" if prefix else "")
            plot = time_plot(
                lines,
                title=title,
                conditions=conditions,
                methods=[label, *(labels[name] for name in shown)],
                trained_frames=first["trained_frames"],
                higher_is_better=describe(curve).higher_is_better,
                truth=_lines(models, conditions, prefix + "true_objects", 0) if curve == "objects" else (),
            )
            alt = _alt(title, [line for line in lines if not line.method], conditions)
            entries.append(gallery.plot(f"{stem}_{prefix}{curve}", plot, alt))
    return entries


def _lines(scores: Sequence[dict], conditions: Sequence[str], curve: str, method: int) -> list[TimeLine]:
    """One line per condition, over the runs that have the curve; `scores` are condition -> entry, one per run."""
    lines = []
    for colour, condition in enumerate(conditions):
        curves = [c for score in scores if (c := score.get(condition, {}).get("over_time", {}).get(curve))]
        frames = range(max(map(len, curves), default=0))
        spreads = [Spread.of(values[t] for values in curves if t < len(values)) for t in frames]
        if any(spread.count for spread in spreads):
            mean, std = (np.array([getattr(spread, part) for spread in spreads]) for part in ("mean", "std"))
            lines.append(TimeLine(mean, std, len(curves), colour, method))
    return lines


def _alt(title: str, lines: Sequence[TimeLine], conditions: Sequence[str]) -> str:
    parts = []
    for line in lines:
        seen = np.flatnonzero(np.isfinite(line.mean))
        ends = (f"{number(line.mean[t], 2)} in frame {t}" for t in dict.fromkeys(seen[[0, -1]].tolist()))
        parts.append(f"{conditions[line.colour]} {', '.join(ends)}")
    return f"{title}: {'; '.join(parts)}."
