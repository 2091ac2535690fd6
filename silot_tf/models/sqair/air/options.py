"""Checks of settings that models of single frames share."""

from silot_tf.models.sqair.options import NetworkChecks
from silot_tf.ops import assignment


def check_tracking(checks: NetworkChecks, num_slots: int, distance_gate: float) -> None:
    """Raise UserError unless so many objects can be matched, within a positive distance."""
    most = assignment.LARGEST
    expected = f"at most {most}, since identities are matched exactly"
    checks.require(num_slots <= most, "num_slots", num_slots, expected)
    expected = "a positive distance in fractions of the frame"
    checks.require(distance_gate > 0, "distance_gate", distance_gate, expected)
