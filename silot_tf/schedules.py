"""Quantities that change over updates: pure functions of the step inside a stage.

Every schedule is called with a step (the number of updates done in the stage) and returns a float32 scalar: numpy for
a Python or numpy step, a tensor for a tensor. Importing this module does not start TensorFlow.
"""

import dataclasses
import numbers

import gin
import numpy as np

from silot_tf.errors import UserError

_LOG_GUARD = 1e-6  # authors' code: keeps the logarithm finite when a schedule ends at 0


@gin.configurable(module="schedules")
@dataclasses.dataclass(frozen=True)
class Constant:
    """The same value at every step."""

    value: float

    def __call__(self, step):
        """Value at `step`."""
        ops, step = _arithmetic(step)
        return _float32(ops, 0.0 * step + self.value)


@gin.configurable(module="schedules")
@dataclasses.dataclass(frozen=True)
class Linear:
    """From `start` at step `begin` (and before) in a straight line to `end`, reached `steps` later and kept."""

    start: float
    end: float
    steps: int
    begin: int = 0

    def __post_init__(self):
        _require_positive("Linear.steps", self.steps)

    def __call__(self, step):
        """Value at `step`."""
        ops, step = _arithmetic(step)
        done = ops.clip((step - self.begin) / self.steps, 0.0, 1.0)
        return _float32(ops, self.start + (self.end - self.start) * done)


@gin.configurable(module="schedules")
@dataclasses.dataclass(frozen=True)
class Exponential:
    """`(start - end) * rate^k + end` with `k = step / decay_steps`; `0^0 = 1`.

    Args:
      start: value at step 0 (before the logarithm).
      end: limit for `rate < 1`.
      decay_steps: updates after which the distance to `end` has shrunk by `rate`.
      rate: factor per `decay_steps`; 0 with `staircase` makes a switch.
      staircase: round k down to a whole number.
      log: return `ln(value + 1e-6)`; both ends are then for example odds, and the schedule gives log-odds.

    Source: SILOT specification 3.6 (authors' code).
    """

    start: float
    end: float
    decay_steps: int
    rate: float
    staircase: bool = False
    log: bool = False

    def __post_init__(self):
        _require_positive("Exponential.decay_steps", self.decay_steps)

    def __call__(self, step):
        """Value at `step`."""
        ops, step = _arithmetic(step)
        exponent = step / self.decay_steps
        if self.staircase:
            exponent = ops.floor(exponent)
        value = (self.start - self.end) * ops.power(0.0 * step + self.rate, exponent) + self.end
        return _float32(ops, ops.log(value + _LOG_GUARD) if self.log else value)


@gin.configurable(module="schedules")
@dataclasses.dataclass(frozen=True)
class Piecewise:
    """`values[i]` from step `boundaries[i - 1]` (0 for the first) until just before `boundaries[i]`.

    Args:
      boundaries: increasing steps, one fewer than values.
      values: numbers or schedules; a schedule gets the steps counted from the beginning of its piece.
    """

    boundaries: tuple
    values: tuple

    def __post_init__(self):
        increasing = all(a < b for a, b in zip(self.boundaries, self.boundaries[1:], strict=False))
        if len(self.values) != len(self.boundaries) + 1 or not increasing:
            raise UserError(
                f"Piecewise has boundaries {self.boundaries} and {len(self.values)} values; "
                "expected increasing boundaries and one more value than boundaries"
            )

    def __call__(self, step):
        """Value at `step`."""
        ops, position = _arithmetic(step)
        result = _value(self.values[0], step)
        for start, value in zip(self.boundaries, self.values[1:], strict=True):
            # Steps before the piece see its first value, which `where` then drops: no negative steps anywhere.
            inside = _value(value, ops.maximum(position - start, 0.0))
            result = ops.where(position >= start, inside, result)
        return _float32(ops, result)


@gin.configurable(module="schedules")
@dataclasses.dataclass(frozen=True)
class FrameCurriculum:
    """How many frames of each training clip are used: `min(start + increment * floor(step / every), maximum)`.

    A Python int, because the number of frames is static in the compiled update. Called with Python ints only.

    Args:
      every: updates between two lengthenings.
      start: frames at step 0.
      increment: frames added each time.
      maximum: frames never exceeded.

    Source: SILOT, appendix (training); specification 3.6.
    """

    every: int = 40_000
    start: int = 2
    increment: int = 2
    maximum: int = 8

    def __post_init__(self):
        _require_positive("FrameCurriculum.every", self.every)
        _require_positive("FrameCurriculum.start", self.start)

    def __call__(self, step: int) -> int:
        """Number of frames at `step`."""
        return min(self.start + self.increment * (int(step) // self.every), self.maximum)


def evaluate(schedule, step):
    """Value of a schedule, or of a plain number, at `step`; float32 scalar."""
    ops, _ = _arithmetic(step)
    return _float32(ops, _value(schedule, step))


def _value(schedule, step):
    return schedule(step) if callable(schedule) else schedule


def _arithmetic(step):
    """Namespace with numpy's function names, and the step as a float in it."""
    if isinstance(step, (numbers.Number, np.ndarray, np.generic)):
        return np, np.float64(step)
    from keras import ops  # a tensor: TensorFlow runs already

    return ops, ops.cast(step, "float32")


def _float32(ops, value):
    return np.float32(value) if ops is np else ops.cast(value, "float32")


def _require_positive(name: str, value) -> None:
    if value < 1:
        raise UserError(f"{name} is {value}; expected a whole number of at least 1")
