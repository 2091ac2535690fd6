"""Training of any `VideoModel`; importing this registers everything that a gin file can bind."""

from silot_tf import schedules
from silot_tf.training import checkpoints, loop, optimizers, restoring, stages, trainer

__all__ = ["checkpoints", "loop", "optimizers", "restoring", "schedules", "stages", "trainer"]
