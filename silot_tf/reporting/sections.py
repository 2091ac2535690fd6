"""Sections of a report that hold pictures: metrics against conditions, clips, clips over training."""

import base64
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from silot_tf.reporting import videos
from silot_tf.reporting.aggregation import Curve
from silot_tf.reporting.examples import Clip, read_examples, spread_over_conditions, training_examples
from silot_tf.reporting.figures import Line, Plot, condition_plot
from silot_tf.reporting.runs import Run
from silot_tf.reporting.tables import baseline_metric, describe, number
from silot_tf.reporting.training_figures import training_panels, validation_panels
from silot_tf.reporting.trajectories import trajectory_picture
from silot_tf.reporting.videos import ClipStyle

MEDIA_TYPES = {".png": "image/png", ".gif": "image/gif"}
LONG_CLIP = 40  # frames; longer ones are smaller as GIFs, which would be megabytes otherwise
MODE_TITLES = {"": "Posterior", "rollout_": "Prior roll-out"}


class Gallery:
    """Pictures of a report: files to be saved beside the page, handed to the page as data addresses."""

    def __init__(self):
        self.files: dict[str, bytes] = {}

    def plot(self, name: str, plot: Plot, alt: str) -> dict:
        """Entry for the page: `light`, `dark`, `alt`, `name`; saves the light one as PNG."""
        self.files[f"{name}.png"] = plot["light"]
        addresses = {theme: data_address(f"{name}.png", png) for theme, png in plot.items()}
        width, height = Image.open(io.BytesIO(plot["light"])).size
        return {"name": f"{name}.png", "alt": alt, "width": width, "height": height, **addresses}

    def picture(self, name: str, data: bytes, alt: str, width: int, height: int) -> dict:
        """Entry for the page of one GIF or PNG."""
        self.files[name] = data
        return {
            "name": name,
            "alt": alt,
            "address": data_address(name, data),
            "width": width,
            "height": height,
        }


def data_address(name: str, data: bytes) -> str:
    """`data:` address of an image, for `src` attributes; `name` ends in .png or .gif."""
    return f"data:{MEDIA_TYPES[Path(name).suffix]};base64,{base64.b64encode(data).decode('ascii')}"


def condition_section(
    gallery: Gallery, curves: Sequence[Curve], metrics: Sequence[str], condition_label: str
) -> list[dict]:
    """Plots of metrics against the condition: posterior, prior roll-out, then AP by overlap threshold."""
    plots = []
    for prefix in MODE_TITLES:
        for metric in metrics:
            lines = metric_lines(curves, prefix + metric)
            if any(not line.is_baseline for line in lines):
                words = describe(metric)
                heading = words.label if not prefix else f"{words.label}, prior roll-out"
                plot = condition_plot(
                    lines,
                    title=heading,
                    x_label=condition_label or "condition",
                    higher_is_better=words.higher_is_better,
                )
                plots.append(gallery.plot(prefix + metric, plot, _alt(heading, lines, condition_label)))
    if lines := threshold_lines(curves):
        plot = condition_plot(lines, title="AP by overlap", x_label="IoU threshold", higher_is_better=True)
        plots.append(gallery.plot("ap_by_overlap", plot, _alt("AP over all conditions", lines, "IoU threshold")))
    return plots


def metric_lines(curves: Sequence[Curve], metric: str) -> list[Line]:
    """One line per curve that has the metric; baselines beside a roll-out show their ordinary values."""
    lines, styles = [], {True: 0, False: 0}
    for curve in curves:
        points = curve.points(baseline_metric(curve, metric))
        if points:
            line = _line(curve, points, styles[curve.is_baseline])
            lines.append(dataclasses.replace(line, names=_names(curve.conditions)))
        styles[curve.is_baseline] += 1
    return lines


def _names(conditions: Mapping[str, float]) -> tuple[tuple[float, str], ...]:
    """What stands on the axis for conditions whose names do not tell their numbers, like games."""
    return tuple((float(x), name) for name, x in conditions.items() if f"{x:g}" not in name)


def threshold_lines(curves: Sequence[Curve]) -> list[Line]:
    """AP over all conditions against the overlap threshold, where at least three thresholds were measured."""
    lines, styles = [], {True: 0, False: 0}
    for curve in curves:
        found = {k: curve.overall.get(f"ap_{k}") for k in range(5, 100, 5)}
        points = {k / 100: spread for k, spread in found.items() if spread is not None and spread.count}
        if len(points) >= 3:
            lines.append(_line(curve, points, styles[curve.is_baseline]))
        styles[curve.is_baseline] += 1
    return lines if any(not line.is_baseline for line in lines) else []


def training_section(gallery: Gallery, groups: Mapping[str, Sequence[Run]]) -> dict[str, list[dict]]:
    """Entries of training and validation plots by section key (see `training_figures.SECTIONS`)."""
    entries: dict[str, list[dict]] = {}
    for panel in [*validation_panels(groups), *training_panels(groups)]:
        entries.setdefault(panel.section, []).append(gallery.plot(panel.name, panel.plot, panel.alt))
    return entries


