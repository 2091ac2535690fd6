import numpy as np
import pytest

from silot_tf.evaluation import detection
from tests.evaluation.scenes import frame, random_clip, square

PERFECT = frame([square(0, 0), square(20, 20)], [0.9, 0.8], truth=[square(0, 0), square(20, 20)])


def average_precision_by_loops(clips, tau):
    """Specification 6.1 word by word, one image and one prediction at a time."""
    pooled, num_truth = [], 0
    for clip in clips:
        for f in clip:
            num_truth += len(f.truth_boxes)
            used = set()
            for p in sorted(range(len(f.confidence)), key=lambda i, f=f: -f.confidence[i]):
                overlaps = [iou_by_hand(f.boxes[p], truth) for truth in f.truth_boxes]
                correct = False
                if overlaps:
                    j = overlaps.index(max(overlaps))
                    correct = overlaps[j] > tau and j not in used
                    if correct:
                        used.add(j)
                pooled.append((f.confidence[p], correct))
    pooled.sort(key=lambda entry: -entry[0])
    hits, curve = 0, []
    for k, (_, correct) in enumerate(pooled, start=1):
        hits += correct
        curve.append((hits / k, hits / num_truth if num_truth else 0.0))
    total = 0.0
    for r in range(11):
        total += max([precision for precision, recall in curve if recall >= r / 10 - 1e-9], default=0.0)
    return total / 11


def iou_by_hand(a, b):
    height = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    width = max(0.0, min(a[3], b[3]) - max(a[2], b[2]))
    union = (a[1] - a[0]) * (a[3] - a[2]) + (b[1] - b[0]) * (b[3] - b[2]) - height * width
    return height * width / union


def ap(*clips, **kwargs):
    return detection.metrics(detection.detections_of(clips), **kwargs)


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_a_loop_over_predictions(seed):
    rng = np.random.default_rng(seed)
    clips = [random_clip(rng) for _ in range(3)]
    values = ap(*clips)
    for tau in range(1, 10):
        expected = average_precision_by_loops(clips, tau / 10)
        assert values[f"ap_{10 * tau}"] == pytest.approx(expected, abs=1e-12)
    assert values["ap"] == pytest.approx(np.mean([values[f"ap_{10 * tau}"] for tau in range(1, 10)]))


def test_perfect_predictions_have_one_and_none_have_zero():
    assert ap([PERFECT])["ap"] == 1
    assert ap([frame(truth=[square(0, 0)])])["ap"] == 0


def test_without_true_boxes_or_frames_the_value_is_zero():
    assert ap([frame([square(0, 0)])])["ap"] == 0
    assert ap([frame()])["ap"] == 0
    assert ap([])["ap"] == 0


def test_false_positive_counts_by_its_confidence():
    boxes, truth = [square(0, 0), square(20, 20), square(34, 0)], PERFECT.truth_boxes
    assert ap([frame(boxes, [0.9, 0.8, 0.1], truth=truth)])["ap"] == 1
    # precision 1/2 up to recall .5 and 2/3 from there: the maximum to the right is 2/3 everywhere
    assert ap([frame(boxes, [0.9, 0.8, 0.95], truth=truth)])["ap"] == pytest.approx(2 / 3)


def test_duplicate_box_is_one_false_positive():
    truth = [square(0, 0), square(20, 20)]
    # order: hit, duplicate, hit: precision 1 up to recall .5 (six recalls), 2/3 beyond (five)
    doubled = frame([truth[0], truth[0], truth[1]], [0.9, 0.8, 0.7], truth=truth)
    assert ap([doubled])["ap"] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_taken_box_is_not_replaced_by_the_second_best():
    # both predictions overlap the first truth most; the second truth stays unfound although it overlaps too
    truth = [square(0, 0), square(0, 4)]
    predicted = [square(0, 0), square(0, 1)]
    values = ap([frame(predicted, [0.9, 0.8], truth=truth)], thresholds=(0.3,))
    assert values["ap"] == pytest.approx(6 / 11)  # recall stops at one half


def test_threshold_is_strict():
    # 10 x 10 against the left half of it: IoU exactly 1/2
    half = frame([(0, 10, 0, 5)], truth=[square(0, 0)])
    values = ap([half])
    assert values["ap_40"] == 1 and values["ap_50"] == 0
    # and 3/10, 6/10, 7/10: fractions that are not dyadic
    for tenths in (3, 6, 7):
        part = ap([frame([(0, 10, 0, tenths)], truth=[square(0, 0)])])
        assert part[f"ap_{10 * tenths}"] == 0 and part[f"ap_{10 * (tenths - 1)}"] == 1


def test_recall_of_exactly_three_tenths_counts():
    truth = [square(0, 12 * i) for i in range(10)]
    values = ap([frame(truth[:3], truth=truth)])
    assert values["ap_50"] == pytest.approx(4 / 11)


def test_merging_batches_equals_one_big_batch():
    rng = np.random.default_rng(0)
    clips = [random_clip(rng) for _ in range(4)]
    parts = detection.merge([detection.detections_of(clips[:1]), detection.detections_of(clips[1:])])
    assert detection.metrics(parts) == ap(*clips)
