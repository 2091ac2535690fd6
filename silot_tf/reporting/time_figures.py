"""Plots over the frames of a clip: one colour per condition, one line style per method."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from silot_tf.reporting.figures import DASHES, Plot, Theme, arrow, both_themes

_DOTS = (0, (1, 1.6))


@dataclasses.dataclass(frozen=True)
class TimeLine:
    """One method under one condition: `mean` and `std` `[T]` over `runs` runs; frames without a value are NaN.

    `colour` numbers the condition, `method` the method: 0 is drawn solid and with a band, others are dashed.
    """

    mean: np.ndarray
    std: np.ndarray
    runs: int
    colour: int
    method: int = 0


def time_plot(
    lines: Sequence[TimeLine],
    *,
    title: str,
    conditions: Sequence[str],
    methods: Sequence[str],
    trained_frames: int | None = None,
    higher_is_better: bool | None = None,
    truth: Sequence[TimeLine] = (),
) -> Plot:
    """A quantity against the frame number.

    Args:
      lines: what to draw.
      title: of the plot.
      conditions: names of the colours.
      methods: names of the line styles.
      trained_frames: frames per clip in training, marked where they end; None for no mark.
      higher_is_better: for the note at the right.
      truth: true values, dotted.

    Returns:
      theme name -> PNG.
    """

    def draw(axes, theme: Theme) -> None:
        for line, is_truth in [*((line, True) for line in truth), *((line, False) for line in lines)]:
            colour, frames = theme.models[line.colour % len(theme.models)], np.arange(len(line.mean))
            if _has_band(line) and not is_truth:
                axes.fill_between(frames, *_edges(line), color=colour, alpha=0.2, lw=0)
            style = _DOTS if is_truth else _style(line.method)
            width = 1.3 if is_truth or line.method else 2.0
            axes.plot(
                frames, line.mean, color=colour, ls=style, lw=width, zorder=2 if line.method else 3,
                marker="o" if _has_single_points(line.mean) else None, ms=2.5,
            )  # fmt: skip
        for number, name in enumerate(conditions):
            axes.plot([], [], color=theme.models[number % len(theme.models)], lw=2.0, label=name)
        styles = [(name, _style(number)) for number, name in enumerate(methods)] if len(methods) > 1 else []
        for name, style in [*styles, *([("annotated", _DOTS)] if truth else [])]:
            axes.plot([], [], color=theme.faint, lw=1.3, ls=style, label=name)
        drawn = [edge for line in [*truth, *lines] for edge in _edges(line)]
        low, high = min(0.0, *(float(np.nanmin(edge)) for edge in drawn)), max(float(np.nanmax(edge)) for edge in drawn)
        top = 1.0 if higher_is_better and high <= 1 else max(high, 0.0) * 1.08 or 1.0
        axes.set_ylim(low * 1.05, top + 0.02 * (top - low))
        axes.set_xlabel("frame")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10))
        if trained_frames is not None:
            _mark(axes, theme, trained_frames)

    return both_themes(draw, title, arrow(higher_is_better), legend=True, pad=15 if trained_frames else 6)


def _has_band(line: TimeLine) -> bool:
    return line.method == 0 and line.runs > 1


def _edges(line: TimeLine) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper edge of what is drawn of a line."""
    spread = line.std if _has_band(line) else 0.0
    return line.mean - spread, line.mean + spread


def _style(method: int):
    return "-" if method == 0 else DASHES[(method - 1) % len(DASHES)]


def _mark(axes, theme: Theme, trained_frames: int) -> None:
    """A dotted vertical behind the last frame of a training clip, with its text above the axes."""
    axes.axvline(trained_frames - 0.5, color=theme.faint, lw=1, ls=(0, (1, 2)), zorder=1)
    axes.annotate(
        f"trained on {trained_frames} frames", (trained_frames - 0.5, 1), (2, 2), xycoords=("data", "axes fraction"),
        textcoords="offset points", fontsize=7, color=theme.faint,
    )  # fmt: skip


def _has_single_points(values: np.ndarray) -> bool:
    """Whether some value has no neighbour, so that a line alone would not show it."""
    seen = np.concatenate([[False], np.isfinite(values), [False]])
    return bool(np.any(seen[1:-1] & ~seen[:-2] & ~seen[2:]))
