"""The training run: stages of updates with logging, validation and checkpoints; stops and resumes exactly."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import gin

from silot_tf.errors import UserError
from silot_tf.training import stages
from silot_tf.training.interruption import StopRequest
from silot_tf.training.session import Session
from silot_tf.training.trainer import Trainer

_LONG = 10**9  # updates: when every curriculum has come to its end


@gin.configurable(module="training")
@dataclasses.dataclass(frozen=True)
class TrainingLoop:
    """Trains a model through stages, writing everything into a run folder.

    Args:
      stages: see `stages.Stage`.
      make_trainer: called with the model; returns a `Trainer`.
      score: metrics of an evaluation -> number, higher is better (`stages.Score`); None: latest weights are best.
      log_every: updates between rows of metrics.csv, which hold means over these updates.
      evaluate_every: updates between evaluations, counted in each stage; also at its beginning and end.
      examples_every: as `evaluate_every`, for saving example clips; a multiple of it. None for never.
      checkpoint_every: updates between checkpoints; there is also one at every evaluation.
      checkpoint_minutes: or after so many minutes.
      max_hours: stop, with a last evaluation, when so many hours were spent in training; None for no limit.
    """

    stages: Sequence[stages.Stage]
    make_trainer: Callable = Trainer
    score: Callable[[Mapping[str, float]], float] | None = None
    log_every: int = 100
    evaluate_every: int = 5000
    examples_every: int | None = None
    checkpoint_every: int = 1000
    checkpoint_minutes: float = 10.0
    max_hours: float | None = None

    def __post_init__(self):
        if not self.stages:
            raise UserError("TrainingLoop.stages is empty; expected at least one Stage")
        for name in ("log_every", "evaluate_every", "checkpoint_every", "examples_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"TrainingLoop.{name} is {value}; expected at least 1 update")

    def run(
        self,
        model,
        dataset,
        run_dir,
        *,
        seed: int,
        evaluate: Callable | None = None,
        examples: Callable | None = None,
        on_first_update: Callable[[], None] | None = None,
    ) -> stages.Progress:
        """Train until the last stage is over, from where the run folder stands; return where it ended.

        The weights of `model` are then the latest ones; `restoring.restore_weights` gets the best.

        Args:
          model: a built `VideoModel`, freshly initialised from `seed`.
          dataset: see `silot_tf.data`; its `training_batches` are used.
          run_dir: the run folder.
          seed: from which every random number of the run comes, 0 <= seed < 2^31.
          evaluate: model -> metrics on validation clips; None for no evaluation.
          examples: model -> arrays of fixed example clips.
          on_first_update: called once after the first update of this process.

        Raises:
          Interrupted: after SIGINT or SIGTERM, with a checkpoint written.
          UserError: when a loss or gradient is not finite, or the folder cannot be read or written.
        """
        if evaluate is None or self.score is None:
            for number, stage in enumerate(self.stages):
                if stage.patience is not None:
                    raise UserError(f"stage {number} has patience, which needs TrainingLoop.score and an evaluation")
        self._check_clip_length(getattr(dataset, "num_frames", None))
        if not 0 <= seed < 2**31:
            raise UserError(f"seed is {seed}; expected a whole number from 0 to 2^31 - 1")
        with StopRequest() as stop:
            folder = pathlib.Path(run_dir)
            session = Session(self, model, dataset, folder, seed, evaluate, examples, on_first_update, stop)
            try:
                session.train()
            finally:
                session.close()
        return session.progress

    def _check_clip_length(self, available: int | None) -> None:
        """Refuse at once what would be told when a curriculum gets there, after days."""
        for number, stage in enumerate(self.stages):
            last = _LONG if stage.max_updates is None else max(stage.max_updates - 1, 0)
            wanted = int(stage.frames(last) if callable(stage.frames) else stage.frames)
            if available is not None and wanted > available:
                raise UserError(
                    f"training.Stage.frames of stage {number} comes to {wanted} frames, clips have {available}; "
                    "expected no more: lower it (FrameCurriculum.maximum), or raise num_frames of the data set"
                )

    def finished(self, progress: stages.Progress) -> bool:
        """Whether the last stage is over (the time limit aside)."""
        return progress.stage == len(self.stages) - 1 and stages.stage_is_over(progress, self.stages[-1])

    @property
    def max_updates(self) -> int | None:
        """Largest possible number of updates, None when a stage has no limit."""
        limits = [stage.max_updates for stage in self.stages]
        return None if None in limits else sum(limits)
