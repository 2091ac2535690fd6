"""SQAIR: Sequential Attend, Infer, Repeat (Kosiorek et al., NeurIPS 2018)."""

from silot_tf.models.sqair.model import SQAIR

__all__ = ["SQAIR"]
