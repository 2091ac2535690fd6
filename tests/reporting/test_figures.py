import dataclasses
import io

import numpy as np
from PIL import Image

from silot_tf.reporting import figures
from silot_tf.reporting.aggregation import Curve, Spread
from silot_tf.reporting.figures import Line, Marks, condition_plot, training_plot, wants_log_scale
from silot_tf.reporting.sections import metric_lines


def pixels(png, colour, tolerance=12):
    """Number of pixels of one colour (written #rrggbb)."""
    image = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(image - wanted).max(-1) <= tolerance).sum())


def line(**options):
    x = np.array([1.0, 2, 3])
    return Line("a method", x, np.array([0.9, 0.8, 0.7]), **options)


def test_baselines_are_dashed_and_models_solid(monkeypatch):
    monkeypatch.setattr(figures, "DPI", 100)
    drawn = {}
    for is_baseline in (False, True):
        plot = condition_plot([line(is_baseline=is_baseline)], title="t", x_label="x")
        theme = figures.THEMES["light"]
        drawn[is_baseline] = pixels(plot["light"], (theme.baselines if is_baseline else theme.models)[0])
    assert 0 < drawn[True] < 0.75 * drawn[False]


def test_spread_is_a_band_only_for_several_runs():
    band = {"std": np.full(3, 0.1), "count": 3}
    several, single, bare = (
        Image.open(io.BytesIO(condition_plot([n], title="t", x_label="x")["light"])).convert("RGB")
        for n in (line(**band), line(**{**band, "count": 1}), line())
    )
    assert np.asarray(single).tobytes() == np.asarray(bare).tobytes()
    assert np.asarray(several).tobytes() != np.asarray(bare).tobytes()


def test_both_themes_are_drawn_on_their_own_background():
    plot = training_plot([line()], title="t", marks=Marks(((2.0, "stage 1"),), ((1.0, "2 frames"), (2.5, "4"))))
    assert set(plot) == {"light", "dark"}
    for name, png in plot.items():
        image = Image.open(io.BytesIO(png))
        assert image.format == "PNG"
        assert pixels(png, figures.THEMES[name].background, 2) > 0.5 * image.width * image.height


def test_text_contrasts_with_its_background():
    def luminance(colour):
        channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for theme in figures.THEMES.values():
        back = luminance(theme.background)
        for colours, least in (((theme.ink, theme.faint), 4.5), ((*theme.models, *theme.baselines), 3.0)):
            for colour in colours:
                high, low = sorted((luminance(colour), back), reverse=True)
                assert (high + 0.05) / (low + 0.05) >= least, colour


def test_single_points_and_constant_values_can_be_drawn():
    point = Line("one", np.array([4.0]), np.array([0.0]))
    assert condition_plot([point], title="t", x_label="x")["light"]
    assert training_plot([point], title="t")["dark"]
    flat = Line("flat", np.arange(3.0), np.full(3, 7.0))
    assert training_plot([flat, point], title="t")["light"]


def test_log_scale_is_for_positive_values_that_span_much():
    assert wants_log_scale(np.geomspace(1, 1000, 50))
    assert not wants_log_scale(np.linspace(100, 200, 50))
    assert not wants_log_scale(np.array([-1.0, 1000, 1]))


def test_conditions_that_are_no_numbers_stand_on_the_axis_by_name():
    conditions = {"3 digits": 3.0, "Space Invaders": 4.0}
    values = {name: {"mota": Spread(0.5, 0.0, 1)} for name in conditions}
    curve = Curve("model", ("model",), False, conditions, values, {}, 1)
    (line,) = metric_lines([curve], "mota")
    assert line.names == ((4.0, "Space Invaders"),)
    plots = [condition_plot([n], title="t", x_label="x")["light"] for n in (line, dataclasses.replace(line, names=()))]
    assert plots[0] != plots[1]
