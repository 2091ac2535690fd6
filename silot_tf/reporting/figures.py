"""Plots in two themes: metrics against conditions with spread over seeds, quantities over updates."""

import contextlib
import dataclasses
import io
import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, ScalarFormatter
from PIL import Image


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colours of one theme. `models` and `baselines` are cycled; all are readable on `background`."""

    background: str
    ink: str
    faint: str
    grid: str
    models: tuple[str, ...]
    baselines: tuple[str, ...]


# The first four are colour-blind safe together; baselines stay out of the way in grey and brown.
THEMES = {
    "light": Theme(
        "#ffffff",
        "#1c2430",
        "#66707f",
        "#e3e7ec",
        ("#1769aa", "#c8501e", "#137f5f", "#7d4aa8", "#a8761a", "#b83a72", "#4d7a1f", "#3a8fa3"),
        ("#5c6470", "#8a6d3b"),
    ),
    "dark": Theme(
        "#171c23",
        "#e8ecf1",
        "#98a3b1",
        "#2b333e",
        ("#6cb4ee", "#f2905b", "#4cc79c", "#c39be8", "#e0b450", "#f28ab5", "#a3cc68", "#7fd0de"),
        ("#a9b2bd", "#cfae70"),
    ),
}
DASHES = ((0, (5, 2.5)), (0, (1.5, 1.8)), (0, (6, 2, 1.5, 2)))
MARKERS = "osD^vP"
SIZE = (
    4.4,
    2.85,
)  # inches, without legend; at the width of a phone the 9.5 point text is still about 10 pixels high
DPI = 200

Plot = dict[str, bytes]


@dataclasses.dataclass(frozen=True)
class Line:
    """One curve of a plot: `x`, `mean`, `std` `[n]`; `std` is drawn as a band where `count > 1`.

    `style` numbers the colour among models or among baselines; `threads` are the runs behind a mean: (x, y); markers
    at `hollow` are not filled; `names` stand on the axis in place of numbers (x, name).
    """

    label: str
    x: np.ndarray
    mean: np.ndarray
    std: np.ndarray | None = None
    count: int = 1
    style: int = 0
    dashed: bool = False
    is_baseline: bool = False
    threads: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    hollow: tuple[float, ...] = ()
    names: tuple[tuple[float, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Panel:
    """One of several plots side by side: its lines, and what stands above it."""

    title: str
    lines: tuple[Line, ...]
    higher_is_better: bool | None = None


@dataclasses.dataclass(frozen=True)
class Marks:
    """Events on the axis of updates: `stages` and `frames` are (update, text)."""

    stages: tuple[tuple[float, str], ...] = ()
    frames: tuple[tuple[float, str], ...] = ()


def condition_plot(lines: Sequence[Line], *, title: str, x_label: str, higher_is_better: bool | None = None) -> Plot:
    """Metric against condition: models solid with a band of one standard deviation, baselines dashed.

    Returns:
      theme name -> PNG.
    """

    def draw(axes, theme: Theme) -> None:
        _draw_conditions(axes, theme, lines, x_label, higher_is_better)

    return both_themes(draw, title, arrow(higher_is_better), legend=True)


def panel_plot(panels: Sequence[Panel], *, x_label: str, columns: int = 3) -> Plot:
    """Several metrics against the condition in one picture, rows of `columns` plots over one legend.

    Returns:
      theme name -> PNG.
    """
    return {name: _render_panels(theme, panels, x_label, columns) for name, theme in THEMES.items()}


def _draw_conditions(axes, theme: Theme, lines: Sequence[Line], x_label: str, higher_is_better: bool | None) -> None:
    """See `condition_plot`."""
    for line in lines:
        colours = theme.baselines if line.is_baseline else theme.models
        colour = colours[line.style % len(colours)]
        if _has_band(line):
            axes.fill_between(line.x, line.mean - line.std, line.mean + line.std, color=colour, alpha=0.2, lw=0)
        marker = {"marker": MARKERS[line.style % len(MARKERS)], "ms": 3.5 if line.is_baseline else 4.5}
        axes.plot(
            line.x, line.mean, color=colour, label=line.label, zorder=3,
            linestyle=DASHES[line.style % len(DASHES)] if line.is_baseline else "-",
            lw=1.6 if line.is_baseline else 2.1, mfc=theme.background if line.is_baseline else colour, **marker,
        )  # fmt: skip
        if (hollow := np.isin(line.x, line.hollow)).any():
            axes.plot(line.x[hollow], line.mean[hollow], color=colour, zorder=4, ls="", mfc=theme.background, **marker)
    numbers = sorted({float(x) for line in lines for x in line.x})
    if len(numbers) <= 15:
        names = {x: name for line in lines for x, name in line.names}
        axes.set_xticks(numbers, [names.get(n, f"{n:g}") for n in numbers])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10))
    pad = 0.06 * max(numbers[-1] - numbers[0], 1)
    axes.set_xlim(numbers[0] - pad, numbers[-1] + pad)
    low = min([0.0, *(float(np.nanmin(line.mean)) for line in lines)])
    high = max(float(np.nanmax(line.mean + (line.std if _has_band(line) else 0))) for line in lines)
    top = 1.0 if higher_is_better and high <= 1 else high * 1.08 or 1.0
    axes.set_ylim(low * 1.05, top + (0.02 if top == 1.0 else 0))
    axes.set_xlabel(x_label)


def training_plot(
    lines: Sequence[Line], *, title: str, marks: Marks = Marks(), note: str = "", log_scale: bool = False
) -> Plot:
    """A quantity over updates: single runs faint, their (smoothed) mean strong, stages and frames marked.

    Returns:
      theme name -> PNG.
    """

    def draw(axes, theme: Theme) -> None:
        several = len(lines) > 1
        for line in lines:
            colour = theme.models[line.style % len(theme.models)]
            for x, y in line.threads:
                axes.plot(x, y, color=colour, lw=0.7, alpha=0.28, zorder=2)
            if _has_band(line):
                axes.fill_between(line.x, line.mean - line.std, line.mean + line.std, color=colour, alpha=0.18, lw=0)
            axes.plot(
                line.x, line.mean, color=colour, lw=1.8, zorder=3, label=line.label if several else None,
                linestyle=DASHES[0] if line.dashed else "-", marker="o" if len(line.x) < 15 else None, ms=3.2,
            )  # fmt: skip
        if log_scale:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        else:
            axes.set_ylim(*_limits(lines))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
            plain = ScalarFormatter(useOffset=False)
            plain.set_powerlimits((-5, 7))
            axes.yaxis.set_major_formatter(plain)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
        axes.set_xlabel("updates")
        _draw_marks(axes, theme, marks)

    return both_themes(draw, title, note + ("  log scale" if log_scale else ""), len(lines) > 1, pad=15)


def wants_log_scale(values: np.ndarray) -> bool:
    """Whether positive values span so much that a linear axis would hide them."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() / np.percentile(finite, 10) > 40)


