import subprocess
import sys

import numpy as np
import pytest

from silot_tf import schedules
from silot_tf.errors import UserError

COUNT_LOG_ODDS = schedules.Exponential(1e6, 0.0125, 1000, 0.1, log=True)
WHEELS = schedules.Exponential(1.0, 0.0, 1000, 0.0, staircase=True)


@pytest.mark.parametrize(
    ("step", "value"), [(0, 13.82), (1000, 11.51), (3000, 6.91), (6000, 0.012), (8000, -3.79), (10000, -4.37)]
)
def test_count_log_odds_has_the_values_of_the_specification(step, value):
    assert COUNT_LOG_ODDS(step) == pytest.approx(value, abs=0.006)


def test_count_log_odds_ends_at_the_logarithm_of_the_final_odds():
    assert COUNT_LOG_ODDS(1_000_000) == pytest.approx(np.log(0.0125), abs=1e-3)


def test_training_wheels_are_on_for_exactly_the_first_thousand_steps():
    assert [float(WHEELS(step)) for step in (0, 1, 999, 1000, 1001, 50_000)] == [1, 1, 1, 0, 0, 0]


def test_gradient_noise_falls_tenfold_per_thousand_steps():
    noise = schedules.Exponential(0.001, 0.0, 1000, 0.1)
    np.testing.assert_allclose([noise(s) for s in (0, 500, 1000, 3000)], [1e-3, 10**-3.5, 1e-4, 1e-6], rtol=1e-6)


def test_frames_of_the_paper_curriculum():
    frames = schedules.FrameCurriculum(every=40_000)
    assert [frames(step) for step in (0, 39_999, 40_000, 120_000, 10**6)] == [2, 2, 4, 8, 8]
    assert isinstance(frames(0), int)


def test_linear_holds_both_ends():
    linear = schedules.Linear(2.0, 4.0, steps=10, begin=5)
    np.testing.assert_allclose([linear(s) for s in (0, 5, 10, 15, 99)], [2, 2, 3, 4, 4])


def test_piecewise_changes_exactly_at_boundaries_and_restarts_nested_schedules():
    schedule = schedules.Piecewise((10, 20), (1.0, schedules.Linear(0.0, 1.0, 10), 7))
    np.testing.assert_allclose([schedule(s) for s in (0, 9, 10, 15, 19, 20, 99)], [1, 1, 0, 0.5, 0.9, 7, 7])


@pytest.mark.parametrize(
    "schedule",
    [
        COUNT_LOG_ODDS,
        WHEELS,
        schedules.Constant(3.0),
        schedules.Linear(0.0, 1.0, 700),
        schedules.Piecewise((500,), (schedules.Linear(1.0, 0.0, 100), 0.5)),
    ],
)
@pytest.mark.parametrize("step", [0, 1, 499, 500, 999, 1000, 12_345])
def test_tensor_steps_give_the_same_values_as_numbers(schedule, step):
    import tensorflow as tf

    value = schedule(tf.constant(step, tf.int32))
    assert value.dtype == tf.float32
    np.testing.assert_allclose(value.numpy(), schedule(step), rtol=1e-4, atol=1e-4)
    assert schedule(step).dtype == np.float32
    assert np.ndim(schedule(step)) == 0


def test_plain_numbers_are_schedules_too():
    assert schedules.evaluate(0.25, 7) == np.float32(0.25)


def test_wrong_numbers_are_named():
    with pytest.raises(UserError, match=r"Exponential\.decay_steps is 0"):
        schedules.Exponential(1.0, 0.0, 0, 0.1)
    with pytest.raises(UserError, match="one more value"):
        schedules.Piecewise((1, 2), (1.0, 2.0))


def test_importing_schedules_does_not_start_tensorflow():
    code = "import sys, silot_tf.schedules; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
