"""What can be said about a model on clips without annotations: reconstruction, and how many objects it finds."""

from collections.abc import Callable, Iterable, Mapping

import gin
import numpy as np

from silot_tf.errors import UserError
from silot_tf.evaluation import aggregation, reconstruction, tracks
from silot_tf.evaluation.evaluator import Evaluator


@gin.configurable(module="evaluation")
class UnlabelledEvaluator(Evaluator):
    """Stands where an `Evaluator` stands, for data sets without annotations; scores nothing against boxes.

    Args:
      chunk_frames: frames per call of the model.
      batch_size: clips per batch.
      jit_compile: whether XLA compiles the model.
    """

    def __init__(self, chunk_frames: int = 8, batch_size: int = 16, jit_compile: bool = False):
        super().__init__(None, chunk_frames, batch_size, jit_compile=jit_compile)

    @property
    def protocol(self) -> dict[str, str]:
        """Metric -> one sentence that says how it is computed."""
        return {
            "reconstruction": "Negative Bernoulli log-likelihood in nats per frame, summed over pixels and channels.",
            "mse": "Squared error per pixel and channel, values in [0, 1].",
            "objects_per_frame": "Objects with a track id (presence above the model's threshold), mean over frames.",
        }

    def evaluate(
        self,
        model,
        batches: Iterable[Mapping],
        *,
        seed: int,
        max_batches: int | None = None,
        on_batch: Callable[[int], None] | None = None,
        on_clips: Callable[[str, list[tracks.Clip]], None] | None = None,
    ) -> dict[str, float]:
        """`reconstruction`, `mse` and `objects_per_frame`, see `protocol`; arguments as for `Evaluator.evaluate`."""
        found, size = [], None
        for number, batch in enumerate(batches):
            if number == max_batches:
                break
            batch = {key: np.asarray(value) for key, value in batch.items()}
            size = size or len(batch["video"])
            outputs = self._outputs(model, batch, (seed, number), None, size)
            values = reconstruction.metrics(outputs, batch)
            values["objects_per_frame"] = float(np.mean(np.sum(outputs["objects"]["track_id"] >= 0, axis=-1)))
            found.append((len(batch["video"]), values))
            if on_batch is not None:
                on_batch(number + 1)
        if not found:
            raise UserError("evaluation got no clips; expected at least one batch: check the number of clips")
        return aggregation.weighted_mean(found)
