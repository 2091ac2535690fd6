import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from silot_tf.reporting import time_figures
from silot_tf.reporting.figures import THEMES
from silot_tf.reporting.time_figures import TimeLine, time_plot

THEME = THEMES["light"]
NAMES = {"title": "t", "conditions": ["few", "many"], "methods": ["ours", "theirs"]}


def line(colour=0, method=0, runs=1, level=0.5, std=0.0):
    return TimeLine(np.full(30, level), np.full(30, std), runs, colour, method)


@pytest.fixture
def axes_of(monkeypatch):
    """Axes of a plot, drawn in the light theme."""
    drawn = {}
    monkeypatch.setattr(time_figures, "both_themes", lambda draw, *arguments, **options: drawn.update(draw=draw))

    def make(*lines, **options):
        time_plot(lines, **(NAMES | options))
        axes = Figure().add_subplot()
        drawn["draw"](axes, THEME)
        return axes

    return make


def curves(axes):
    """Lines with data: (colour, style) of each."""
    return [(to_hex(n.get_color()), n.get_linestyle()) for n in axes.lines if len(n.get_xdata()) > 2]


def test_conditions_have_colours_and_baselines_are_dashed(axes_of):
    found = curves(axes_of(line(0), line(1), line(1, method=1)))
    assert found == [(THEME.models[0], "-"), (THEME.models[1], "-"), (THEME.models[1], "--")]


def test_truth_is_dotted_in_the_colour_of_its_condition(axes_of):
    axes = axes_of(line(1, level=0.2), truth=[line(1, level=0.9)])
    dotted = [n for n in axes.lines if n.get_linestyle() != "-" and len(n.get_xdata())]
    assert [to_hex(n.get_color()) for n in dotted] == [THEME.models[1]]
    np.testing.assert_array_equal(dotted[0].get_ydata(), 0.9)


def test_legend_names_conditions_and_where_there_are_several_methods(axes_of):
    assert axes_of(line()).get_legend_handles_labels()[1] == ["few", "many", "ours", "theirs"]
    assert axes_of(line(), methods=["ours"]).get_legend_handles_labels()[1] == ["few", "many"]
    assert axes_of(line(), methods=["ours"], truth=[line()]).get_legend_handles_labels()[1][-1] == "annotated"


def test_spread_of_several_runs_is_a_band(axes_of):
    assert not axes_of(line(runs=1, std=0.2)).collections
    assert not axes_of(line(runs=3, std=0.2, method=1)).collections
    (band,) = axes_of(line(runs=3, std=0.2)).collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.3, 0.7))


def test_bands_are_not_cut_off(axes_of):
    axes = axes_of(line(level=-0.1, runs=3, std=0.2), line(1, level=0.9, runs=3, std=0.3), higher_is_better=True)
    low, high = axes.get_ylim()
    assert low < -0.3 and high > 1.2


def test_the_length_of_training_clips_is_marked_behind_its_last_frame(axes_of):
    axes = axes_of(line(), trained_frames=8)
    assert [list(n.get_xdata()) for n in axes.lines if len(n.get_xdata()) == 2] == [[7.5, 7.5]]
    assert [text.get_text() for text in axes.texts] == ["trained on 8 frames"]
    assert not axes_of(line()).texts


def test_single_values_between_gaps_get_a_marker(axes_of):
    values = np.full(30, np.nan)
    values[20:] = 0.5
    gap = TimeLine(values.copy(), values * 0, 1, 0)
    values[10] = 0.5
    alone = TimeLine(values, values * 0, 1, 0)
    assert [axes_of(n).lines[0].get_marker() for n in (gap, alone)] == ["None", "o"]


def test_negative_values_and_constant_zero_fit(axes_of):
    low, high = axes_of(line(level=-0.7), higher_is_better=True).get_ylim()
    assert low < -0.7 and high > 0
    assert axes_of(line(level=0.0)).get_ylim()[1] > 0
    assert axes_of(line(level=0.9), higher_is_better=True).get_ylim()[1] >= 1


def test_both_themes_are_drawn():
    plot = time_plot([line(0), line(1, method=1)], **NAMES, trained_frames=8, truth=[line()])
    assert set(plot) == {"light", "dark"} and all(png.startswith(b"\x89PNG") for png in plot.values())
