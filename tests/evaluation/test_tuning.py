import dataclasses
import pathlib

import gin
import numpy as np
import pytest

import gin_configs
from silot_tf.errors import UserError
from silot_tf.evaluation import aggregation, tracks
from silot_tf.evaluation.evaluator import Evaluator
from silot_tf.evaluation.tuning import OBJECTIVES, TunedBaseline
from silot_tf.models.baselines.connected_components import ConnectedComponents
from tests.evaluation.scenes import moving_batch, perfect_outputs


@dataclasses.dataclass
class Scripted:
    """A baseline that repeats the truth with faults that depend on the setting."""

    batches: list
    settings: tuple = ("silent", "perfect ids", "crumbs", "good boxes", "also good boxes")
    name: str = "scripted"
    asked: list = dataclasses.field(default_factory=list)

    def scan(self, video):
        (batch,) = (b for b in self.batches if np.array_equal(b["video"][: len(video)], video))
        return ScriptedScan(self, {key: value[: len(video)] for key, value in batch.items()})


@dataclasses.dataclass
class ScriptedScan:
    baseline: Scripted
    batch: dict

    def fingerprint(self, setting):
        return setting.replace("also ", "")

    def outputs(self, setting):
        self.baseline.asked.append((setting, len(self.batch["video"])))
        objects = dict(perfect_outputs(self.batch)["objects"])
        if setting == "silent":
            objects["pres"] = objects["pres"] * 0
        if setting == "perfect ids":  # boxes shifted: enough for MOTA, not for strict AP
            objects["where"] = objects["where"] + np.array([0.03, 0, 0, 0], np.float32)
        if setting == "good boxes":  # exact boxes, new ids in every frame
            frames = np.arange(objects["track_id"].shape[1], dtype=np.int32)
            objects["track_id"] = objects["track_id"] + 10 * frames[None, :, None]
        if setting == "crumbs":
            objects = {key: np.repeat(value, 20, axis=2) for key, value in objects.items()}
        return {"objects": objects}


def data(clips=(2, 2, 1)):
    rng = np.random.default_rng(0)
    return [moving_batch(rng, clips=n, frames=4, objects=3) for n in clips]


def test_each_metric_gets_its_own_best_setting_and_ties_go_to_the_first():
    batches = data()
    chosen = TunedBaseline(Scripted(batches)).tune(batches)
    assert chosen == {"ap": "good boxes", "mota": "perfect ids", "count_error": "perfect ids"}


def test_results_take_every_metric_from_the_setting_chosen_for_it():
    batches = data()
    baseline = TunedBaseline(Scripted(batches))
    chosen = {"ap": "good boxes", "mota": "perfect ids", "count_error": "silent"}
    values = baseline.evaluate(batches, chosen)
    assert values["ap"] == values["ap_90"] == values["pooled_ap"] == 1
    assert values["mota"] == values["pooled_mota"] == values["idf1"] == 1
    assert values["switches"] == 0 and values["clips"] == 5 and values["ground_truth"] == 5 * 4 * 3
    assert values["count_error"] == 3 and values["count_error_relative"] == 1


def test_baseline_has_the_object_metrics_of_the_evaluator():
    batches = data()
    values = TunedBaseline(Scripted(batches)).evaluate(batches, dict.fromkeys(OBJECTIVES, "silent"))
    assert set(values) == set(Evaluator(rollout_from=None).protocol) - {"reconstruction", "mse"}


def test_crowded_settings_are_given_up_after_the_batch_that_shows_it():
    batches = data()
    scripted = Scripted(batches, settings=("crumbs", "silent"))
    chosen = TunedBaseline(scripted, max_objects=40).tune(batches)
    assert chosen["ap"] == "silent"
    assert [setting for setting, _ in scripted.asked] == ["crumbs", "silent", "silent", "silent"]
    # below the limit crumbs have the better precision: one of twenty boxes is right
    assert TunedBaseline(scripted, max_objects=61).tune(batches)["ap"] == "crumbs"
    # when nothing else is left, crowded settings compete among themselves
    assert TunedBaseline(Scripted(batches, settings=("crumbs",)), max_objects=40).tune(batches)["ap"] == "crumbs"


def test_settings_with_equal_outputs_are_computed_once():
    batches = data((2,))
    scripted = Scripted(batches)
    TunedBaseline(scripted).tune(batches)
    assert [setting for setting, _ in scripted.asked] == list(scripted.settings[:-1])


