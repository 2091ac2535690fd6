"""Baselines with thresholds, chosen on validation clips separately per metric, then scored on test clips."""

from collections.abc import Iterable, Iterator, Mapping

import gin
import numpy as np

from silot_tf.errors import UserError
from silot_tf.evaluation import aggregation, detection, mot, tracks

#: Metric that is tuned -> sign that makes larger better. Every other metric goes with one of these.
OBJECTIVES = {"ap": 1.0, "mota": 1.0, "count_error": -1.0}


@gin.configurable(module="evaluation")
class TunedBaseline:
    """A baseline whose setting is chosen for every test condition and every metric.

    A setting is left out once a batch of validation clips has `max_objects` objects or more per frame on
    average: such thresholds break objects into crumbs, and matching crumbs takes long. (Only when every
    setting is left out, the scores up to that batch decide.) Test clips are always scored in full.

    Args:
      baseline: has `name`, `settings` (a sequence, earlier ones win ties) and `scan(video)`, which gives an
        object with `fingerprint(setting)` and `outputs(setting)`; see
        `silot_tf.models.baselines.connected_components`.
      tuning_clips: how many validation clips to use per condition, None for all.
      test_clips: how many test clips to use per condition, None for all.
      max_objects: objects per frame, see above.
      detection_thresholds: as in `Evaluator`.
      matching_iou: as in `Evaluator`.

    Source: SILOT specification 6.4.
    """

    def __init__(
        self,
        baseline,
        tuning_clips: int | None = 128,
        test_clips: int | None = None,
        max_objects: float = 40.0,
        detection_thresholds: tuple[float, ...] = detection.DEFAULT_THRESHOLDS,
        matching_iou: float = mot.DEFAULT_IOU,
    ):
        for name, value in (("tuning_clips", tuning_clips), ("test_clips", test_clips)):
            if value is not None and value < 1:
                raise UserError(f"TunedBaseline.{name} is {value}; expected at least 1, or None for all")
        self._baseline = baseline
        self._tuning_clips = tuning_clips
        self._test_clips = test_clips
        self._max_objects = max_objects
        self._scores = aggregation.ObjectScores(tuple(detection_thresholds), matching_iou)

    @property
    def name(self) -> str:
        """How the baseline is called in results."""
        return self._baseline.name

    @property
    def protocol(self) -> str:
        """One paragraph that says how the baseline is tuned and scored, with the numbers in force."""

        def clips(number):
            return "all" if number is None else f"the first {number}"

        return (
            f"Thresholds chosen among {len(self._baseline.settings)} settings for every test condition and "
            f"separately for {', '.join(OBJECTIVES)}, on {clips(self._tuning_clips)} validation clips of the "
            f"condition; settings with {self._max_objects:g} or more objects per frame in a batch left out; "
            f"scored on {clips(self._test_clips)} test clips; the first of equally good settings is taken."
        )

    def tune(self, batches: Iterable[Mapping]) -> dict:
        """Metric (`ap`, `mota`, `count_error`) -> the setting that is best for it on validation clips."""
        settings = self._baseline.settings
        collected = {setting: aggregation.SetMetrics(self._scores) for setting in settings}
        crowded = set()
        for batch in _first_clips(batches, self._tuning_clips):
            trying = [setting for setting in settings if setting not in crowded]
            if not trying:
                break
            for setting, (measured, objects) in self._measure(batch, trying).items():
                collected[setting].include(measured)
                if objects >= self._max_objects:
                    crowded.add(setting)
        results = {setting: metrics.result() for setting, metrics in collected.items()}
        if not any(results.values()):
            raise UserError(
                f"{self.name} got no validation clips to tune its thresholds on; expected at least one batch"
            )
        eligible = [setting for setting in settings if setting not in crowded] or list(settings)
        return {
            metric: max(eligible, key=lambda setting, m=metric, s=sign: s * results[setting][m])
            for metric, sign in OBJECTIVES.items()
        }

    def evaluate(self, batches: Iterable[Mapping], chosen: Mapping) -> dict[str, float]:
        """Metric -> value on test batches, each metric under the setting chosen for it (see `tune`).

        `ap` and its parts go with `ap`; `mota`, `idf1` and the counts of errors with `mota`; both count
        errors with `count_error`. The roll-out has no meaning for a baseline, so there are no such metrics.
        """
        settings = list(dict.fromkeys(chosen[metric] for metric in OBJECTIVES))
        collected = {setting: aggregation.SetMetrics(self._scores) for setting in settings}
        for batch in _first_clips(batches, self._test_clips):
            for setting, (measured, _) in self._measure(batch, settings).items():
                collected[setting].include(measured)
        results = {setting: metrics.result() for setting, metrics in collected.items()}
        if not all(results.values()):
            raise UserError(f"{self.name} got no test clips; expected at least one batch")
        return {name: results[chosen[_objective_of(name)]][name] for name in results[settings[0]]}

    def clips(self, batches: Iterable[Mapping], setting) -> Iterator[list[tracks.Clip]]:
        """Tables of the clips that `evaluate` would score under one setting, batch by batch, for further measures."""
        for batch in _first_clips(batches, self._test_clips):
            yield tracks.clips_from(self._baseline.scan(batch["video"]).outputs(setting), batch)

    def example_clips(self, batch: Mapping, chosen: Mapping, clips: int | None = None) -> dict[str, np.ndarray]:
        """Arrays of the first `clips` clips of a batch under the setting chosen for `mota`, as `results` describes."""
        objects = self._baseline.scan(np.asarray(batch["video"])[:clips]).outputs(chosen["mota"])["objects"]
        arrays = {"boxes": objects["where"].astype(np.float32), "pres": objects["pres"][..., 0].astype(np.float32)}
        arrays |= {name: objects[name] for name in ("track_id", "is_new")}
        return {f"baseline_{self.name}_{name}": value for name, value in arrays.items()}

    def _measure(self, batch: Mapping, settings) -> dict:
        """Setting -> (scores of the batch, objects per frame); equal outputs are scored once."""
        scan = self._baseline.scan(batch["video"])
        by_fingerprint, result = {}, {}
        for setting in settings:
            fingerprint = scan.fingerprint(setting)
            if fingerprint not in by_fingerprint:
                outputs = scan.outputs(setting)
                clips = tracks.clips_from(outputs, batch)
                pres = outputs["objects"]["pres"]
                by_fingerprint[fingerprint] = (
                    aggregation.measure(clips, self._scores),
                    float(np.sum(pres > 0)) / np.prod(pres.shape[:2]),
                )
            result[setting] = by_fingerprint[fingerprint]
        return result


def _objective_of(name: str) -> str:
    """The tuned metric that a metric of the results goes with."""
    name = name.removeprefix("pooled_")
    if name == "ap" or name.startswith("ap_"):
        return "ap"
    return "count_error" if name.startswith("count_error") else "mota"


def _first_clips(batches: Iterable[Mapping], clips: int | None) -> Iterator[dict[str, np.ndarray]]:
    """Batches as NumPy arrays, the first `clips` clips in all; the last batch is cut where needed."""
    left = clips
    for batch in batches:
        arrays = {key: np.asarray(value) for key, value in batch.items()}
        if left is None:
            yield arrays
            continue
        arrays = {key: value[:left] for key, value in arrays.items()}
        left -= len(arrays["video"])
        yield arrays
        if left <= 0:
            return
