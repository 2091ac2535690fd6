"""Adding labels up from features: files, targets, and a classifier that learns what can be learnt."""

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.evaluation import features, label_sums
from silot_tf.evaluation.label_sums import LabelSums

CLASSES = 4


class Codes:
    """Knows of a frame what its pixels say: first half of the features one digit, second half the other."""

    is_told_count = False

    def __init__(self, informative=True):
        self.informative = informative

    def unroll(self, video, state=None, *, seed):
        flat = tf.reshape(video, [-1, video.shape[1], 2 * CLASSES])
        return {"features": flat if self.informative else tf.zeros_like(flat) + flat[:, :, :1] * 0.0}, state


class Clips:
    """Two labels of 0 to 3 in every frame, or none (-1), told by the pixels."""

    def __init__(self, train=40, validation=10):
        self.sizes, self.read = {"train": train, "validation": validation}, []

    def batch(self, clips, seed):
        random = np.random.default_rng(seed)
        label = random.integers(-1, CLASSES, (clips, 3, 2)).astype(np.int32)
        video = np.zeros((clips, 3, 2, CLASSES, 1), np.float32)
        for index in np.ndindex(label.shape):
            if label[index] >= 0:
                video[(*index, label[index], 0)] = 1
        return {"video": video, "frame_mask": np.ones((clips, 3), bool), "label": label}

    def training_batches(self, batch_size, *, seed, start_batch=0):
        self.read.append("train")
        return (self.batch(batch_size, (1, n)) for n in range(10**6))

    def validation_batches(self, batch_size):
        self.read.append("validation")
        return [self.batch(batch_size, (2, n)) for n in range(3)]


def measure(**settings):
    common = {"hidden": (32, 32), "largest_sum": 6, "training_clips": 300, "clips_per_batch": 50}
    return LabelSums(**common | {"frames_per_update": 32, "patience": 5, "most_passes": 40} | settings)


def test_separable_sums_are_learnt_and_others_are_not(tmp_path):
    data = Clips()
    for informative in (True, False):
        subject, model = measure(), Codes(informative)
        subject.fit(model, data, seed=0, folder=tmp_path / str(informative), identity={})
        found = subject.evaluate(model, [data.batch(200, 3)], seed=0)["addition_accuracy"]
        assert found > 0.98 if informative else found < 0.4, (informative, found)


def test_features_are_written_once_for_the_weights_they_belong_to(tmp_path):
    data, model = Clips(), Codes()
    for identity, reads in (({"w": 1}, 2), ({"w": 1}, 2), ({"w": 2}, 4)):
        measure(most_passes=1).fit(model, data, seed=0, folder=tmp_path, identity=identity)
        assert len(data.read) == reads
    stored = np.load(tmp_path / "training_features.npy")
    targets = np.load(tmp_path / "training_targets.npy")
    assert stored.shape == (900, 2 * CLASSES) and stored.dtype == np.float32 and targets.shape == (900,)
    np.testing.assert_array_equal(stored @ np.tile(np.arange(CLASSES), 2), targets)  # rows stay together
    assert not list(tmp_path.glob("*.unfinished")) + list(tmp_path.glob("*.whole"))


def test_frames_that_do_not_count_are_left_out_and_empty_ones_have_the_sum_zero(tmp_path):
    batch = Clips().batch(2, 0)
    batch["label"][0, 0] = -1
    batch["frame_mask"][1, 2] = False
    subject = measure()
    assert subject.sums(batch)[0, 0] == 0
    ((_, wanted),) = features.read_batches(features.reader(Codes()), [batch], subject.sums, seed=0)
    assert wanted[1, 2] == features.NO_TARGET and (wanted >= 0).sum() == 5
    stored = features.FeatureFiles(tmp_path, {})
    rows, _ = stored.get("some", lambda: features.read_batches(features.reader(Codes()), [batch], subject.sums, seed=0))
    assert len(rows) == 5


def test_a_model_without_features_gives_presence_times_appearance():
    class Slots(Codes):
        def unroll(self, video, state=None, *, seed):
            pres = tf.constant([1.0, 0.0])[None, None, :, None] + tf.zeros([video.shape[0], 3, 1, 1])
            return {"objects": {"pres": pres, "what": tf.ones_like(pres) * [[[[2.0, 3.0]]]]}}, state

    found = features.reader(Slots())(tf.zeros([4, 3, 2, CLASSES, 1]), tf.constant([0, 0]), tf.zeros(4, tf.int32))
    np.testing.assert_array_equal(found, np.tile([2.0, 3.0, 0.0, 0.0], (4, 3, 1)))


def test_training_ends_when_validation_accuracy_stands_still_and_keeps_the_best_weights(monkeypatch):
    random = np.random.default_rng(0)
    noise, targets = random.normal(size=(64, 3)).astype(np.float32), random.integers(0, 3, 64).astype(np.int32)
    subject, told = measure(largest_sum=2, patience=3, most_passes=1000), []
    monkeypatch.setattr(label_sums.logging, "info", lambda text, *numbers: told.append(numbers))
    classifier = subject.train((noise, targets), (noise[::-1].copy(), targets), seed=0)
    ((best, passes),) = told
    assert passes < 300
    accuracy = np.mean(np.argmax(classifier(noise[::-1].copy()), axis=-1) == targets)
    assert accuracy == pytest.approx(best, abs=1e-6)


def test_bad_input_is_told_by_name():
    batch = Clips().batch(2, 0)
    batch["label"][:] = 9
    with pytest.raises(UserError, match=r"LabelSums\.largest_sum is 6, labels of a frame add up to 18"):
        measure().sums(batch)
    with pytest.raises(UserError, match="needs clips with labels"):
        measure().sums({"video": None})
    with pytest.raises(UserError, match=r"evaluation\.LabelSums\.patience is 0"):
        LabelSums(patience=0)
    with pytest.raises(UserError, match="cannot be measured during training"):
        measure().evaluate(Codes(), [], seed=0)
