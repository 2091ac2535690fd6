"""VRNN: a recurrent latent-variable model of whole frames, without objects."""

from silot_tf.models.vrnn.model import VRNN

__all__ = ["VRNN"]
