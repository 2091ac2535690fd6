"""Further tests of trained weights: what they score and what they write."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from reproduce.experiment import Experiment
from reproduce.further_tests import COUNT_CURVES, FurtherTest
from silot_tf.errors import UserError
from silot_tf.evaluation import over_time, results, tracks
from silot_tf.evaluation.evaluator import Evaluator
from silot_tf.evaluation.over_time import OverTime
from silot_tf.evaluation.tuning import TunedBaseline
from silot_tf.models.baselines.connected_components import ConnectedComponents
from tests.evaluation.fakes import SLOTS, DriftingBoxes, Shaded, corner_batch
from tests.evaluation.scenes import moving_batch

FRAMES, LENGTHS = 7, (2, 5)
WEIGHTS = {"global_step": 12}


class LongClips:
    """Clips in memory, another set for each condition; the first frames of longer clips are those of shorter ones."""

    frame_shape, condition_label = (48, 48, 3), "objects per frame"
    test_conditions = {"3 objects": 3}  # noqa: RUF012

    def __init__(self, num_frames=FRAMES):
        self.num_frames = num_frames

    def test_batches(self, name, size, seed=0):
        for batch in [corner_batch(np.random.default_rng(seed + i), clips, FRAMES) for i, clips in enumerate((2, 1))]:
            yield {key: value[:, : self.num_frames] for key, value in batch.items()}

    def validation_condition_batches(self, name, size):
        return self.test_batches(name, size, seed=9)


def further_test(**settings):
    settings = {"evaluator": Evaluator(rollout_from=None, chunk_frames=3, batch_size=2), "lengths": LENGTHS} | settings
    return FurtherTest(name="longer", dataset=settings.pop("dataset", LongClips()), **settings)


def scores_of(test, tmp_path, seed=0):
    test.run(tmp_path, DriftingBoxes(), seed, WEIGHTS)
    return results.read_further(tmp_path)["longer"]


def without_examples(values):
    return {name: pytest.approx(value, abs=1e-9) for name, value in values.items()}


def test_every_length_is_scored_as_clips_of_that_length_are(tmp_path):
    document = scores_of(further_test(), tmp_path, seed=4)
    scored = document["model"]["3 objects"]["lengths"]
    assert list(scored) == ["2", "5", "7"] and document["lengths"] == [2, 5, 7]
    for length in (*LENGTHS, FRAMES):
        alone = Evaluator(rollout_from=None, batch_size=2).evaluate(
            DriftingBoxes(), LongClips(length).test_batches("", 2), seed=4
        )
        expected = {name: value for name, value in alone.items() if name not in ("reconstruction", "mse")}
        assert scored[str(length)] == without_examples(expected)
    assert scored["2"]["mota"] != scored["7"]["mota"]


def test_curves_are_those_of_the_whole_clips(tmp_path):
    document = scores_of(further_test(window=3), tmp_path, seed=4)
    expected = OverTime(window=3)
    for number, batch in enumerate(LongClips().test_batches("", 2)):
        outputs, _ = DriftingBoxes().unroll(tf.constant(batch["video"]), seed=tf.constant([4, number]))
        expected.add(tracks.clips_from(tf.nest.map_structure(np.asarray, outputs), batch))
    curves = document["model"]["3 objects"]["over_time"]
    for name, values in expected.result().items():
        np.testing.assert_allclose(np.array(curves[name], float), values, atol=1e-6, err_msg=name)
    assert set(curves) == set(over_time.protocol()) <= set(document["protocol"])


def test_roll_outs_are_scored_from_the_switch_on(tmp_path):
    evaluator = Evaluator(rollout_from=3, chunk_frames=3, batch_size=2)
    document = scores_of(further_test(evaluator=evaluator), tmp_path)
    scored = document["model"]["3 objects"]
    assert not [name for name in scored["lengths"]["2"] if name.startswith("rollout_")]
    assert scored["lengths"]["5"]["rollout_ground_truth"] == 3 * 2 * SLOTS
    assert scored["lengths"]["7"]["rollout_ground_truth"] == 3 * 4 * SLOTS
    assert scored["over_time"]["rollout_mota"][:3] == [None] * 3
    assert len(scored["over_time"]["rollout_mota"]) == FRAMES and None not in scored["over_time"]["rollout_mota"][3:]


class MovingSquares(LongClips):
    """Squares that components can find."""

    def test_batches(self, name, size, seed=0):
        yield moving_batch(np.random.default_rng(seed), clips=2, frames=FRAMES, objects=3)


def test_baselines_have_the_same_with_their_tuned_settings_and_are_run_once(tmp_path):
    components = ConnectedComponents(foreground_thresholds=(0.1, 2.9, 3.5))
    baseline = TunedBaseline(components)
    test = further_test(dataset=MovingSquares(), baselines=[baseline])
    found = scores_of(test, tmp_path)["baselines"]["connected_components"]["3 objects"]
    (batch,) = MovingSquares().test_batches("", 2)
    chosen = baseline.tune(MovingSquares().validation_condition_batches("", 2))
    whole = baseline.evaluate([batch], chosen)
    assert found["lengths"]["7"] == without_examples(whole)
    for objective in ("mota", "count_error"):
        collected = OverTime()
        for clips in baseline.clips([batch], chosen[objective]):
            collected.add(clips)
        for name, values in collected.result().items():
            if (name in COUNT_CURVES) == (objective == "count_error"):
                np.testing.assert_allclose(np.array(found["over_time"][name], float), values, err_msg=name)
    baseline.tune = None
    test.run(tmp_path, DriftingBoxes(), 1, WEIGHTS)  # the next seed
    assert results.read_further(tmp_path)["longer"]["baselines"]["connected_components"]["3 objects"] == found


def test_file_says_what_was_tested_and_examples_lie_beside_it(tmp_path):
    test = further_test(title="Longer", description="Words.", trained_frames=2, window=4, examples=1)
    document = scores_of(test, tmp_path)
    said = {"title": "Longer", "description": "Words.", "frames": FRAMES, "trained_frames": 2, "window": 4}
    assert {key: document[key] for key in said} == said and document["weights"] == WEIGHTS
    assert document["conditions"] == {"3 objects": 3} and document["condition_label"] == "objects per frame"
    assert "last 4 frames" in document["protocol"]["mota_window"]
    with np.load(results.further_path(tmp_path, "longer").with_suffix(".npz")) as arrays:
        assert arrays["video"].shape == (1, FRAMES, 48, 48, 3) and arrays["video"].dtype == np.uint8
        assert arrays["reconstruction"].dtype == np.uint8 and list(arrays["condition"]) == ["3 objects"]
    document = scores_of(further_test(examples=0), tmp_path)
    assert not results.further_path(tmp_path, "longer").with_suffix(".npz").exists() and document["title"] == "longer"


def test_examples_hold_sprites_of_models_that_have_them(tmp_path):
    further_test(examples=1).run(tmp_path, Shaded(), 0, WEIGHTS)
    with np.load(results.further_path(tmp_path, "longer").with_suffix(".npz")) as arrays:
        assert arrays["sprites"].shape == (1, FRAMES, SLOTS, 2, 5, 4) and arrays["sprites"].any()


def test_own_model_gets_the_weights():
    class Model:
        def __init__(self, weights=None):
            self.weights, self.built_for = weights, None

        def get_weights(self):
            return self.weights

        def set_weights(self, weights):
            self.weights = weights

        def build_variables(self, frame_shape):
            self.built_for = frame_shape

    trained = Model([np.ones(3)])
    assert further_test()._model_with_own_slots(trained) is trained
    own = further_test(model=Model)._model_with_own_slots(trained)
    assert own is not trained and own.weights is trained.weights and own.built_for == (48, 48, 3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lengths": (2, 8)}, r"lengths has \[8\]; expected 1 to 7"),
        ({"lengths": (0,)}, r"lengths has \[0\]"),
        ({"window": 0}, "window is 0"),
        ({"examples": -1}, "examples is -1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(UserError, match=words):
        further_test(**settings)


def test_names_are_those_of_files_and_different():
    with pytest.raises(UserError, match="'a/b'"):
        dataclasses.replace(further_test(), name="a/b")
    with pytest.raises(UserError, match="longer, longer"):
        Experiment(None, None, None, None, further_tests=[further_test(), further_test()])


def test_every_setting_is_documented():
    for field in dataclasses.fields(FurtherTest):
        if field.init:
            assert f"{field.name}:" in FurtherTest.__doc__, field.name
