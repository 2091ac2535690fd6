"""AIR, Attend, Infer, Repeat: models of single frames, with identities by matching places from frame to frame."""

from silot_tf.models.sqair.air.classical import ClassicalAIR
from silot_tf.models.sqair.air.model import AIR

__all__ = ["AIR", "ClassicalAIR"]
