"""An experiment on one data set with one model: train, evaluate beside baselines, report. Knows no model by name."""

import dataclasses
import hashlib
import json
import pathlib
import time
from collections.abc import Callable, Sequence

import gin
import keras
import numpy as np
from absl import logging

from reproduce import measuring, progress
from silot_tf import configuration
from silot_tf.errors import UserError
from silot_tf.evaluation import results
from silot_tf.evaluation.evaluator import Evaluator
from silot_tf.evaluation.prior_clips import PriorClips
from silot_tf.evaluation.what_if import WhatIf
from silot_tf.run_stamp import RunStamp
from silot_tf.training import checkpoints, restoring
from silot_tf.training.loop import TrainingLoop


@gin.configurable(module="reproduce")
@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that a command needs, put together by gin.

    Args:
      dataset: see `silot_tf.data`.
      model: called without arguments; returns a `VideoModel` (bind a reference without brackets, `@room.Model`, so
        that every seed gets its own).
      training: how to train.
      evaluator: how to evaluate, in training and at the end.
      test_model: constructor of the model that the weights are put into for the tests, for example with more slots for
        larger frames; None for `model`.
      test_models_by_condition: called with the number of a test condition; returns the constructor of the model that is
        tested under it in place of `test_model`, or None. For example `SlotsByCondition`.
      test_evaluator: how to evaluate at the end; None for `evaluator`.
      baselines: `evaluation.TunedBaseline` or alike, run on the same test clips.
      measures: `evaluation.Likelihood` or alike (`evaluation.measures`), taken of the model on the same test clips.
      training_measures: the same, at every evaluation during training, on validation clips.
      validation_batches: evaluations during training use so many batches; None for the whole validation set.
      prior_clips: clips drawn from the model's prior at the end, for pictures; None for none.
      further_tests: `reproduce.FurtherTest`s of the same weights, run after the tests on `dataset`.
      report: has `write(run_dirs, out_dir)`; None for no report.
      seeds: of the runs; several make one folder each and a common report.
      initial_weights: folder of a run whose latest weights a new run starts from; None for random ones.
      weights: which weights are evaluated at the end: "final", "overall" or "latest" (`training.restoring`).
      test_examples: example clips saved per test condition.
      what_if: records roll-outs of the test examples after an object was removed or moved; None for none.
      training_examples: example clips saved during training, the first of the validation set.
      deterministic: have TensorFlow repeat its results bit for bit (`training.determinism`); exact resume needs it.
    """

    dataset: object
    model: Callable
    training: TrainingLoop
    evaluator: Evaluator
    test_model: Callable | None = None
    test_models_by_condition: Callable | None = None
    test_evaluator: Evaluator | None = None
    baselines: Sequence = ()
    measures: Sequence = ()
    training_measures: Sequence = ()
    validation_batches: int | None = None
    prior_clips: PriorClips | None = None
    further_tests: Sequence = ()
    report: object = None
    seeds: Sequence[int] = (0,)
    initial_weights: str | None = None
    weights: str = "final"
    test_examples: int = 2
    what_if: WhatIf | None = dataclasses.field(default_factory=WhatIf)
    training_examples: int = 4
    deterministic: bool = True

    def __post_init__(self):
        if not self.seeds:
            raise UserError("Experiment.seeds is empty; expected at least one number")
        names = [test.name for test in self.further_tests]
        if len(set(names)) < len(names):
            raise UserError(f"Experiment.further_tests are called {', '.join(names)}; expected different names")
        if self.validation_batches is not None and self.validation_batches < 1:
            raise UserError(f"Experiment.validation_batches is {self.validation_batches}; expected at least 1, or None")
        if self.weights not in restoring.CHOICES:
            raise UserError(f"Experiment.weights is '{self.weights}'; expected one of {', '.join(restoring.CHOICES)}")

    def new_model(self, seed: int, constructor: Callable | None = None):
        """A built model of `constructor` (None: `model`) with the initial weights that belong to `seed`."""
        keras.utils.set_random_seed(seed)
        model = (constructor or self.model)()
        model.build_variables(self.dataset.frame_shape)
        weights = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
        logging.info("%s with %s weights", type(model).__name__, f"{weights:,}")
        return model

    def train(self, run_dir, seed: int) -> None:
        """Train, or go on training, until the configuration says that it is enough.

        Raises:
          Interrupted: see `TrainingLoop.run`.
          UserError: for bad data, a folder that cannot be used, a loss that is not finite.
        """
        self._check_models_of_conditions()
        self.dataset.prepare()
        # A fresh one in every case: resuming restores it, and nothing else about it may carry over.
        self._models.clear()
        model = self._models[seed] = self.new_model(seed)
        model.initialize_from_data(self.dataset.validation_batches(self.evaluator.batch_size))
        if self.initial_weights is not None:  # a run that is resumed has its own, which replace them
            restoring.restore_weights(self.initial_weights, model, "latest")
        evaluator, dataset = self.evaluator, self.dataset

        def evaluate(model):
            batches = dataset.validation_batches(evaluator.batch_size)
            if self.validation_batches is not None:
                batches = batches.take(self.validation_batches)
            found = evaluator.evaluate(model, batches, seed=seed)
            return found | measuring.measure(self.training_measures, model, batches, seed, run_dir)

        def examples(model):
            first = next(iter(dataset.validation_batches(evaluator.batch_size)))
            return evaluator.example_clips(model, first, seed, clips=self.training_examples, with_sprites=False)

        def write_operative_config():
            configuration.write(run_dir, configuration.OPERATIVE_FILE, configuration.operative())

        stamp = RunStamp(run_dir)
        try:
            progress = self.training.run(
                model,
                dataset,
                run_dir,
                seed=seed,
                evaluate=evaluate,
                examples=examples,
                on_first_update=write_operative_config,
            )
        finally:
            self._record_training(run_dir, stamp)
        complete = self.training.finished(progress)
        stamp.add(status="trained" if complete else "stopped at the time limit")
        for what, best in (("last stage", progress.best), ("all stages", progress.overall)):
            if best is not None and best.score is not None:
                logging.info("best of %s: score %.4f at update %d", what, best.score, best.global_step)

    def evaluate(self, run_dir, seed: int, *, again: bool = True) -> None:
        """Evaluate the chosen weights and the baselines on every test condition; write `results/`.

        Args:
          run_dir: folder of a trained run.
          seed: of the run; also of the noise at evaluation.
          again: evaluate also when there are results for these weights and this configuration.
        """
        self._check_models_of_conditions()
        model, evaluator = self._model_for_tests(seed), self.test_evaluator or self.evaluator
        weights = restoring.restore_weights(run_dir, model, self.weights)
        stamp = RunStamp(run_dir)
        identity = {"weights": dataclasses.asdict(weights), "configuration": _digest(configuration.bound())}
        existing = pathlib.Path(run_dir) / results.FOLDER / results.METRICS_FILE
        if not again and existing.is_file() and stamp.read().get("evaluated") == identity:
            logging.info("%s is up to date; --mode=evaluate makes it anew", existing)
            return
        started = time.monotonic()
        self.dataset.prepare()
        conditions = dict(self.dataset.test_conditions)
        baselines = {
            baseline.name: self._evaluate_baseline(baseline, evaluator.batch_size) for baseline in self.baselines
        }
        features = pathlib.Path(run_dir) / results.FOLDER / results.FEATURES
        for measure in self.measures:
            measure.fit(model, self.dataset, seed=seed, folder=features, identity=identity)
        metrics, examples, told = {}, [], []
        for name, number in conditions.items():
            tested = self._model_of_condition(number, seed, run_dir) or model
            metrics[name] = self._evaluate_condition(tested, evaluator, name, seed)
            batches = self.dataset.test_batches(name, evaluator.batch_size)
            metrics[name] |= measuring.measure(self.measures, tested, batches, seed, run_dir)
            if self.test_examples:  # at once, while the model is compiled
                examples.append(self._example_clips(tested, evaluator, name, seed))
            if tested.is_told_count:
                told.append(name)
        if examples:
            results.write_examples(run_dir, results.join_examples(examples))
        if self.prior_clips is not None:
            made = self.prior_clips.record(model, self.dataset.num_frames, self.dataset.frame_shape, seed=seed)
            results.write_prior_clips(run_dir, made)
        configuration.write(pathlib.Path(run_dir) / results.FOLDER, configuration.CONFIG_FILE, configuration.bound())
        results.write_metrics(
            run_dir,
            model=metrics,
            baselines=baselines,
            conditions=conditions,
            condition_label=self.dataset.condition_label,
            protocol=dict(evaluator.protocol)
            | {name: text for measure in self.measures for name, text in measure.protocol.items()}
            | {b.name: b.protocol for b in self.baselines},
            told_conditions=told,
        )
        for test in self.further_tests:
            test.run(run_dir, model, seed, identity["weights"])
        hours = (time.monotonic() - started) / 3600
        stamp.add(hours={"evaluate": hours}, evaluated=identity, status="evaluated")

    def write_report(self, run_dirs, out_dir) -> pathlib.Path | None:
        """Page of the report on one or several run folders, or None when no report is configured."""
        if self.report is None:
            return None
        return self.report.write(list(run_dirs), out_dir)

    def _model_for_tests(self, seed: int):
        """A model to put the weights of a run into."""
        # The model that was just trained saves compiling its evaluation again.
        trained = self._models.pop(seed, None)
        if self.test_model is None:
            return trained or self.new_model(seed)
        model, slots = self.new_model(seed, self.test_model), (trained or self.model()).num_slots
        if None not in (slots, model.num_slots) and model.num_slots < slots:
            logging.warning(
                "tests use %d slots, fewer than the %d of training: objects beyond them are lost; see test_model",
                model.num_slots,
                slots,
            )
        return model

    def _check_models_of_conditions(self) -> None:
        """Make the model of every condition once, so that a wrong setting is told before days of training."""
        if self.test_models_by_condition is not None:
            for number in self.dataset.test_conditions.values():
                if (constructor := self.test_models_by_condition(number)) is not None:
                    constructor()

    def _model_of_condition(self, number: float, seed: int, run_dir):
        """The model for a test condition, with the weights that are tested; None where it has none of its own."""
        constructor = self.test_models_by_condition and self.test_models_by_condition(number)
        if constructor is None:
            return None
        model = self.new_model(seed, constructor)
        try:
            restoring.restore_weights(run_dir, model, self.weights)
        except UserError as error:
            where = f"Experiment.test_models_by_condition gives a model of its own for the condition {number:g}"
            raise UserError(f"{where}, which the trained weights do not fit: {error}") from error
        return model

    def _evaluate_condition(self, model, evaluator, name: str, seed: int) -> dict[str, float]:
        batches = self.dataset.test_batches(name, evaluator.batch_size)
        with progress.bar(desc=f"testing on {name}", unit=" batches") as bar:
            return evaluator.evaluate(model, batches, seed=seed, on_batch=lambda done: bar.update(done - bar.n))

    def _example_clips(self, model, evaluator, condition: str, seed: int) -> dict[str, np.ndarray]:
        """Arrays of example clips of one condition; baselines must have been evaluated."""
        first = next(iter(self.dataset.test_batches(condition, evaluator.batch_size)))
        first = {key: np.asarray(value) for key, value in first.items()}
        number = self.test_examples
        arrays = evaluator.example_clips(model, first, seed, clips=number)
        if self.what_if is not None:
            arrays |= self.what_if.record(
                model, first, seed=(seed, 0), rollout_from=evaluator.rollout_from, clips=number
            )
        for baseline in self.baselines:
            arrays |= baseline.example_clips(first, self._baseline_settings[id(baseline), condition], number)
        return arrays | {"condition": np.full(len(arrays["video"]), condition)}

    def _evaluate_baseline(self, baseline, size: int) -> dict[str, dict[str, float]]:
        """Condition -> metrics; kept, since the next seed asks for the same."""
        if id(baseline) not in self._baseline_results:
            found = {}
            for name in progress.bar(self.dataset.test_conditions, desc=baseline.name, unit=" conditions"):
                chosen = baseline.tune(self.dataset.validation_condition_batches(name, size))
                self._baseline_settings[id(baseline), name] = chosen
                found[name] = baseline.evaluate(self.dataset.test_batches(name, size), chosen)
            self._baseline_results[id(baseline)] = found
        return self._baseline_results[id(baseline)]

    # Not settings: results and settings of baselines by identity, and models by seed between training and evaluation.
    _models: dict = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)
    _baseline_settings: dict = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)
    _baseline_results: dict = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)

    def _record_training(self, run_dir, stamp: RunStamp) -> None:
        """Put the number of updates and hours of the latest checkpoint into run.json, if there is one."""
        if (pathlib.Path(run_dir) / checkpoints.FOLDER).is_dir():
            state = checkpoints.Checkpoints(run_dir).latest_state()
            stamp.add(
                hours={"train": state["seconds"] / 3600},
                updates=state["progress"]["global_step"],
                best=state["progress"]["best"],
                best_of_all_stages=state["progress"]["overall"],
            )


def _digest(text: str) -> str:
    return hashlib.sha256(json.dumps(sorted(configuration.statements(text).items())).encode()).hexdigest()