def clip_section(
    gallery: Gallery,
    groups: Mapping[str, Sequence[Run]],
    count: int,
    style: ClipStyle,
    *,
    file: str = "results/examples.npz",
    name: str = "clip",
) -> list[dict]:
    """Clips of the first run of each group that has any, at most `count` each: GIF, film strip, paths per mode.

    Args:
      gallery: takes the pictures.
      groups: label -> runs.
      count: clips per group.
      style: how to draw them.
      file: where a run folder has them.
      name: what files of pictures begin with.
    """
    cards = []
    for place, (label, runs) in enumerate(groups.items()):
        run = next((run for run in runs if (run.folder / file).is_file()), None)
        if run is None:
            continue
        clips = read_examples(run.folder / file).clips
        seen: dict[str, int] = {}
        for index, clip in enumerate(spread_over_conditions(clips, count)):
            what = clip.condition or "clip"
            seen[what] = seen.get(what, 0) + 1
            parts = [label if len(groups) > 1 else "", what + (f" ({seen[what]})" if seen[what] > 1 else "")]
            title = ", ".join(part for part in parts if part)
            stem = f"{name}_{place}_{index}" if len(groups) > 1 else f"{name}_{index}"
            modes = [_mode_entry(gallery, clip, mode, stem, title, style) for mode in clip.views]
            cards.append({"title": title, "run": run.name, "modes": modes, "is_featured": False, "place": index})
    cards.sort(key=lambda card: card["place"])  # what several models make of a clip stands side by side
    if cards:  # the busiest clip says most on paper
        max(cards, key=lambda card: max((mode["tracks"] for mode in card["modes"]), default=0))["is_featured"] = True
    return cards


def progress_section(gallery: Gallery, runs: Sequence[Run], count: int, style: ClipStyle) -> list[dict]:
    """The same clips the first, middle and last time they were saved in training, from the first such run."""
    for run in runs:
        paths = training_examples(run.folder / "examples")
        if not paths:
            continue
        rows: list[dict] = []
        for moment, path in enumerate(paths):
            examples = read_examples(path)
            when = "" if examples.global_step is None else f"update {number(examples.global_step, 0)}"
            for index, clip in enumerate(examples.clips[:count]):
                if index >= len(rows):
                    rows.append({"title": clip.condition or f"clip {index}", "moments": []})
                if clip.views:
                    stem = f"progress_{index}_{moment}"
                    entry = _mode_entry(gallery, clip, next(iter(clip.views)), stem, when, style)
                    rows[index]["moments"].append({**entry, "when": when or path.stem})
        return [{**row, "run": run.name} for row in rows if row["moments"]]
    return []


def _mode_entry(gallery: Gallery, clip: Clip, mode: str, stem: str, title: str, style: ClipStyle) -> dict:
    long = len(clip.video) > LONG_CLIP
    frames = videos.clip_frames(clip, mode, dataclasses.replace(style, size=style.size * 2 // 3) if long else style)
    strip = videos.film_strip(clip, mode, dataclasses.replace(style, size=style.size // 2))
    paths = trajectory_picture(clip, mode, style)
    name, switch = f"{stem}_{'rollout' if mode else 'posterior'}", style.switch(clip, mode)
    words = MODE_TITLES[mode].lower() + (f", frames {switch} and later not seen" if switch is not None else "")
    found, tracks = "", 0
    if clip.views[mode].objects is not None:
        objects = clip.views[mode].objects
        shown = objects.pres > style.threshold
        tracks = len(np.unique(objects.track_id[shown]))
        found = f" {tracks} tracks, {int((objects.is_new & shown).sum())} discoveries."
    alt = f"{title}, {words}: input above, reconstruction below, {len(clip.video)} frames.{found}"
    return {
        "title": MODE_TITLES[mode],
        "words": words,
        "switch": switch,
        "gif": gallery.picture(f"{name}.gif", videos.to_gif(frames, style.frames_per_second), alt, *frames[0].size),
        "strip": gallery.picture(f"{name}_strip.png", videos.to_png(strip), f"Film strip of {alt}", *strip.size),
        "paths": None
        if paths is None
        else gallery.picture(f"{name}_paths.png", videos.to_png(paths), f"Paths of {alt}", *paths.size),
        "tracks": tracks,
        "has_boxes": clip.views[mode].objects is not None,
    }


def _line(curve: Curve, points: dict, style: int) -> Line:
    return Line(
        label=curve.label,
        x=np.array(list(points)),
        mean=np.array([spread.mean for spread in points.values()]),
        std=np.array([spread.std for spread in points.values()]),
        count=max(spread.count for spread in points.values()) if not curve.is_baseline else 1,
        style=style,
        is_baseline=curve.is_baseline,
        hollow=tuple(curve.conditions[name] for name in curve.told),
    )


def _alt(title: str, lines: Sequence[Line], x_label: str) -> str:
    parts = [f"{n.label} {n.mean[0]:.3g} at {n.x[0]:g} and {n.mean[-1]:.3g} at {n.x[-1]:g}" for n in lines]
    return f"{title} against {x_label or 'condition'}: {'; '.join(parts)}."
