"""SILOT: Spatially Invariant, Label-free Object Tracking (Crawford and Pineau, AAAI 2020)."""

from silot_tf.models.silot.model import SILOT

__all__ = ["SILOT"]
