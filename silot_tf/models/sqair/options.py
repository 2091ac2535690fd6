"""Checks of the network's settings: one line each, with the name of the parameter."""

from silot_tf.errors import UserError
from silot_tf.ops import importance

PARTICLE_CHOICES = ("single", "running", "clip")
TOLD = "told"


def check(num_slots, num_particles, glimpse_shape, units, evaluation_particles, output_std, vimco, particle_choice):
    """Raise UserError for values that no network can have; parameters of `SQAIR`."""
    _require(num_slots >= 1, "num_slots", num_slots, "at least 1")
    _require(num_particles >= 2, "num_particles", num_particles, "at least 2, since VIMCO compares particles")
    _require(evaluation_particles is None or evaluation_particles >= 1, "evaluation_particles", evaluation_particles,
             "at least 1, or None")  # fmt: skip
    _require(len(glimpse_shape) == 2 and min(glimpse_shape) >= 2, "glimpse_shape", tuple(glimpse_shape),
             "(rows, columns) of at least 2 pixels each")  # fmt: skip
    _require(units >= 2, "units", units, "at least 2")
    _require(output_std > 0, "output_std", output_std, "a positive standard deviation")
    _require(vimco in importance.FORMS, "vimco", vimco, f"one of {', '.join(importance.FORMS)}")
    _require(
        particle_choice in PARTICLE_CHOICES, "particle_choice", particle_choice, f"one of {', '.join(PARTICLE_CHOICES)}"
    )


def check_forced_count(count, num_slots: int) -> None:
    """Raise UserError unless `count` is None, `TOLD` or a number of objects that fit."""
    fits = isinstance(count, int) and 0 <= count <= num_slots
    expected = f"None, '{TOLD}' or a number from 0 to num_slots = {num_slots}: raise sqair.SQAIR.num_slots for more"
    _require(count in (None, TOLD) or fits, "forced_count", count, expected)


def _require(condition, parameter, value, expected) -> None:
    if not condition:
        raise UserError(f"sqair.SQAIR.{parameter} is {value!r}; expected {expected}")
