"""One process at work on a training run: the loop over updates, and everything that happens at a cadence."""

import sys
import time

import numpy as np
from absl import logging
from tqdm import tqdm

from silot_tf import contracts
from silot_tf.errors import UserError
from silot_tf.training import checkpoints, optimizers, snapshots, stages
from silot_tf.training.interruption import Interrupted
from silot_tf.training.logs import CsvLog, Mean
from silot_tf.training.summaries import Summaries
from silot_tf.training.trainer import non_finite

METRICS_FILE, EVALUATIONS_FILE = "metrics.csv", "evaluations.csv"


class Session:
    """The moving parts of a training run in this process; `loop.TrainingLoop` documents the arguments."""

    def __init__(self, loop, model, dataset, run_dir, seed, evaluate, examples, on_first_update, stop):
        self.loop, self.model, self.dataset, self.run_dir, self.seed = loop, model, dataset, run_dir, seed
        self.evaluate, self.examples, self.on_first_update, self.stop = evaluate, examples, on_first_update, stop
        self.trainer = loop.make_trainer(model)
        self.variables = checkpoints.named_variables(model, self.trainer.optimizer)
        self.weights = checkpoints.named_variables(model)
        self.store = checkpoints.Checkpoints(run_dir)
        state = self.store.restore_latest(self.variables) or {}
        if state and state["seed"] != seed:
            raise UserError(f"{run_dir} was trained with seed {state['seed']}, not {seed}; choose another folder")
        self.progress = stages.Progress.from_json(state["progress"]) if state else stages.Progress()
        self.mean = Mean(state.get("mean"))
        rows = state.get("rows", {"metrics": 0, "evaluations": 0})
        self.metrics = CsvLog(run_dir / METRICS_FILE, rows["metrics"])
        self.evaluations = CsvLog(run_dir / EVALUATIONS_FILE, rows["evaluations"])
        self.summaries = Summaries(run_dir)
        self.seconds_before = state.get("seconds", 0.0)
        self.started = self.last_checkpoint = self.last_row = time.monotonic()
        self.updates_since_row = 0
        self.frames = None
        self.bar = tqdm(
            total=loop.max_updates,
            initial=self.progress.global_step,
            unit=" updates",
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 30.0,  # a log file needs no animation
        )

    @property
    def seconds(self) -> float:
        """Time spent in training by this and earlier processes."""
        return self.seconds_before + time.monotonic() - self.started

    @property
    def stage(self) -> stages.Stage:
        """Settings of the present stage."""
        return self.loop.stages[self.progress.stage]

    def close(self):
        """End the progress line and the event file."""
        self.bar.set_postfix_str("", refresh=False)
        self.bar.close()
        self.summaries.close()

    def train(self):
        """Train until the last stage is over or the time is up. Raises what `TrainingLoop.run` says."""
        if self.progress.stage >= len(self.loop.stages):
            raise UserError(
                f"{self.run_dir} stands in stage {self.progress.stage}, TrainingLoop.stages has only "
                f"{len(self.loop.stages)}; use the configuration it was trained with"
            )
        while True:
            self._train_stage()
            last = self.progress.stage == len(self.loop.stages) - 1
            if last or self._out_of_time():
                return
            self._enter_next_stage()

    def _out_of_time(self) -> bool:
        return self.loop.max_hours is not None and self.seconds >= 3600 * self.loop.max_hours

    def _train_stage(self):
        batches = None
        while True:
            over = stages.stage_is_over(self.progress, self.stage) or self._out_of_time()
            due = over or self.progress.step % self.loop.evaluate_every == 0
            if due and self.progress.evaluated != self.progress.step:
                self._evaluate_now(over)
                continue  # patience may have run out
            if over:
                return
            if self.stop:
                self._save()
                raise Interrupted(f"stopped at update {self.progress.global_step}, checkpoint written")
            if batches is None:
                batches = self._batches()
            self._update(next(batches))

    def _batches(self):
        stream = self.dataset.training_batches(
            self.stage.batch_size,
            seed=data_seed(self.seed, self.progress.stage),
            start_batch=self.progress.step,
        )
        return iter(stream)

    def _update(self, batch):
        if self.frames is None:
            contracts.check_batch(batch)
        settings = self.stage.at(self.progress.step, self.model.annealed_quantities)
        if settings["frames"] != self.frames:
            self._announce(f"compiling for {settings['frames']} frames")
        scalars = self.trainer.update(
            batch, seed=self.seed, stage=self.progress.stage, step=self.progress.step, **settings
        )
        if wrong := non_finite(scalars):
            self._stop_with_batch(batch, settings, scalars, wrong)
        if self.frames is None and self.on_first_update is not None:
            self.on_first_update()
        self.frames = settings["frames"]
        self.progress = stages.after_update(self.progress)
        self.updates_since_row += 1
        self.mean.add(scalars)
        self._show(scalars, settings)
        first = self.progress.step == 1
        if first or self.progress.step % self.loop.log_every == 0 or stages.stage_is_over(self.progress, self.stage):
            self._log(settings)
        late = time.monotonic() - self.last_checkpoint > 60 * self.loop.checkpoint_minutes
        if late or self.progress.step % self.loop.checkpoint_every == 0:
            self._save()

    def _show(self, scalars, settings):
        self.bar.set_description(
            f"stage {self.progress.stage + 1}/{len(self.loop.stages)}, {settings['frames']} frames", refresh=False
        )
        self.bar.set_postfix_str(f"loss {scalars['loss']:.1f}/frame", refresh=False)
        self.bar.update(1)

    def _announce(self, what: str):
        """Say in the progress line what takes a while now."""
        self.bar.set_postfix_str(what, refresh=sys.stderr.isatty())

    def _where(self) -> dict:
        return {
            "stage": self.progress.stage, "step": self.progress.step, "global_step": self.progress.global_step
        }  # fmt: skip

    def _log(self, settings):
        now = time.monotonic()
        row = {
            "frames": settings["frames"],
            "learning_rate": _readable(settings["learning_rate"]),
            "noise_std": _readable(settings["gradient_noise"]),
            **{f"annealed/{name}": _readable(value) for name, value in settings["annealed"].items()},
            **self.mean.take(),
            "steps_per_second": self.updates_since_row / max(now - self.last_row, 1e-9),
            "seconds": self.seconds,
        }
        self.last_row, self.updates_since_row = now, 0
        self.metrics.append(self._where() | row)
        self.summaries.scalars("training", row, self.progress.global_step)

    def _evaluate_now(self, over: bool):
        """Evaluate, decide whether these weights are the best, and write a checkpoint that says so."""
        metrics, score = {}, None
        if self.evaluate is not None:
            self._announce("evaluating")
            metrics = dict(self.evaluate(self.model))
            score = None if self.loop.score is None else self.loop.score(metrics)
        before = self.progress
        self.progress, _ = stages.after_evaluation(before, self.stage, score)
        if metrics:
            row = ({} if score is None else {"score": score}) | metrics
            self.evaluations.append(self._where() | row)
            self.summaries.scalars("validation", row, self.progress.global_step)
        every = self.loop.examples_every
        if self.examples is not None and every is not None and (over or before.step % every == 0):
            self._save_examples()
        name = stages.weights_name(before)
        if name in (self.progress.best.weights, self.progress.overall.weights):
            self.store.save_weights(name, self.weights)
        self._save()
        self.last_row, self.updates_since_row = time.monotonic(), 0  # evaluation is no slow update

    def _enter_next_stage(self):
        best = self.progress.best
        self.progress = stages.next_stage(self.progress)
        if self.stage.start_from_best:
            self.store.restore_weights(best.weights, self.weights)
        if self.stage.fresh_optimizer:
            optimizers.reset(self.trainer.optimizer)
        self.mean = Mean()
        self.bar.clear()
        logging.info(
            "stage %d begins with the %s weights",
            self.progress.stage,
            "best" if self.stage.start_from_best else "latest",
        )
        self._save()

    def _save(self):
        self.store.save_latest(
            self.variables,
            {
                "progress": self.progress.to_json(),
                "seed": self.seed,
                "mean": self.mean.state,
                "rows": {"metrics": self.metrics.rows, "evaluations": self.evaluations.rows},
                "seconds": self.seconds,
            },
        )
        self.last_checkpoint = time.monotonic()

    def _save_examples(self):
        arrays = snapshots.write_examples(self.run_dir, self.examples(self.model), self.progress.global_step)
        if "reconstruction" in arrays:
            self.summaries.clips("examples", arrays["video"], arrays["reconstruction"], self.progress.global_step)

    def _stop_with_batch(self, batch, settings, scalars, wrong):
        path = snapshots.write_batch(
            self.run_dir,
            batch,
            self._where() | {"seed": self.seed, "frames": settings["frames"]},
            {"learning_rate": settings["learning_rate"]} | settings["annealed"] | scalars,
        )
        raise UserError(
            f"{', '.join(wrong[:3])} not finite in stage {self.progress.stage}, update {self.progress.step}; training "
            f"stopped, the batch is in {path}; expected finite numbers: lower Stage.learning_rate in a new --run_dir"
        )


def _readable(value: float) -> float:
    """The shortest number that is the same float32: 0.0001, not 9.99999975e-05."""
    return float(str(np.float32(value)))


def data_seed(seed: int, stage: int) -> int:
    """Seed of the training clips' order in a stage, below 2^31."""
    return int(np.random.SeedSequence((seed, stage)).generate_state(1)[0] >> 1)
