"""Measures beside the evaluator's metrics: taken one after the other, with a batch that fails kept."""

from collections.abc import Sequence

from reproduce import progress
from silot_tf.errors import UserError
from silot_tf.evaluation.measures import NonFiniteError
from silot_tf.training import snapshots


def measure(measures: Sequence, model, batches, seed: int, run_dir) -> dict[str, float]:
    """Metrics of all measures on finite batches.

    Args:
      measures: see `silot_tf.evaluation.measures`; those that learn something have done so.
      model: to be measured.
      batches: contract batches, gone through once per measure.
      seed: of the run.
      run_dir: where a batch for which numbers are not finite is written.

    Raises:
      UserError: if numbers are not finite.
    """
    found = {}
    for one in measures:
        with progress.bar(desc=type(one).__name__, unit=" batches") as bar:
            try:
                found |= one.evaluate(model, _counted(batches, bar), seed=seed)
            except NonFiniteError as error:
                path = snapshots.write_tested_batch(run_dir, error.batch)
                raise UserError(f"{error}; the batch is in {path}") from error
    return found


def _counted(batches, bar):
    for batch in batches:
        yield batch
        bar.update(1)
