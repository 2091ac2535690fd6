import json

import numpy as np
import pytest

from silot_tf import schedules
from silot_tf.errors import UserError
from silot_tf.training import stages

EVERY = 5000


def simulate(settings, score_at):
    """Drive the logic as a training loop does; return (evaluations, final progress of each stage)."""
    progress, finals, log = stages.Progress(), [], []
    for number, stage in enumerate(settings):
        while True:
            if progress.step % EVERY == 0 or stages.stage_is_over(progress, stage):
                progress = stages.Progress.from_json(json.loads(json.dumps(progress.to_json())))
                progress, improved = stages.after_evaluation(progress, stage, score_at(number, progress.step))
                log.append((number, progress.step, improved))
            if stages.stage_is_over(progress, stage):
                break
            jump = EVERY if stage.max_updates is None else min(EVERY, stage.max_updates - progress.step)
            for _ in range(jump):
                progress = stages.after_update(progress)
        finals.append(progress)
        if number + 1 < len(settings):
            progress = stages.next_stage(progress)
    return log, finals


def paper_stages():
    return [
        stages.Stage(patience_start=160_000, patience=30_000),
        stages.Stage(patience_start=1, patience=30_000),
        stages.Stage(patience_start=1, patience=30_000),
    ]


def test_a_score_that_never_improves_gives_the_shortest_paper_run():
    log, finals = simulate(paper_stages(), lambda stage, step: 0.5)
    # 160000 is the first evaluation that counts; 35000 later patience (30000) is exceeded for the first time.
    assert [progress.step for progress in finals] == [195_000, 40_000, 40_000]
    assert [progress.best.step for progress in finals] == [160_000, 5000, 5000]
    assert [entry for entry in log if entry[2]] == [
        (0, 0, True), (0, 160_000, True), (1, 0, True), (1, 5000, True), (2, 0, True), (2, 5000, True)
    ]  # fmt: skip
    assert finals[-1].global_step == 275_000


def test_scores_before_patience_start_do_not_count_even_when_they_are_the_highest():
    _, finals = simulate(paper_stages()[:1], lambda stage, step: 2.0 if step < 160_000 else 0.1)
    assert finals[0].best.step == 160_000 and finals[0].best.score == 0.1


def test_an_improvement_restarts_patience_and_ties_do_not():
    scores = {160_000: 0.3, 175_000: 0.4, 190_000: 0.4, 205_000: 0.5}
    _, finals = simulate(paper_stages()[:1], lambda stage, step: scores.get(step, 0.0))
    assert finals[0].best.step == 205_000
    assert finals[0].step == 240_000


def test_weights_a_stage_starts_from_are_no_candidate_once_it_has_been_evaluated_again():
    # stage 1 is worse than stage 0 throughout: its best is its own, the overall best stays in stage 0
    _, finals = simulate(paper_stages()[:2], lambda stage, step: 1.0 - stage + 1e-9 * min(step, 20_000))
    assert (finals[1].best.stage, finals[1].best.step) == (1, 20_000)
    assert (finals[1].overall.stage, finals[1].overall.step) == (0, 160_000)


def test_nan_scores_are_the_worst_and_can_be_beaten():
    scores = iter([float("nan"), float("nan"), -3.0, float("nan"), float("nan")])
    stage = stages.Stage(patience_start=0, max_updates=4 * EVERY)
    log, finals = simulate([stage], lambda number, step: next(scores))
    assert [improved for _, _, improved in log] == [True, False, True, False, False]
    assert finals[0].best.score == -3.0


def test_a_stage_limited_in_updates_is_evaluated_at_its_end():
    log, finals = simulate([stages.Stage(max_updates=7000)], lambda stage, step: float(step))
    assert [step for _, step, _ in log] == [0, 5000, 7000]
    assert finals[0].best.step == 7000


def test_without_a_score_the_latest_weights_are_the_best():
    _, finals = simulate([stages.Stage(max_updates=7000)], lambda stage, step: None)
    assert finals[0].best.step == finals[0].overall.step == 7000


def test_hand_simulated_table():
    stage = stages.Stage(patience_start=2, patience=2)
    table = [  # step, score, improved, best step, exhausted
        (0, 9.0, True, 0, False),
        (1, 9.0, False, 0, False),
        (2, 1.0, True, 2, False),
        (3, 1.0, False, 2, False),
        (4, 0.5, False, 2, False),
        (5, 0.9, False, 2, True),
    ]
    progress = stages.Progress()
    for step, score, improved, best_step, exhausted in table:
        while progress.step < step:
            progress = stages.after_update(progress)
        progress, found = stages.after_evaluation(progress, stage, score)
        assert (found, progress.best.step, progress.exhausted) == (improved, best_step, exhausted), step


def test_settings_at_a_step_come_from_schedules_and_the_models_defaults():
    stage = stages.Stage(
        learning_rate=schedules.Linear(0.0, 1.0, 10),
        frames=schedules.FrameCurriculum(every=5, maximum=4),
        annealed={"wheels": schedules.Piecewise((5,), (1.0, 0.0))},
        gradient_noise=0.5,
        max_updates=10,
    )
    at = stage.at(5, {"wheels": 0.0, "odds": -4.0})
    assert at == {
        "frames": 4,
        "learning_rate": 0.5,
        "gradient_noise": 0.5,
        "annealed": {"wheels": 0.0, "odds": -4.0},
    }
    with pytest.raises(UserError, match=r"names \['wheel'\]; this model anneals \['wheels'\]"):
        stages.Stage(annealed={"wheel": 1.0}, max_updates=1).at(0, {"wheels": 0.0})


def test_a_stage_that_cannot_end_is_refused():
    with pytest.raises(UserError, match="never end"):
        stages.Stage()


def test_score_is_a_weighted_sum_and_names_missing_metrics():
    score = stages.Score({"mota": 1, "rollout_mota": 2.0})
    np.testing.assert_allclose(score({"mota": 0.5, "rollout_mota": 0.25, "ap": 7}), 1.0)
    with pytest.raises(UserError, match="rollout_mota"):
        score({"mota": 1.0})
