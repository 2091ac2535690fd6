"""SQAIR: Sequential Attend, Infer, Repeat (Kosiorek et al., NeurIPS 2018); and AIR, what it is without sequences."""

from silot_tf.models.sqair.air import AIR, ClassicalAIR
from silot_tf.models.sqair.model import SQAIR

__all__ = ["AIR", "SQAIR", "ClassicalAIR"]
