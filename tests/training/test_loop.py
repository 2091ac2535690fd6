import csv
import json
import os
import signal

import numpy as np
import pytest
import tensorflow as tf

from silot_tf import schedules
from silot_tf.errors import UserError
from silot_tf.ops import importance
from silot_tf.training import restoring
from silot_tf.training.interruption import Interrupted
from silot_tf.training.stages import Score, Stage
from tests.training import fakes

TIMES = ("seconds", "steps_per_second")


def two_stages():
    first = Stage(
        learning_rate=schedules.Linear(0.1, 0.01, 10),
        batch_size=2,
        frames=schedules.FrameCurriculum(every=4, maximum=4),
        gradient_noise=schedules.Exponential(0.01, 0.0, 5, 0.5),
        max_updates=7,
    )
    return [first, Stage(learning_rate=0.02, batch_size=3, frames=3, max_updates=6)]


def rows(path):
    with open(path, newline="") as stream:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(stream)]


def brightness_score(model):
    # anything deterministic that changes with the weights and sometimes gets worse
    logits = np.asarray(model.variables[0])
    return {"level": float(np.sin(40 * logits.sum())), "reconstruction": float(np.square(logits).sum())}


class StopAfter:
    """A data set that asks the process to stop while batch number `index` is fetched."""

    def __init__(self, index, how):
        self.dataset, self.index, self.how = fakes.MemoryDataset(), index, how

    def __getattr__(self, name):
        return getattr(self.dataset, name)

    def training_batches(self, batch_size, *, seed, start_batch=0):
        for number, batch in enumerate(self.dataset.training_batches(batch_size, seed=seed, start_batch=start_batch)):
            if start_batch + number == self.index:
                self.how()
            yield batch


class KilledHere(BaseException):
    pass


def kill():
    raise KilledHere


SETTINGS = {"evaluate": brightness_score, "score": Score({"level": 1.0}), "log_every": 2}


def test_logs_have_one_row_per_cadence_and_stage(tmp_path):
    _, progress = fakes.run_loop(tmp_path, two_stages(), **SETTINGS)
    metrics, evaluations = rows(tmp_path / "metrics.csv"), rows(tmp_path / "evaluations.csv")
    assert [(r["stage"], r["step"], r["global_step"], r["frames"]) for r in metrics] == [
        ("0", "1", "1", "2"), ("0", "2", "2", "2"), ("0", "4", "4", "2"), ("0", "6", "6", "4"), ("0", "7", "7", "4"),
        ("1", "1", "8", "3"), ("1", "2", "9", "3"), ("1", "4", "11", "3"), ("1", "6", "13", "3"),
    ]  # fmt: skip
    assert [(r["stage"], r["step"]) for r in evaluations] == [
        ("0", "0"), ("0", "4"), ("0", "7"), ("1", "0"), ("1", "4"), ("1", "6")
    ]  # fmt: skip
    assert float(metrics[0]["learning_rate"]) == pytest.approx(0.1)
    assert {"loss", "term/reconstruction", "gradient_norm/background", "objects_on", "noise_std"} <= set(metrics[0])
    assert (progress.stage, progress.step, progress.global_step) == (1, 6, 13)
    assert list((tmp_path / "summaries").iterdir())


@pytest.mark.parametrize("stop_at", [0, 1, 3, 5, 6])
def test_a_killed_run_continues_bit_for_bit(tmp_path, stop_at):
    whole, _ = fakes.run_loop(tmp_path / "whole", two_stages(), **SETTINGS)
    with pytest.raises(KilledHere):
        fakes.run_loop(tmp_path / "killed", two_stages(), dataset=StopAfter(stop_at, kill), **SETTINGS)
    model = fakes.build_model(0)
    model, _ = fakes.run_loop(tmp_path / "killed", two_stages(), model=model, **SETTINGS)
    for name in ("metrics.csv", "evaluations.csv"):
        assert rows(tmp_path / "killed" / name) == rows(tmp_path / "whole" / name)
    np.testing.assert_array_equal(np.asarray(model.variables[0]), np.asarray(whole.variables[0]))
    best = [restoring.restore_weights(tmp_path / name, fakes.build_model()) for name in ("whole", "killed")]
    assert best[0] == best[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_finishes_the_update_and_writes_a_checkpoint(tmp_path, number):
    before = signal.getsignal(number)

    def press():
        os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match="stopped at update 2"):
        fakes.run_loop(tmp_path, two_stages(), dataset=StopAfter(1, press), **SETTINGS)
    assert signal.getsignal(number) is before
    assert (tmp_path / "checkpoints" / "update_000000002.json").exists()
    fakes.run_loop(tmp_path, two_stages(), **SETTINGS)
    fakes.run_loop(tmp_path / "whole", two_stages(), **SETTINGS)
    assert rows(tmp_path / "metrics.csv") == rows(tmp_path / "whole" / "metrics.csv")


