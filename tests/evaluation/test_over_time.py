import numpy as np
import pytest

from silot_tf.evaluation import counting, mot
from silot_tf.evaluation.over_time import OverTime, protocol
from tests.evaluation.scenes import frame, random_clip, square

A, B = square(0, 0), square(20, 20)


def curves(*clips, **options):
    collected = OverTime(**options)
    collected.add(clips)
    return collected.result()


def followed(ids_per_frame, confidence=0.9):
    """Two objects that never move, followed under these ids (None: not found; a tuple: id and presence)."""
    clip = []
    for ids in ids_per_frame:
        found = [
            (box, *(i if isinstance(i, tuple) else (i, confidence)))
            for box, i in zip((A, B), ids, strict=True)
            if i is not None
        ]
        boxes, numbers, presence = ([entry[k] for entry in found] for k in range(3))
        clip.append(frame(boxes, confidence=presence, ids=numbers, truth=(A, B)))
    return clip


def total(values):
    return values["misses"].sum(), values["false_positives"].sum(), values["switches"].sum()


@pytest.mark.parametrize("seed", range(5))
def test_counts_of_all_frames_add_up_to_those_of_whole_clips(seed):
    rng = np.random.default_rng(seed)
    clips = [random_clip(rng, frames=int(rng.integers(3, 12))) for _ in range(6)]
    collected = OverTime()
    collected.add(clips[:4])
    collected.add(clips[4:])
    values, counts = collected.result(), mot.track_counts(clips)
    assert total(values) == (counts.misses, counts.false_positives, counts.switches)
    assert values["ground_truth"].sum() == counts.ground_truth and counts.switches > 0
    weighted = np.average(values["count_error"], weights=values["clips"])
    assert weighted == pytest.approx(counting.metrics(clips)["count_error"])
    appearances = values["ground_truth"]
    assert np.sum(values["mota"] * appearances) / appearances.sum() == pytest.approx(counts.mota)


@pytest.mark.parametrize("length", [1, 4, 9])
def test_the_first_frames_of_clips_are_those_of_shorter_clips(length):
    rng = np.random.default_rng(7)
    clips = [random_clip(rng, frames=12) for _ in range(5)]
    whole, cut = curves(*clips), curves(*(clip[:length] for clip in clips))
    for name, values in cut.items():
        np.testing.assert_allclose(whole[name][:length], values, err_msg=name)
    counts = mot.track_counts([clip[:length] for clip in clips])
    assert total({name: values[:length] for name, values in whole.items()}) == (
        counts.misses, counts.false_positives, counts.switches,
    )  # fmt: skip


def test_known_switches_stand_at_their_frames():
    #                 0       1       2          3       4 both exchanged  5
    clip = followed([(0, 1), (0, 1), (0, None), (0, 5), (5, 0), (5, 0)])
    values = curves(clip)
    np.testing.assert_array_equal(values["switches"], [0, 0, 0, 1, 2, 0])
    np.testing.assert_array_equal(values["misses"], [0, 0, 1, 0, 0, 0])
    np.testing.assert_array_equal(values["switches_per_object"], [0, 0, 0, 0.5, 1.5, 1.5])
    np.testing.assert_allclose(values["mota"], [1, 1, 0.5, 0.5, 0, 1])
    np.testing.assert_allclose(values["first_identity"], [1, 1, 0.5, 0.5, 0, 0])


def test_coming_back_to_the_first_identity_counts_again():
    values = curves(followed([(0, 1), (7, 1), (0, 1)]))
    np.testing.assert_allclose(values["first_identity"], [1, 0.5, 1])
    np.testing.assert_array_equal(values["switches"], [0, 1, 1])


def test_first_identities_of_different_clips_do_not_mix():
    values = curves(followed([(0, 1), (0, 1)]), followed([(1, 0), (1, 0)]))
    np.testing.assert_array_equal(values["first_identity"], [1, 1])
    np.testing.assert_array_equal(values["switches"], [0, 0])
    np.testing.assert_array_equal(values["clips"], [2, 2])


def test_windows_pool_counts_of_the_last_frames():
    clip = followed([(0, 1), (None, None), (0, 1), (0, None), (0, 1)])
    values = curves(clip, window=3)
    np.testing.assert_array_equal(values["misses"], [0, 2, 0, 1, 0])
    np.testing.assert_allclose(values["mota_window"], [1, 1 - 2 / 4, 1 - 2 / 6, 1 - 3 / 6, 1 - 1 / 6])


def test_presence_is_that_of_tracked_objects_and_decays_with_them():
    clip = followed([((0, 1.0), (1, 0.8)), ((0, 0.75), (-1, 0.4)), ((-1, 0.2), (-1, 0.1))])
    values = curves(clip)
    np.testing.assert_allclose(values["presence"], [0.9, 0.75, np.nan])
    np.testing.assert_allclose(values["presence_per_object"], [1.8 / 2, 1.15 / 2, 0.3 / 2])
    np.testing.assert_array_equal(values["tracked"], [2, 1, 0])
    np.testing.assert_array_equal(values["objects"], [2, 1, 0])
    np.testing.assert_array_equal(values["true_objects"], [2, 2, 2])
    np.testing.assert_array_equal(values["count_error"], [0, 1, 2])


def test_objects_count_at_one_half_whatever_the_threshold_of_tracks():
    values = curves(followed([((0, 0.3), (1, 0.6))]))
    assert values["tracked"] == [2] and values["objects"] == [1] and values["count_error"] == [1]


def test_objects_that_come_later_are_counted_from_then_on():
    clip = [frame([A], truth=[A]), frame([A, B], truth=[A, B]), frame([A, B], ids=[0, 9], truth=[A, B])]
    np.testing.assert_allclose(curves(clip)["switches_per_object"], [0, 0, 0.5])


def test_clips_of_different_lengths_count_as_far_as_they_go():
    values = curves(followed([(0, 1)] * 3), followed([(0, 1)]))
    np.testing.assert_array_equal(values["clips"], [2, 1, 1])
    np.testing.assert_array_equal(values["true_objects"], [2, 2, 2])


def test_frames_before_the_first_judged_one_are_empty():
    values = curves(followed([(0, 1), (0, None)]), first_frame=3)
    np.testing.assert_array_equal(values["mota"], [np.nan] * 3 + [1, 0.5])


def test_frames_without_objects_and_without_tracks():
    values = curves([frame(), frame([A])])
    np.testing.assert_array_equal(values["mota"], [1, 0])
    assert np.isnan(values["presence_per_object"]).all()
    assert np.isnan(values["first_identity"]).all() and np.isnan(values["switches_per_object"]).all()
    np.testing.assert_array_equal(values["count_error"], [0, 1])


def test_no_clips_give_empty_curves_with_every_name():
    values = OverTime().result()
    assert all(len(array) == 0 for array in values.values())
    assert set(values) == set(protocol()) == set(curves(followed([(0, 1)])))
