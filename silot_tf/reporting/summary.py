"""The top of a report: in plain words, what was run, how it went, and what is missing."""

from collections.abc import Mapping, Sequence

import numpy as np

from silot_tf.reporting.aggregation import Curve
from silot_tf.reporting.runs import Run, configuration_differences
from silot_tf.reporting.tables import (
    DASH,
    describe,
    duration,
    listing,
    number,
    plural,
)


def opening(runs: Sequence[Run], groups: Mapping[str, Sequence[Run]], model_name: str) -> str:
    """One or two sentences: how many runs, seeds, updates, hours, machine."""
    seeds = [run.info["seed"] for run in runs if "seed" in run.info]
    subject = f"{plural(len(runs), 'training run')} of {model_name}"
    if seeds:
        distinct = list(dict.fromkeys(seeds))
        subject += f" ({plural(len(groups), 'training condition')}, " if len(groups) > 1 else " ("
        subject += f"{'seed' if len(distinct) == 1 else 'seeds'} {listing(distinct)})"
    updates = [run.updates for run in runs if run.updates is not None]
    if not updates:
        return f"This page reports {subject}. No training log was found: how long training took is unknown."
    span = (
        number(updates[0], 0) if len(set(updates)) == 1 else f"{number(min(updates), 0)} to {number(max(updates), 0)}"
    )
    text = f"This page reports {subject}, trained for {span} updates{' each' if len(runs) > 1 else ''}"
    stages = max((len(np.unique(run.log["stage"])) for run in runs if "stage" in run.log), default=1)
    if stages > 1:
        text += f" in {stages} stages"
    hours = [sum(run.hours.values()) for run in runs if run.hours]
    if hours:
        took = duration(hours[0]) if len(hours) == 1 else f"{duration(float(np.mean(hours)))} per run on average"
        text += f", in {took}" + (f" on {machine}" if (machine := devices(runs[0])) else "")
    return text + "."


def outcome(curves: Sequence[Curve], condition_label: str) -> list[str]:
    """Sentences on results: what was tested, what share of objects was found, the best baseline."""
    models = [curve for curve in curves if not curve.is_baseline]
    if not models:
        return []
    numbers = list(models[0].conditions.values())
    clips = [spread.mean for curve in models for spread in curve.points("clips").values()]
    tested = f"{number(clips[0], 0)} fresh clips" if len(set(clips)) == 1 else "fresh clips"
    subject = "It was" if len(models) == 1 and models[0].runs == 1 else "Each was"
    if not clips:  # results that are not about a set of clips say themselves what they are about
        sentences = []
    elif len(numbers) > 1:
        span = f"{condition_label or 'condition'} from {numbers[0]:g} to {numbers[-1]:g}"
        sentences = [f"{subject} tested on {tested} for each of {len(numbers)} conditions ({span})."]
    else:
        sentences = [f"{subject} tested on {tested}."]
    for curve in models:
        found = {key: spread.mean for key, spread in curve.overall.items() if spread.count}
        total = found.get("ground_truth", 0)
        if total and {"misses", "false_positives", "switches"} <= found.keys():
            who = f"{curve.label[:1].upper()}{curve.label[1:]}, over" if len(models) > 1 else "Over"
            shares = {key: 100 * found[key] / total for key in ("misses", "false_positives", "switches")}
            sentences.append(
                f"{who} all conditions: of every 100 annotated appearances of an object "
                f"{shares['misses']:.1f} were missed, with {shares['false_positives']:.1f} false alarms and "
                f"{shares['switches']:.1f} changes of identity."
            )
    return sentences


def tiles(curves: Sequence[Curve], metrics: Sequence[str], goals: Mapping[str, float]) -> list[dict]:
    """Headline numbers over all conditions: value, spread, other methods, goal and whether it was reached."""
    models, baselines = ([c for c in curves if c.is_baseline is flag] for flag in (False, True))
    result = []
    for metric in dict.fromkeys([*metrics, *goals]):
        spread = models[0].overall.get(metric) if models else None
        goal, words = goals.get(metric), describe(metric)
        if (spread is None or not spread.count) and goal is None:
            continue
        tile = {
            "label": words.label,
            "whose": models[0].label if len(models) > 1 else "",
            "mode": "prior roll-out" if metric.startswith("rollout_") else "",
            "value": number(spread.mean, 2) if spread and spread.count else DASH,
            "spread": f"± {number(spread.std, 2 if spread.std >= 0.01 else 3)}" if spread and spread.count > 1 else "",
            "others": [
                (c.label, number(c.overall[metric].mean, 2)) for c in [*models[1:], *baselines] if metric in c.overall
            ],
            "goal": "",
            "reached": None,
        }
        if goal is not None:
            lower = words.higher_is_better is False
            tile["goal"] = f"{'≤' if lower else '≥'} {number(goal, 2)}"
            if spread and spread.count:
                tile["reached"] = spread.mean <= goal if lower else spread.mean >= goal
        result.append(tile)
    return result


