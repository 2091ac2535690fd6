"""Sections of a report on further tests of the same weights: numbers by clip length, curves over time, clips."""

from collections.abc import Mapping, Sequence

from silot_tf.evaluation.results import FOLDER, FURTHER, read_further
from silot_tf.reporting.aggregation import Curve, as_json, curve_of
from silot_tf.reporting.over_time import TITLES, baseline_names, time_plots
from silot_tf.reporting.runs import Run
from silot_tf.reporting.sections import MODE_TITLES, Gallery, clip_section
from silot_tf.reporting.tables import listing, metric_table, number, plural, protocol_rows
from silot_tf.reporting.videos import ClipStyle

#: Curves over time that tables show as they stand in the last frame of a length.
AT_THE_END = ("switches_per_object", "first_identity", "presence_per_object")
COLUMNS = ("mota", "ap", "idf1", "count_error", *AT_THE_END)

#: One further test: label of a group -> (run, contents of the file) for each of its seeds.
Members = Mapping[str, Sequence[tuple[Run, dict]]]


def further_sections(
    gallery: Gallery, groups: Mapping[str, Sequence[Run]], labels: Mapping[str, str], clips: int, style: ClipStyle
) -> tuple[list[dict], dict]:
    """Entries for the page, one per test, and their numbers for metrics.json.

    Args:
      gallery: takes the pictures.
      groups: name to print -> runs, which are seeds of one training condition.
      labels: baseline -> name to print, where another one is wanted.
      clips: clips per test and group.
      style: how to draw them.

    Raises:
      UserError: if a file of a further test is damaged.
    """
    found: dict[str, dict[str, list]] = {}
    for label, runs in groups.items():
        for run in runs:
            for name, document in read_further(run.folder).items():
                found.setdefault(name, {}).setdefault(label, []).append((run, document))
    sections, record = [], {}
    for name, members in found.items():
        documents = [document for tests in members.values() for _, document in tests]
        printed = {b: labels.get(b, b.replace("_", " ")) for b in baseline_names(documents)}
        curves = {
            length: _curves(members, printed, length) for length in sorted({n for d in documents for n in d["lengths"]})
        }
        record[name] = {str(length): [as_json(curve) for curve in entries] for length, entries in curves.items()}
        sections.append(
            _opening(documents[0])
            | {
                "key": name,
                "notes": _notes(members),
                "runs": max(map(len, members.values())),
                "tables": _tables(curves, documents[0]["trained_frames"]),
                "plots": [
                    {
                        "label": label if len(members) > 1 else "",
                        "entries": time_plots(gallery, f"{name}_{n}", label, [d for _, d in tests], printed),
                    }
                    for n, (label, tests) in enumerate(members.items())
                ],
                "clips": clip_section(
                    gallery,
                    {label: [run for run, _ in tests] for label, tests in members.items()},
                    clips,
                    style,
                    file=f"{FOLDER}/{FURTHER}/{name}.npz",
                    name=name,
                ),
            }
        )
    return sections, record


def _opening(document: dict) -> dict:
    """What the head of a section says, and how its numbers are measured."""
    conditions, lengths = document["conditions"], document["lengths"]
    numbers = sorted(conditions.values())
    span = f"{numbers[0]:g}" if len(numbers) == 1 else f"{numbers[0]:g} to {numbers[-1]:g}"
    clips = next(iter(document["model"].values()))["lengths"][str(lengths[-1])]["clips"]
    text = (
        f"Clips have {document['frames']} frames; there are {number(clips, 0)} for each of "
        f"{plural(len(conditions), 'condition')} ({document['condition_label']}: {span}). They are scored after "
        f"{listing(lengths)} frames, with nothing but the model's state carried from frame to frame."
    )
    if document["trained_frames"]:
        text += f" Training clips had {document['trained_frames']} frames."
    known = {key: document["protocol"][key] for key in (*COLUMNS, *TITLES) if key in document["protocol"]}
    return {
        "title": document["title"],
        "description": document["description"],
        "opening": text,
        "condition_label": document["condition_label"],
        "protocol": [row for rows in protocol_rows(known) for row in rows],
    }


def _curves(members: Members, printed: Mapping[str, str], length: int) -> list[Curve]:
    """Results after so many frames: one curve per group, then one per baseline over all runs."""
    every = [document for tests in members.values() for _, document in tests]
    curves = [
        curve_of(label, (label,), False, [(_rows(d["model"], length), d["conditions"]) for _, d in tests])
        for label, tests in members.items()
    ]
    for name, label in printed.items():
        tables = [(_rows(d["baselines"].get(name, {}), length), d["conditions"]) for d in every]
        curves.append(curve_of(label, (label, name), True, tables))
    return curves


def _rows(scores: Mapping[str, dict], length: int) -> dict[str, dict]:
    """Condition -> metric -> value after so many frames, with what curves over time have in the last of them."""
    rows = {}
    for condition, score in scores.items():
        if str(length) in score["lengths"]:
            last = {
                name: values[length - 1]
                for name, values in score["over_time"].items()
                if name.removeprefix("rollout_") in AT_THE_END
            }
            rows[condition] = score["lengths"][str(length)] | last
    return rows


def _tables(curves: Mapping[int, Sequence[Curve]], trained_frames: int | None) -> list[tuple[str, dict]]:
    """(heading, table) for every length and mode."""
    tables = []
    for length, entries in curves.items():
        for prefix, mode in MODE_TITLES.items():
            if table := metric_table(entries, prefix, COLUMNS):
                heading = f"After {plural(length, 'frame')}{', as in training' if length == trained_frames else ''}"
                tables.append((heading + (f": {mode.lower()}" if prefix else ""), table))
    return tables


def _notes(members: Members) -> list[str]:
    """Sentences on what to be careful with."""
    notes, settings = [], set()
    for tests in members.values():
        for run, document in tests:
            evaluated = ((run.info.get("evaluated") or {}).get("weights") or {}).get("global_step")
            tested = document["weights"].get("global_step")
            if None not in (evaluated, tested) and evaluated != tested:
                notes.append(
                    f"{run.name}: made with the weights of update {number(tested, 0)}, everything else on this page "
                    f"with those of update {number(evaluated, 0)}; --mode=evaluate makes it anew."
                )
            settings.add((document["frames"], tuple(document["lengths"]), tuple(document["conditions"])))
    if len(settings) > 1:
        notes.append("Runs were tested with different clip lengths or conditions.")
    return notes