def test_only_the_first_clips_are_used():
    batches = data((2, 2, 1))
    scripted = Scripted(batches, settings=("silent",))
    baseline = TunedBaseline(scripted, tuning_clips=3, test_clips=4)
    chosen = baseline.tune(batches)
    assert [clips for _, clips in scripted.asked] == [2, 1]
    assert baseline.evaluate(batches, chosen)["clips"] == 4


def test_tables_of_a_setting_are_those_it_is_scored_on():
    batches = data((2, 2, 1))
    baseline = TunedBaseline(Scripted(batches), test_clips=3)
    values = baseline.evaluate(batches, dict.fromkeys(OBJECTIVES, "perfect ids"))
    collected = aggregation.SetMetrics()
    for clips in baseline.clips(batches, "perfect ids"):
        collected.add(clips)
    assert collected.result() == values and values["clips"] == 3


def test_tuning_connected_components_agrees_with_trying_every_setting():
    rng = np.random.default_rng(1)
    batches = [moving_batch(rng, clips=3, frames=4, objects=4) for _ in range(2)]
    for batch in batches:  # dim bridges and bright crumbs, so that thresholds matter
        batch["video"] *= rng.uniform(0.3, 1, batch["video"].shape[:4])[..., None].astype(np.float32)
    components = ConnectedComponents(foreground_thresholds=(0.0001, 0.9, 1.2, 2.5))
    chosen = TunedBaseline(components).tune(batches)
    tried = {}
    for setting in components.settings:
        collected = aggregation.SetMetrics()
        for batch in batches:
            collected.add(tracks.clips_from(components.scan(batch["video"]).outputs(setting), batch))
        tried[setting] = collected.result()
    for metric, sign in OBJECTIVES.items():
        best = max(sign * values[metric] for values in tried.values())
        assert sign * tried[chosen[metric]][metric] == best
    assert chosen["ap"].foreground == 0.0001 or len({values["ap"] for values in tried.values()}) > 1


def test_protocol_names_the_numbers_in_force():
    text = TunedBaseline(Scripted(data()), tuning_clips=32, max_objects=20).protocol
    assert "among 5 settings" in text and "the first 32 validation" in text and "all test clips" in text
    assert "20 or more" in text


def test_no_clips_is_an_error_that_says_so():
    baseline = TunedBaseline(Scripted(data()))
    with pytest.raises(UserError, match="no validation clips"):
        baseline.tune([])
    with pytest.raises(UserError, match="no test clips"):
        baseline.evaluate([], dict.fromkeys(OBJECTIVES, "silent"))
    with pytest.raises(UserError, match="tuning_clips"):
        TunedBaseline(Scripted(data()), tuning_clips=0)


def test_base_configuration_gives_the_published_protocol():
    folder = pathlib.Path(next(iter(gin_configs.__path__)))
    gin.clear_config()
    gin.parse_config_file(str(folder / "base" / "evaluation.gin"))
    try:
        evaluator = Evaluator()
        baseline = TunedBaseline()
        assert evaluator.rollout_from == 3 and evaluator.batch_size == 16
        assert baseline.name == "connected_components"
        assert evaluator.protocol == Evaluator(3, 8, 16).protocol
        operative = gin.operative_config_str()
    finally:
        gin.clear_config()
    assert "published_foreground_thresholds.count = 52" in operative


def test_example_clips_are_those_of_the_setting_chosen_for_tracking():
    batches = data((2, 1))
    baseline = TunedBaseline(Scripted(batches))
    chosen = {"ap": "crumbs", "mota": "perfect ids", "count_error": "silent"}
    arrays = baseline.example_clips(batches[0], chosen, clips=1)
    objects = Scripted(batches).scan(batches[0]["video"][:1]).outputs("perfect ids")["objects"]
    assert set(arrays) == {f"baseline_scripted_{name}" for name in ("boxes", "pres", "track_id", "is_new")}
    np.testing.assert_allclose(arrays["baseline_scripted_boxes"], objects["where"], atol=1e-6)
    np.testing.assert_array_equal(arrays["baseline_scripted_pres"], objects["pres"][..., 0])
    for name in ("track_id", "is_new"):
        np.testing.assert_array_equal(arrays[f"baseline_scripted_{name}"], objects[name])
