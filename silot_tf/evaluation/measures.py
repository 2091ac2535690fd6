"""What all measures beyond those of `evaluator` share: their face, true numbers of objects, batches of one size."""

import abc
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from silot_tf.errors import UserError


class Measure(abc.ABC):
    """Something that is measured of a model beside the evaluator's metrics, named in gin and switched on by it."""

    @property
    @abc.abstractmethod
    def protocol(self) -> dict[str, str]:
        """Metric -> one sentence that says how it is computed, with the numbers of this measure."""

    def fit(self, model, dataset, *, seed: int, folder, identity: Mapping) -> None:  # noqa: B027  (optional)
        """Learn what the measure needs to know of a trained model, once, before `evaluate`; most need nothing.

        Args:
          model: with the weights to be tested.
          dataset: see `silot_tf.data`.
          seed: of the run.
          folder: where files may be kept.
          identity: JSON of what such files depend on (weights, configuration).
        """

    @abc.abstractmethod
    def evaluate(self, model, batches: Iterable[Mapping], *, seed: int) -> dict[str, float]:
        """Metric -> value over finite contract batches; the names are those of `protocol`."""


class NonFiniteError(UserError):
    """A model gives numbers that are not finite; `batch` are the clips it gives them for."""

    def __init__(self, message: str, batch: Mapping):
        super().__init__(message)
        self.batch = batch


def existing_objects(batch: Mapping) -> np.ndarray | None:
    """True numbers of objects per frame, `[B,T]`; None where batches have no annotations.

    Objects that exist count also while they are outside of the frame, as far as `label` tells; else visible ones do.
    """
    if "label" in batch:
        return np.sum(np.asarray(batch["label"]) >= 0, axis=2)
    return np.sum(np.asarray(batch["present"], bool), axis=2) if "present" in batch else None


def clips_of_one_size(batches: Iterable[Mapping], clips: int | None = None) -> Iterator[tuple[dict, int]]:
    """Batches as NumPy arrays, filled up to the size of the first, and how many of their clips count.

    Args:
      batches: contract batches.
      clips: end after so many; None for all.

    Raises:
      UserError: if there is none.
    """
    size = done = 0
    for batch in batches:
        if clips is not None and done >= clips:
            break
        batch = {key: np.asarray(value) for key, value in batch.items()}
        size = size or len(batch["video"])
        rows = len(batch["video"]) if clips is None else min(len(batch["video"]), clips - done)
        done += rows
        if rows < size:
            batch = {key: np.concatenate([v[:rows], np.repeat(v[:1], size - rows, 0)]) for key, v in batch.items()}
        yield batch, rows
    if not done:
        raise UserError("evaluation got no clips; expected at least one batch: check the number of test clips")
