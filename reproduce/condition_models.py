"""Which model is tested under which condition: weights of one training in networks of several sizes."""

import dataclasses
import functools
from collections.abc import Callable

import gin

from silot_tf.errors import UserError


@gin.configurable(module="reproduce")
@dataclasses.dataclass(frozen=True)
class SlotsByCondition:
    """From some number of objects on, a model with exactly as many slots as the test condition has objects.

    For networks that cannot take more objects than they were trained with: bind a constructor whose network is told how
    many objects there are, and compare with that in mind.

    Args:
      model: constructor, called with the number of slots.
      slots_argument: name of its argument for the number of slots.
      smallest: conditions of fewer objects get no model of their own.

    Raises:
      UserError: if `smallest` is not a number of objects.

    Source: SQAIR specification 6.4 (SILOT's comparison).
    """

    model: Callable
    slots_argument: str = "num_slots"
    smallest: int = 7

    def __post_init__(self):
        if self.smallest < 1:
            raise UserError(f"SlotsByCondition.smallest is {self.smallest}; expected a number of objects, at least 1")

    def __call__(self, number: float) -> Callable | None:
        """Constructor of the model for the condition of this number; None where it has none of its own."""
        if number < self.smallest:
            return None
        return functools.partial(self.model, **{self.slots_argument: int(number)})