def test_a_finished_run_stays_as_it_is(tmp_path):
    fakes.run_loop(tmp_path, two_stages(), **SETTINGS)
    before = (tmp_path / "metrics.csv").read_text()
    _, progress = fakes.run_loop(tmp_path, two_stages(), **SETTINGS)
    assert progress.global_step == 13
    assert (tmp_path / "metrics.csv").read_text() == before


def test_the_next_stage_starts_from_the_best_weights_with_a_fresh_optimizer(tmp_path):
    levels = {0: 1.0, 2: 9.0, 4: 3.0}
    seen = {}

    def evaluate(model):
        seen[len(seen)] = np.asarray(model.variables[0]).copy()
        return {"level": levels.get(2 * (len(seen) - 1), 0.0)}

    stages = [Stage(max_updates=count, batch_size=2, frames=2, learning_rate=0.1) for count in (4, 1)]
    settings = {"evaluate": evaluate, "score": Score({"level": 1.0}), "evaluate_every": 2}
    fakes.run_loop(tmp_path, stages, **settings)
    np.testing.assert_array_equal(seen[3], seen[1])  # stage 1 begins where stage 0 was best, at update 2
    assert np.abs(seen[2] - seen[1]).max() > 0.01
    # A first step of Adam from zero moments has the length of the learning rate in every entry.
    np.testing.assert_allclose(np.abs(seen[4] - seen[3]), 0.1, rtol=1e-3)


def test_final_weights_are_the_best_of_the_last_stage_and_overall_of_all(tmp_path):
    scores = iter([0.0, 5.0, 1.0, 2.0])
    stages = [Stage(max_updates=2, patience_start=0, batch_size=2, frames=2, learning_rate=0.1)] * 2
    kept = []

    def evaluate(model):
        kept.append(np.asarray(model.variables[0]).copy())
        return {"level": next(scores)}

    fakes.run_loop(tmp_path, stages, evaluate=evaluate, score=Score({"level": 1.0}), evaluate_every=2)
    for which, index, score in (("final", 3, 2.0), ("overall", 1, 5.0), ("latest", 3, None)):
        model = fakes.build_model(7)
        best = restoring.restore_weights(tmp_path, model, which)
        assert best.score == score
        np.testing.assert_array_equal(np.asarray(model.variables[0]), kept[index])
    with pytest.raises(UserError, match="expected one of final, overall, latest"):
        restoring.restore_weights(tmp_path, model, "newest")


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_the_batch(tmp_path):
    stages = [Stage(max_updates=9, batch_size=2, frames=2)]
    with pytest.raises(UserError, match=r"loss term 'reconstruction' not finite in stage 0, update 5"):
        fakes.run_loop(tmp_path, stages, dataset=fakes.MemoryDataset(poison=5))
    with np.load(tmp_path / "non_finite_update_000000005.npz", allow_pickle=False) as saved:
        assert np.isnan(saved["batch/video"]).sum() == 1
        assert int(saved["step"]) == 5 and np.isnan(saved["value/term/reconstruction"])
    assert [row["global_step"] for row in rows(tmp_path / "metrics.csv")][-1] == "5"
    # The checkpoint from before is still good, and the run stops at the same place again.
    with pytest.raises(UserError, match="update 5"):
        fakes.run_loop(tmp_path, stages, dataset=fakes.MemoryDataset(poison=5))


class Weighing(fakes.BackgroundOnly):
    """Its loss is the bound of three particles, whose weights are what the test says."""

    log_weights = (0.0, -float("inf"), -1.0)

    def loss_terms(self, batch, annealed, *, seed):
        terms, outputs = super().loss_terms(batch, annealed, seed=seed)
        (value,) = terms.values()
        bound = importance.iwae_bound(tf.constant(self.log_weights) - tf.reduce_sum(value))
        return {"negative_bound": -bound + tf.zeros_like(value)}, outputs