def _draw_marks(axes, theme: Theme, marks: Marks) -> None:
    """Stage boundaries as full-height dotted lines, growth of the clip as short ticks above the axes."""
    ends = axes.get_xlim()
    style = {"textcoords": "offset points", "fontsize": 7, "color": theme.faint}
    last = -math.inf
    for update, text in marks.frames:  # above the axes, where no curve can pass
        axes.plot(
            [update, update], [1.01, 1.06], transform=axes.get_xaxis_transform(),
            color=theme.faint, lw=1.1, clip_on=False,
        )  # fmt: skip
        if update - last > 0.08 * (ends[1] - ends[0]):
            axes.annotate(text, (update, 1), (2.5, 2), xycoords=("data", "axes fraction"), **style)
            last = update
    last = -math.inf
    box = {"facecolor": theme.background, "edgecolor": "none", "pad": 0.6, "alpha": 0.8}
    for update, text in marks.stages:
        axes.axvline(update, color=theme.faint, lw=1, ls=(0, (1, 2)), zorder=1)
        if text and update - last > 0.08 * (ends[1] - ends[0]):
            axes.annotate(text, (update, 0), (3, 4), xycoords=("data", "axes fraction"), zorder=1.5, bbox=box, **style)
            last = update
    axes.set_xlim(ends)


def _limits(lines: Sequence[Line]) -> tuple[float, float]:
    """Limits of y that keep every mean but not single outliers of a thread."""
    means = np.concatenate([line.mean[np.isfinite(line.mean)] for line in lines])
    threads = [y[np.isfinite(y)] for line in lines for _, y in line.threads]
    threads = np.concatenate(threads) if threads else means
    low = min(means.min(), np.percentile(threads, 1)) if threads.size else means.min()
    high = max(means.max(), np.percentile(threads, 99)) if threads.size else means.max()
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - pad, high + pad


