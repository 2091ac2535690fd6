"""Tests of trained weights beyond those of the experiment: longer clips, larger frames, more objects; over time."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import gin
import numpy as np

from reproduce import progress
from silot_tf.errors import UserError
from silot_tf.evaluation import aggregation, over_time, results
from silot_tf.evaluation.evaluator import ROLLOUT_PREFIX, Evaluator

#: Curves that go with the setting of a baseline that is best for the count error; all others with that for MOTA.
COUNT_CURVES = ("objects", "true_objects", "count_error")


@gin.configurable(module="reproduce")
@dataclasses.dataclass(frozen=True)
class FurtherTest:
    """One further test set for the weights of a run, scored after several lengths of its clips and frame by frame.

    A causal model makes of the first frames of a clip what it makes of a shorter clip, so one set of long clips tells
    about all lengths: every length is scored on the first frames of the same clips.

    Args:
      name: of the files in `results/further`; letters, digits and underscores.
      dataset: see `silot_tf.data`; only its test sets and the validation sets for tuning baselines are made.
      evaluator: how to evaluate. Long clips are streamed in chunks.
      model: constructor of the model that the weights are put into, for example with more slots; None for that of
        the experiment's tests.
      baselines: `evaluation.TunedBaseline` or alike.
      title: heading in the report; "" takes the name.
      description: a sentence or two for the report.
      lengths: frames after which clips are scored; those of whole clips always are.
      trained_frames: frames per clip in training, a mark in plots; None for no mark.
      window: frames in the windows of MOTA over time.
      examples: example clips saved per test condition.

    Source: SILOT specification 6 (metrics).
    """

    name: str
    dataset: object
    evaluator: Evaluator
    model: Callable | None = None
    baselines: Sequence = ()
    title: str = ""
    description: str = ""
    lengths: Sequence[int] = ()
    trained_frames: int | None = None
    window: int = over_time.DEFAULT_WINDOW
    examples: int = 1

    def __post_init__(self):
        if not re.fullmatch(r"[A-Za-z0-9_]+", self.name):
            raise UserError(f"FurtherTest.name is '{self.name}'; expected letters, digits and underscores")
        frames = self.dataset.num_frames
        if wrong := [length for length in self.lengths if not 1 <= length <= frames]:
            raise UserError(f"FurtherTest.lengths has {wrong}; expected 1 to {frames}, the frames of its clips")
        if self.window < 1 or self.examples < 0:
            raise UserError(
                f"FurtherTest.window is {self.window} and examples is {self.examples}; expected at least 1 and 0"
            )

    def run(self, run_dir, model, seed: int, weights: Mapping) -> None:
        """Evaluate the model and the baselines under every condition; write `results/further/<name>` (see `results`).

        Args:
          run_dir: the run folder.
          model: with the weights to be tested.
          seed: of the noise.
          weights: which weights these are, for the file.
        """
        model = self._model_with_own_slots(model)
        conditions = dict(self.dataset.test_conditions)
        scored, examples = {}, []
        for name in conditions:
            scored[name] = self._score_model(model, name, seed)
            if self.examples:
                examples.append(self._example_clips(model, name, seed))
        evaluator = self.evaluator
        protocol = evaluator.protocol | over_time.protocol(evaluator.scores.matching_iou, self.window)
        document = {
            "title": self.title or self.name.replace("_", " "),
            "description": self.description,
            "weights": dict(weights),
            "frames": self.dataset.num_frames,
            "lengths": self._lengths(),
            "trained_frames": self.trained_frames,
            "window": self.window,
            "conditions": conditions,
            "condition_label": self.dataset.condition_label,
            "protocol": protocol | {baseline.name: baseline.protocol for baseline in self.baselines},
            "model": scored,
            "baselines": {baseline.name: self._score_baseline(baseline) for baseline in self.baselines},
        }
        results.write_further(run_dir, self.name, document, results.join_examples(examples))

    def _lengths(self) -> list[int]:
        return sorted({*self.lengths, self.dataset.num_frames})

    def _model_with_own_slots(self, model):
        """The model, or one of this test's own with the same weights."""
        if self.model is None:
            return model
        other = self.model()
        other.build_variables(self.dataset.frame_shape)
        other.set_weights(model.get_weights())
        return other

    def _score_model(self, model, condition: str, seed: int) -> dict:
        """Metrics per length and curves over time, both with those of the prior roll-out where it is evaluated."""
        modes = {"": self._scores(0)}
        if self.evaluator.rollout_from is not None:
            modes[ROLLOUT_PREFIX] = self._scores(self.evaluator.rollout_from)
        batches = self.dataset.test_batches(condition, self.evaluator.batch_size)
        with progress.bar(desc=f"{self.name}: {condition}", unit=" batches") as bar:
            self.evaluator.evaluate(
                model,
                batches,
                seed=seed,
                on_batch=lambda done: bar.update(done - bar.n),
                on_clips=lambda prefix, clips: modes[prefix].add(clips),
            )
        per_length = {length: {} for length in map(str, self._lengths())}
        curves = {}
        for prefix, scores in modes.items():
            for length, values in scores.per_length().items():
                per_length[str(length)] |= {prefix + name: value for name, value in values.items()}
            curves |= {prefix + name: values for name, values in scores.over_time.result().items()}
        return {"lengths": per_length, "over_time": curves}

    def _score_baseline(self, baseline) -> dict:
        """Condition -> the same for a baseline, every number under the setting chosen for it; kept for other seeds."""
        if baseline.name not in self._baseline_scores:
            found, size = {}, self.evaluator.batch_size
            for name in progress.bar(self.dataset.test_conditions, desc=baseline.name, unit=" conditions"):
                chosen = baseline.tune(self.dataset.validation_condition_batches(name, size))
                per_length = {
                    str(length): baseline.evaluate(_first_frames(self.dataset.test_batches(name, size), length), chosen)
                    for length in self._lengths()
                }
                counting, tracking = (
                    self._baseline_curves(baseline, name, chosen[objective]) for objective in ("count_error", "mota")
                )
                curves = tracking | {curve: counting[curve] for curve in COUNT_CURVES}
                found[name] = {"lengths": per_length, "over_time": curves}
            self._baseline_scores[baseline.name] = found
        return self._baseline_scores[baseline.name]

    def _baseline_curves(self, baseline, condition: str, setting) -> dict[str, np.ndarray]:
        collected = over_time.OverTime(self.evaluator.scores.matching_iou, self.window)
        for clips in baseline.clips(self.dataset.test_batches(condition, self.evaluator.batch_size), setting):
            collected.add(clips)
        return collected.result()

    def _scores(self, first_frame: int) -> "_Scores":
        return _Scores(self.evaluator.scores, self._lengths(), self.window, first_frame)

    def _example_clips(self, model, condition: str, seed: int) -> dict[str, np.ndarray]:
        first = next(iter(self.dataset.test_batches(condition, self.evaluator.batch_size)))
        arrays = self.evaluator.example_clips(model, first, seed, clips=self.examples)
        for name, value in arrays.items():
            if name == "video" or name.endswith("reconstruction"):  # long clips: a byte is enough for a picture
                arrays[name] = np.rint(255 * np.clip(value, 0, 1)).astype(np.uint8)
        return arrays | {"condition": np.full(len(arrays["video"]), condition)}

    # Not a setting: results of baselines by name, which are the same for every seed.
    _baseline_scores: dict = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)


class _Scores:
    """Takes in tables of clips, scores them after several lengths and frame by frame."""

    def __init__(self, scores: aggregation.ObjectScores, lengths: Sequence[int], window: int, first_frame: int):
        self._first_frame = first_frame
        self._sets = {length: aggregation.SetMetrics(scores) for length in lengths if length > first_frame}
        self.over_time = over_time.OverTime(scores.matching_iou, window, first_frame)

    def add(self, clips) -> None:
        """Take in the tables of one batch."""
        for length, collected in self._sets.items():
            collected.add([clip[: length - self._first_frame] for clip in clips])
        self.over_time.add(clips)

    def per_length(self) -> dict[int, dict[str, float]]:
        """Length -> metric -> value over the first so many frames."""
        return {length: collected.result() for length, collected in self._sets.items()}


def _first_frames(batches, length: int):
    """Batches cut to their first frames."""
    timeless = ("crop_offset",)
    for batch in batches:
        yield {key: value if key in timeless else value[:, :length] for key, value in batch.items()}