@pytest.mark.parametrize("weight", [-np.inf, np.nan])
def test_importance_weights_that_are_all_without_value_stop_the_run_with_the_batch(tmp_path, weight):
    stages = [Stage(max_updates=2, batch_size=2, frames=2)]
    model = Weighing()
    model.build_variables(fakes.FRAME)
    fakes.run_loop(tmp_path / "some", stages, model=model)  # one particle without weight does no harm
    model.log_weights = (weight,) * 3
    with pytest.raises(UserError, match="loss term 'negative_bound' not finite in stage 0, update 0") as caught:
        fakes.run_loop(tmp_path / "all", stages, model=model)
    assert "non_finite_update_000000000.npz" in str(caught.value)
    with np.load(tmp_path / "all" / "non_finite_update_000000000.npz", allow_pickle=False) as saved:
        assert saved["batch/video"].shape[1:] == (fakes.FRAMES, *fakes.FRAME)


@pytest.mark.parametrize(
    ("frames", "updates", "refused"),
    [
        (5, 1, True),
        (4, 1, False),
        (schedules.FrameCurriculum(every=2, start=1, increment=2, maximum=5), 6, True),
        (schedules.FrameCurriculum(every=2, start=1, increment=2, maximum=5), 4, False),  # ends before it gets there
    ],
)
def test_a_curriculum_that_outgrows_the_clips_is_refused_at_once(tmp_path, frames, updates, refused):
    stages = [Stage(max_updates=updates, batch_size=2, frames=frames)]
    if not refused:
        fakes.run_loop(tmp_path, stages)
        return
    with pytest.raises(UserError, match=r"training\.Stage\.frames of stage 0 comes to 5 frames, clips have 4"):
        fakes.run_loop(tmp_path, stages)
    assert not (tmp_path / "metrics.csv").exists()


def test_another_seed_in_the_same_folder_is_refused(tmp_path):
    stages = [Stage(max_updates=1, batch_size=2, frames=2)]
    fakes.run_loop(tmp_path, stages, seed=0)
    with pytest.raises(UserError, match="trained with seed 0, not 1"):
        fakes.run_loop(tmp_path, stages, seed=1)


def test_patience_without_a_score_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"needs TrainingLoop\.score"):
        fakes.run_loop(tmp_path, [Stage(patience=5)])


def test_the_time_limit_ends_the_run_with_an_evaluation(tmp_path):
    stages = [Stage(max_updates=10**6, batch_size=2, frames=2)]
    _, progress = fakes.run_loop(tmp_path, stages, max_hours=0.3 / 3600, evaluate_every=10**6, **{
        "evaluate": brightness_score, "score": Score({"level": 1.0})})  # fmt: skip
    assert 0 < progress.step < 10**5
    assert rows(tmp_path / "evaluations.csv")[-1]["step"] == str(progress.step)


def test_example_clips_are_saved_as_bytes_at_their_cadence(tmp_path):
    def examples(model):
        batch = fakes.batch_number(0, 2, 0)
        return {"video": batch["video"], "reconstruction": batch["video"], "boxes": batch["boxes"]}

    fakes.run_loop(tmp_path, two_stages()[:1], examples=examples, examples_every=4, evaluate=brightness_score)
    paths = sorted(path.name for path in (tmp_path / "examples").iterdir())
    assert paths == ["update_000000000.npz", "update_000000004.npz", "update_000000007.npz"]
    with np.load(tmp_path / "examples" / paths[1], allow_pickle=False) as arrays:
        assert arrays["video"].dtype == np.uint8 and arrays["boxes"].dtype == np.float32
        assert int(arrays["global_step"]) == 4


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    def refuse(*arguments, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(UserError, match=r"cannot write .*No space left on device.*free space"):
        fakes.run_loop(tmp_path, two_stages())


def test_states_in_checkpoints_are_json_that_people_can_read(tmp_path):
    fakes.run_loop(tmp_path, two_stages(), **SETTINGS)
    manifest = json.loads((tmp_path / "checkpoints" / "update_000000013.json").read_text())
    assert manifest["state"]["progress"]["global_step"] == 13
    assert manifest["state"]["seed"] == 0
