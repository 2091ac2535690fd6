"""Stages of training: what is in force in each, and when one ends; the logic is pure and its state is JSON.

    evaluate at step 0 of a stage and every so many updates -> score
    before `patience_start` the score counts as the worst possible
    first evaluation of the stage, or strictly better than its best: keep these weights as the stage's best
    more than `patience` updates after the best: the stage ends
    the next stage starts from the best weights of the one before, with a fresh optimizer

Source: SILOT specification 3.8.
"""

import dataclasses
import math
from collections.abc import Mapping

import gin

from silot_tf import schedules
from silot_tf.errors import UserError


@gin.configurable(module="training")
@dataclasses.dataclass(frozen=True)
class Stage:
    """Settings of one stage. Schedules count updates from the beginning of the stage.

    Args:
      learning_rate: number or schedule.
      batch_size: clips.
      frames: frames used of each training clip, a number or a schedule that returns ints.
      annealed: name -> number or schedule, for any of the model's `annealed_quantities`; the model's evaluation
        value holds for the others.
      gradient_noise: standard deviation of the noise on clipped gradients, number or schedule.
      max_updates: the stage ends after so many updates at the latest; None for no limit.
      patience: the stage ends at the first evaluation more than so many updates after the best one; None for never.
      patience_start: evaluations before this update count as the worst possible score, and cannot end the stage.
      start_from_best: start from the best weights of the stage before; else from where it ended.
      fresh_optimizer: start with zero moments of the optimizer.
    """

    learning_rate: float = 1e-4
    batch_size: int = 16
    frames: int = 8
    annealed: Mapping | None = None
    gradient_noise: float = 0.0
    max_updates: int | None = None
    patience: int | None = None
    patience_start: int = 1
    start_from_best: bool = True
    fresh_optimizer: bool = True

    def __post_init__(self):
        if self.max_updates is None and self.patience is None:
            raise UserError("Stage has neither max_updates nor patience and would never end; bind one of them")
        if self.batch_size < 1:
            raise UserError(f"Stage.batch_size is {self.batch_size}; expected at least 1 clip")
        if self.max_updates is not None and self.max_updates < 0:
            raise UserError(f"Stage.max_updates is {self.max_updates}; expected 0 or more updates")

    def at(self, step: int, quantities: Mapping[str, float]) -> dict:
        """Arguments of `Trainer.update` for the update after `step` updates of this stage.

        Args:
          step: updates done in the stage.
          quantities: the model's `annealed_quantities`.

        Raises:
          UserError: if `annealed` names a quantity that the model does not have.
        """
        given = self.annealed or {}
        if unknown := sorted(set(given) - set(quantities)):
            raise UserError(f"Stage.annealed names {unknown}; this model anneals {sorted(quantities) or 'nothing'}")
        return {
            "frames": int(self.frames(step) if callable(self.frames) else self.frames),
            "learning_rate": float(schedules.evaluate(self.learning_rate, step)),
            "gradient_noise": float(schedules.evaluate(self.gradient_noise, step)),
            "annealed": {
                name: float(schedules.evaluate(given.get(name, value), step)) for name, value in quantities.items()
            },
        }


@dataclasses.dataclass(frozen=True)
class Best:
    """The best evaluation so far: score (higher is better, None for the worst possible), where, and its weights."""

    score: float | None
    stage: int
    step: int
    global_step: int
    weights: str  # name of the file


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a run stands; immutable, and the same after a way through JSON.

    Attributes:
      stage: number of the stage.
      step: updates done in the stage.
      global_step: updates done in all.
      evaluated: the stage's step at which it was evaluated last, None before its first evaluation.
      exhausted: patience has run out in this stage.
      best: the stage's best evaluation.
      overall: the best evaluation of all stages by the same rules (specification 3.8, choice).
    """

    stage: int = 0
    step: int = 0
    global_step: int = 0
    evaluated: int | None = None
    exhausted: bool = False
    best: Best | None = None
    overall: Best | None = None

    def to_json(self) -> dict:
        """Plain dictionary for `json.dumps`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping) -> "Progress":
        """Inverse of `to_json`."""
        best = {key: values[key] and Best(**values[key]) for key in ("best", "overall")}
        return cls(**{**values, **best})


def weights_name(progress: Progress) -> str:
    """Name of the file for the weights at this point, should they turn out to be the best."""
    return f"best_stage{progress.stage}_update{progress.global_step:09d}"


def after_update(progress: Progress) -> Progress:
    """Progress after one more update."""
    return dataclasses.replace(progress, step=progress.step + 1, global_step=progress.global_step + 1)


def after_evaluation(progress: Progress, stage: Stage, score: float | None) -> tuple[Progress, bool]:
    """Progress after an evaluation, and whether the present weights are the stage's best so far.

    Args:
      progress: before.
      stage: settings of the present stage.
      score: higher is better; None where a run has no score, so that the latest weights are the best. NaN is worst.
    """
    worst = score is not None and (progress.step < stage.patience_start or math.isnan(score))
    effective = None if worst or score is None else float(score)
    here = Best(effective, progress.stage, progress.step, progress.global_step, weights_name(progress))
    improved = score is None or progress.best is None or _better(effective, progress.best.score)
    best = here if improved else progress.best
    overall = progress.overall
    if score is None or overall is None or _better(effective, overall.score):
        overall = here
    exhausted = (
        stage.patience is not None
        and progress.step - best.step > stage.patience
        and progress.step > stage.patience_start
    )
    progress = dataclasses.replace(
        progress,
        evaluated=progress.step,
        best=best,
        overall=overall,
        exhausted=progress.exhausted or exhausted,
    )
    return progress, improved


def stage_is_over(progress: Progress, stage: Stage) -> bool:
    """Whether patience or the number of updates has run out."""
    return progress.exhausted or (stage.max_updates is not None and progress.step >= stage.max_updates)


def next_stage(progress: Progress) -> Progress:
    """Progress at the start of the next stage; nothing of its own has been evaluated yet."""
    return dataclasses.replace(progress, stage=progress.stage + 1, step=0, evaluated=None, exhausted=False, best=None)


@gin.configurable(module="training")
@dataclasses.dataclass(frozen=True)
class Score:
    """Weighted sum of evaluation metrics, higher is better.

    Args:
      weights: metric -> weight, for example `{"mota": 1, "rollout_mota": 1}` or `{"reconstruction": -1}`.
    """

    weights: Mapping[str, float]

    def __call__(self, metrics: Mapping[str, float]) -> float:
        """The score. Raises UserError when a metric is missing."""
        if missing := sorted(set(self.weights) - set(metrics)):
            raise UserError(f"Score.weights names {missing}; evaluation gives {sorted(metrics)}")
        return float(sum(weight * metrics[name] for name, weight in self.weights.items()))


def _better(score: float | None, than: float | None) -> bool:
    """Strictly; None stands for the worst possible score."""
    return score is not None and (than is None or score > than)
