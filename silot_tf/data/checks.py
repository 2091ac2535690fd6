"""Checks of what gin may bind, shared by the data sets."""

import math
import numbers

from silot_tf.errors import UserError


def are_integers(values, length: int | None = None) -> bool:
    """Whether this is a tuple or list of integers, of that length (None: one or more)."""
    return (
        isinstance(values, tuple | list)
        and all(isinstance(value, numbers.Integral) for value in values)
        and (len(values) == length if length is not None else len(values) > 0)
    )


def is_number(value, above: float = -math.inf) -> bool:
    """Whether this is a finite real number above another one."""
    return isinstance(value, numbers.Real) and math.isfinite(value) and value > above


def require(condition: bool, name: str, value, expected: str) -> None:
    """Raise UserError about the gin parameter `name` (`module.Class.argument`) unless `condition` holds."""
    if not condition:
        raise UserError(f"{name} = {value}: expected {expected}")
