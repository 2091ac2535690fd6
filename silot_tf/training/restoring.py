"""Weights of a trained run."""

from absl import logging

from silot_tf.errors import UserError
from silot_tf.training import checkpoints, stages

CHOICES = ("final", "overall", "latest")


def restore_weights(run_dir, model, which: str = "final") -> stages.Best:
    """Set the weights of `model` from a run folder; return where they come from.

    Args:
      run_dir: the run folder.
      model: a built `VideoModel`.
      which: "final" for the best of the last stage reached (the published protocol), "overall" for the best of all
        stages, "latest" for those of the latest checkpoint.
    """
    if which not in CHOICES:
        raise UserError(f"weights '{which}' are unknown; expected one of {', '.join(CHOICES)}")
    store = checkpoints.Checkpoints(run_dir)
    progress = stages.Progress.from_json(store.latest_state()["progress"])
    variables = checkpoints.named_variables(model)
    chosen = {"final": progress.best, "overall": progress.overall, "latest": None}[which]
    if chosen is None:
        store.restore_latest(variables)
        return stages.Best(None, progress.stage, progress.step, progress.global_step, "latest")
    store.restore_weights(chosen.weights, variables)
    if chosen.score is None and chosen.global_step < progress.global_step:
        logging.warning(
            "the best weights are those of update %d of %d, since no evaluation has counted yet "
            "(Stage.patience_start); Experiment.weights='latest' takes the newest",
            chosen.global_step,
            progress.global_step,
        )
    return chosen
