import motmetrics
import numpy as np
import pytest
from scipy import optimize

from silot_tf.evaluation import mot
from tests.evaluation.scenes import frame, random_clip, square

A, B = square(0, 0), square(20, 20)


def clip_of(ids_per_frame, boxes=(A, B)):
    """Two well separated objects, always found, with the given ids (None: not found)."""
    clip = []
    for ids in ids_per_frame:
        found = [(box, i) for box, i in zip(boxes, ids, strict=True) if i is not None]
        clip.append(frame([box for box, _ in found], ids=[i for _, i in found], truth=boxes))
    return clip


def counts_by_loops(clip):
    """Specification 6.2 step by step; no forbidden pair, most pairs, then the smallest total distance."""
    last, misses, false_positives, switches = {}, 0, 0, 0
    for f in clip:
        tracked = [p for p in range(len(f.track_id)) if f.track_id[p] >= 0]
        free_truth, free = list(range(len(f.truth_id))), set(tracked)
        allowed = f.overlaps >= 0.5
        for g in list(free_truth):
            for p in tracked:
                if p in free and last.get(f.truth_id[g]) == f.track_id[p] and allowed[p, g]:
                    free_truth.remove(g)
                    free.remove(p)
                    break
        rest = sorted(free)
        cost = np.array([[1 - f.overlaps[p, g] if allowed[p, g] else 1e3 for p in rest] for g in free_truth])
        pairs = zip(*optimize.linear_sum_assignment(cost), strict=True) if cost.size else []
        for row, column in pairs:
            if cost[row, column] < 1e3:
                g, p = free_truth[row], rest[column]
                truth, track = f.truth_id[g], f.track_id[p]
                switches += truth in last and last[truth] != track
                last[truth] = track
                free.remove(p)
                free_truth[row] = None
        misses += sum(g is not None for g in free_truth)
        false_positives += len(free)
    return misses, false_positives, switches


@pytest.mark.parametrize("seed", range(10))
def test_counts_agree_with_the_specification_in_loops(seed):
    rng = np.random.default_rng(seed)
    clips = [random_clip(rng) for _ in range(4)]
    counts = mot.track_counts(clips)
    expected = np.sum([counts_by_loops(clip) for clip in clips], axis=0)
    assert [counts.misses, counts.false_positives, counts.switches] == list(expected)
    assert counts.ground_truth == sum(len(f.truth_id) for clip in clips for f in clip)
    assert counts.switches > 0


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_motmetrics_summaries_clip_by_clip(seed):
    rng = np.random.default_rng(100 + seed)
    clips = [random_clip(rng) for _ in range(3)]
    accumulators = []
    for clip in clips:
        accumulator = motmetrics.MOTAccumulator(auto_id=True)
        for f in clip:
            distance = 1 - f.overlaps.T
            accumulator.update(f.truth_id, f.track_id, np.where(distance <= 0.5, distance, np.nan))
        accumulators.append(accumulator)
    summary = motmetrics.metrics.create().compute_many(
        accumulators, metrics=["mota", "idf1"], names=list("abc"), generate_overall=True
    )
    counts = mot.track_counts(clips)
    assert counts.mota == pytest.approx(summary.loc["OVERALL", "mota"], abs=1e-12)
    assert counts.idf1 == pytest.approx(summary.loc["OVERALL", "idf1"], abs=1e-12)
    singly = sum((mot.track_counts([clip]) for clip in clips), mot.TrackCounts())
    assert singly == counts


def test_perfect_tracks_have_one_and_silence_has_zero():
    perfect = mot.track_counts([clip_of([(0, 1)] * 5)])
    assert perfect.mota == 1 and perfect.idf1 == 1
    silent = mot.track_counts([clip_of([(None, None)] * 5)])
    assert silent.mota == 0 and silent.idf1 == 0 and silent.misses == 10


def test_nothing_to_find_is_perfect_until_something_is_found():
    assert mot.track_counts([[frame()]]).mota == 1
    assert mot.track_counts([[frame([A])]]).mota == 0
    assert mot.track_counts([]).mota == 1


def test_exchanging_ids_costs_two_switches_each_time():
    assert mot.track_counts([clip_of([(0, 1)] * 2 + [(1, 0)] * 3)]).switches == 2
    assert mot.track_counts([clip_of([(0, 1)] * 2 + [(1, 0)] * 3 + [(0, 1)] * 3)]).switches == 4


def test_object_found_again_with_another_id_is_a_switch_however_late():
    gap = [(None, 1)] * 300
    counts = mot.track_counts([clip_of([(0, 1), *gap, (7, 1)])])
    assert counts.switches == 1 and counts.misses == 300
    assert mot.track_counts([clip_of([(0, 1), *gap, (0, 1)])]).switches == 0


def test_pair_at_exactly_one_half_may_match_and_below_may_not():
    half = frame([(0, 10, 0, 5)], truth=[square(0, 0)])
    assert mot.track_counts([[half]]).mota == 1
    less = frame([(0, 10, 0, 4.999)], truth=[square(0, 0)])
    counts = mot.track_counts([[less]])
    assert (counts.misses, counts.false_positives) == (1, 1)


def test_old_pair_is_kept_although_another_prediction_is_nearer():
    near, far = square(0, 0), square(0, 2)
    clip = [frame([far], ids=[5], truth=[near]), frame([near, far], ids=[6, 5], truth=[near])]
    counts = mot.track_counts([clip])
    assert (counts.switches, counts.false_positives, counts.misses) == (0, 1, 0)


def test_untracked_predictions_do_not_count():
    counts = mot.track_counts([[frame([A, B], ids=[0, -1], truth=[A])]])
    assert counts.mota == 1 and counts.hypotheses == 1


def test_mota_may_be_negative():
    assert mot.track_counts([[frame([A, B, square(34, 0)], truth=[square(0, 36)])]]).mota == -3


def test_ids_of_different_clips_are_different():
    clips = [clip_of([(0, 1)] * 2), clip_of([(1, 0)] * 2)]
    counts = mot.track_counts(clips)
    assert counts.switches == 0 and counts.idf1 == 1