def _has_band(line: Line) -> bool:
    return line.std is not None and line.count > 1


def _thousands(value: float, _=None) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}"


def arrow(higher_is_better: bool | None) -> str:
    """The note that says which way is better."""
    return {True: "↑ higher is better", False: "↓ lower is better", None: ""}[higher_is_better]


def both_themes(draw, title: str, note: str, legend: bool, pad: float = 6) -> Plot:
    """Theme name -> PNG of one plot.

    Args:
      draw: called with axes and theme.
      title: above the axes, left.
      note: above the axes, right.
      legend: whether to list what has a label.
      pad: points between axes and title.
    """
    return {name: _render(theme, draw, title, note, legend, pad) for name, theme in THEMES.items()}


def _render(theme: Theme, draw, title: str, note: str, legend: bool, pad: float) -> bytes:
    with _style(theme):
        figure = Figure(dpi=DPI)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        draw(axes, theme)
        axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", color=theme.ink, pad=pad)
        if note:
            axes.set_title(note.strip(), loc="right", fontsize=8, color=theme.faint, pad=pad)
        handles, labels = axes.get_legend_handles_labels()
        columns = 2 if len(handles) > 1 and max(map(len, labels)) <= 28 else 1
        rows = math.ceil(len(handles) / columns) if legend else 0
        # Margins in inches: axes of neighbouring plots line up, a legend makes the picture taller instead.
        width, height = SIZE[0], SIZE[1] + 0.19 * rows
        figure.set_size_inches(width, height)
        below = 0.52 + 0.19 * rows
        figure.subplots_adjust(0.5 / width, below / height, 1 - 0.06 / width, 1 - (0.2 + pad / 72) / height)
        if rows:
            figure.legend(
                handles,
                labels,
                loc="lower left",
                bbox_to_anchor=(0.38 / width, 0),
                ncols=columns,
                handlelength=2.4,
            )
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
    return _shrink(stream.getvalue())


def _render_panels(theme: Theme, panels: Sequence[Panel], x_label: str, columns: int) -> bytes:
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    methods = {line.label for panel in panels for line in panel.lines}
    width, legend = SIZE[0] * columns, 0.19 * math.ceil(len(methods) / min(len(methods), 2 * columns)) + 0.1
    height = SIZE[1] * rows + legend
    with _style(theme):
        figure = Figure(figsize=(width, height), dpi=DPI)
        FigureCanvasAgg(figure)
        handles = {}
        for place, panel in enumerate(panels):
            axes = figure.add_subplot(rows, columns, place + 1)
            _draw_conditions(axes, theme, panel.lines, x_label, panel.higher_is_better)
            axes.set_title(panel.title, loc="left", fontsize=10.5, fontweight="bold", color=theme.ink)
            axes.set_title(arrow(panel.higher_is_better), loc="right", fontsize=8, color=theme.faint)
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        figure.subplots_adjust(
            0.5 / width, (0.5 + legend) / height, 1 - 0.06 / width, 1 - 0.3 / height, wspace=0.15, hspace=0.36
        )
        figure.legend(
            handles.values(), handles.keys(), loc="lower center", ncols=min(len(handles), 2 * columns), handlelength=2.4
        )
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
    return _shrink(stream.getvalue())


@contextlib.contextmanager
def _style(theme: Theme):
    settings = {
        "figure.facecolor": theme.background, "axes.facecolor": theme.background,
        "savefig.facecolor": theme.background,
        "axes.edgecolor": theme.grid, "axes.labelcolor": theme.faint, "text.color": theme.ink,
        "xtick.color": theme.faint, "ytick.color": theme.faint, "axes.grid": True, "grid.color": theme.grid,
        "grid.linewidth": 0.8, "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False,
        "font.size": 9.5, "axes.labelsize": 9, "xtick.labelsize": 8.5, "ytick.labelsize": 8.5,
        "legend.fontsize": 8.5,
        "legend.frameon": False, "legend.labelcolor": theme.ink, "xtick.major.size": 0, "ytick.major.size": 0,
        "font.family": "DejaVu Sans", "axes.unicode_minus": True,
    }  # fmt: skip
    with matplotlib.rc_context(settings):
        yield


def _shrink(png: bytes) -> bytes:
    """The same picture with a palette of 128 colours: a third of the size, no visible change in line art."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(
        stream, "PNG", optimize=True
    )
    return stream.getvalue()
