"""How probable a model finds clips, and how well its weighted particles count objects.

Source: SQAIR specification 6.1.
"""

from collections.abc import Iterable, Mapping

import gin
import numpy as np
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.evaluation import measures

#: Averages over particles by weight, as models name them -> metric. What is not listed keeps its name.
WEIGHTED = {name: f"weighted_{name}" for name in ("log_likelihood", "kl", "objects", "count_accuracy", "count_error")}


@gin.configurable(module="evaluation")
class Likelihood(measures.Measure):
    """Importance-weighted bound on the log-likelihood of whole clips, and what comes with its particles.

    For models whose `bound` is defined (see `VideoModel`). Each average is given over the particles by their weight
    (`weighted_...`), and plain (`sample_...`), which is the expectation for one sample of the posterior.

    Args:
      particles: K, samples per clip. The bound rises with K, so numbers of different K cannot be compared.
      clips: measure the first so many clips of every set only; None for all.
      particles_per_chunk: samples per clip worked on at once, which decides the memory needed; None leaves it to the
        model. Results differ by the noise only.

    Raises:
      UserError: for numbers below 1.
    """

    def __init__(self, particles: int = 1000, clips: int | None = None, particles_per_chunk: int | None = None):
        for name, value in (("particles", particles), ("clips", clips), ("particles_per_chunk", particles_per_chunk)):
            if value is not None and value < 1:
                raise UserError(f"evaluation.Likelihood.{name} is {value}; expected a whole number of at least 1")
        self.particles, self.clips, self.particles_per_chunk = particles, clips, particles_per_chunk

    @property
    def protocol(self) -> dict[str, str]:
        """See `Measure`."""
        which = "" if self.clips is None else f" Over the first {self.clips} clips of every set."
        samples = "one posterior sample per clip" if self.particles == 1 else f"{self.particles} posterior samples"
        weighted = f"Average over {samples} by importance weight, then mean over clips.{which}"
        plain = f"Plain average over {samples}, then over clips.{which}"
        nats = "summed over the frames of a clip"
        count = "frames in which the number of objects is the true one; objects outside of the frame exist, too"
        return {
            "bound": f"Importance-weighted bound on log p(clip) with {samples}, nats per clip, mean over clips.{which}",
            "weighted_log_likelihood": f"log p(x|z), {nats}. {weighted}",
            "weighted_kl": f"log q(z|x) - log p(z), {nats}. {weighted}",
            "weighted_count_accuracy": f"Share of {count}. {weighted}",
            "weighted_count_error": f"Per frame |objects - true objects|. {weighted}",
            "weighted_objects": f"Objects per frame. {weighted}",
            "elbo": f"log p(x,z) - log q(z|x), {nats}. {plain}",
            "sample_log_likelihood": f"log p(x|z), {nats}. {plain}",
            "sample_kl": f"log q(z|x) - log p(z), {nats}. {plain}",
            "sample_count_accuracy": f"Share of {count}. {plain}",
            "sample_count_error": f"Per frame |objects - true objects|. {plain}",
            "effective_sample_size": f"1 / sum of squared normalised weights of {samples}, mean over clips.{which}",
            "particles": "Posterior samples per clip of the bound.",
        }

    def evaluate(self, model, batches: Iterable[Mapping], *, seed: int) -> dict[str, float]:
        """See `Measure`.

        Raises:
          UserError: if the model has no bound.
          NonFiniteError: if the weights of a clip's particles are all -inf, or not numbers.
        """
        totals, clips = {}, 0
        for number, (batch, rows) in enumerate(measures.clips_of_one_size(batches, self.clips)):
            found = {name: np.asarray(value, np.float64)[:rows] for name, value in self._of(model, batch, seed, number)}
            self._check_finite(found["bound"], batch, number)
            for name, values in found.items():
                metric = WEIGHTED.get(name, name)
                totals[metric] = totals.get(metric, 0.0) + float(np.sum(values))
            clips += rows
        return {name: total / clips for name, total in totals.items()} | {"particles": float(self.particles)}

    def _of(self, model, batch, seed: int, number: int):
        counts = measures.existing_objects(batch)
        try:
            found = model.bound(
                tf.constant(batch["video"]),
                self.particles,
                seed=tf.constant((seed, number), tf.int32),
                particles_per_chunk=self.particles_per_chunk,
                object_count=None if counts is None else tf.constant(counts, tf.int32),
                frame_mask=tf.constant(batch["frame_mask"]),
            )
        except NotImplementedError as error:
            raise UserError(
                f"evaluation.Likelihood cannot be measured: {error}; take it out of the measures"
            ) from error
        return found.items()

    def _check_finite(self, bound: np.ndarray, batch, number: int) -> None:
        if wrong := np.flatnonzero(~np.isfinite(bound)).tolist():
            raise measures.NonFiniteError(
                f"importance weights of {self.particles} particles are all -inf, or not numbers, for clips {wrong[:8]} "
                f"of batch {number}; expected finite ones: the weights of the model have diverged",
                batch,
            )