def notices(runs: Sequence[Run], clips_found: bool, examples_expected: bool = True) -> list[str]:
    """Sentences on everything that the page cannot show and how to get it, and on what to be careful with."""
    notes = []
    for run in runs:
        if not run.info:
            notes.append(f"{run.name}: run.json is missing, so command, seed, versions and hours are unknown.")
        if not run.config:
            notes.append(f"{run.name}: config.gin is missing.")
        if not run.log:
            notes.append(f"{run.name}: metrics.csv has no rows; there are no training curves.")
        if not run.results.get("model"):
            notes.append(f"{run.name}: not evaluated yet; run the same command with --mode=evaluate.")
        elif not any(m.startswith("rollout_") for row in run.results["model"].values() for m in row):
            notes.append(f"{run.name}: no prior roll-out was evaluated.")
        if run.results.get("model") and not run.results.get("baselines"):
            notes.append(f"{run.name}: no baseline was evaluated.")
        for session in run.info.get("sessions") or ():
            if changes := session.get("configuration_changes"):
                what = "evaluated" if session.get("mode") == "evaluate" else "resumed"
                more = f"; and {len(changes) - 4} more" if len(changes) > 4 else ""
                notes.append(f"{run.name}: {what} with other settings: {'; '.join(map(str, changes[:4]))}{more}.")
    if examples_expected and not clips_found:
        notes.append("There are no example clips (results/examples.npz); evaluating writes them.")
    seeds = [(run.info.get("experiment"), run.info["seed"]) for run in runs if "seed" in run.info]
    if len(set(map(str, seeds))) < len(seeds):
        notes.append("Some runs share a seed: the spread then says less than a spread over seeds.")
    by_experiment: dict[str, list[Run]] = {}
    for run in runs:
        by_experiment.setdefault(str(run.info.get("experiment") or ""), []).append(run)
    for members in by_experiment.values():
        if different := configuration_differences(members):
            shown = "; ".join(different[:4]) + (f"; and {len(different) - 4} more" if len(different) > 4 else "")
            notes.append(f"Runs taken together as seeds have different configurations: {shown}.")
    return list(dict.fromkeys(notes))


def facts(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """(name, value) of everything that identifies the runs."""
    first = runs[0]
    rows = [
        ("Runs", listing([run.folder.name for run in runs])),
        ("Seeds", listing([run.info["seed"] for run in runs if "seed" in run.info])),
        ("Updates", _same_or_all([number(run.updates, 0) for run in runs if run.updates is not None])),
        ("Time", listing([_time(run) for run in runs if run.hours])),
        ("Device", devices(first)),
        ("gin files", ", ".join(first.gin_files)),
        ("Versions", ", ".join(f"{k} {v}" for k, v in _dictionary(first.info.get("versions")).items())),
        ("gin parameters", ", ".join(map(str, first.info.get("gin_params") or ()))),
        ("Commit", listing(_distinct(runs, "commit"))),
        ("Started", listing(_distinct(runs, "started"))),
        ("Finished", listing(_distinct(runs, "finished"))),
        ("Processes", _processes(runs)),
        ("Status", listing(_distinct(runs, "status"))),
    ]
    return [(name, value) for name, value in rows if value]


def devices(run: Run) -> str:
    """Devices of run.json in one line, or ""."""
    found = run.info.get("devices", run.info.get("device", ""))
    if isinstance(found, dict):
        words = [str(found[key]) for key in ("processor",) if found.get(key)]
        words += [plural(found["cores"], "core")] if isinstance(found.get("cores"), int) else []
        words += [str(name) for name in found.get("accelerators") or ()]
        return ", ".join(words) or ", ".join(f"{key}: {value}" for key, value in found.items())
    return ", ".join(map(str, found)) if isinstance(found, list | tuple) else str(found or "")


def compute(runs: Sequence[Run]) -> str:
    """Seeds, updates and time in one short line, for the table of claims."""
    parts = [plural(len(runs), "run")]
    updates = [run.updates for run in runs if run.updates is not None]
    if updates:
        parts.append(f"{number(max(updates), 0)} updates")
    hours = [sum(run.hours.values()) for run in runs if run.hours]
    if hours:
        parts.append(f"{duration(float(np.mean(hours)))} each" if len(runs) > 1 else duration(hours[0]))
    if machine := devices(runs[0]):
        parts.append(machine)
    return ", ".join(parts)


def _distinct(runs: Sequence[Run], key: str) -> list[str]:
    return list(dict.fromkeys(str(run.info[key]) for run in runs if run.info.get(key)))


def _processes(runs: Sequence[Run]) -> str:
    """How often runs were started or resumed, where that is more than once."""
    counts = [len(run.info.get("sessions") or ()) for run in runs]
    return f"{listing(counts)} (resumed or evaluated again)" if max(counts) > 1 else ""


def _same_or_all(values: list[str]) -> str:
    return f"{values[0]} each" if len(values) > 1 and len(set(values)) == 1 else listing(values)


def _time(run: Run) -> str:
    total = sum(run.hours.values())
    if len(run.hours) == 1:
        return duration(total)
    return f"{duration(total)} ({', '.join(f'{name} {duration(value)}' for name, value in run.hours.items())})"


def _dictionary(value) -> dict:
    return value if isinstance(value, dict) else {}
