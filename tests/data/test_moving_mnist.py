import gzip
import itertools
import os
import struct

import numpy as np
import pytest

from silot_tf import contracts
from silot_tf.data import accelerated_motion, digit_pictures, digits
from silot_tf.data.digit_pictures import EmbeddedPictures, MnistPictures
from silot_tf.data.moving_mnist import MovingMnist
from silot_tf.errors import UserError

FRAME = (50, 50)


@pytest.fixture(scope="session")
def pictures():
    return EmbeddedPictures()


@pytest.fixture
def make_moving(tmp_path, pictures):
    """A small data set; keyword arguments replace its numbers."""

    def make(**changes):
        arguments = {"train_clips": 23, "validation_clips": 5, "test_clips": 4, "shuffle_buffer": 8}
        arguments |= {"source": pictures, "cache_dir": str(tmp_path / "cache")}
        return MovingMnist(**{**arguments, **changes})

    return make


def as_arrays(batches, count=None):
    return [{key: value.numpy() for key, value in batch.items()} for batch in itertools.islice(batches, count)]


def path_by_the_book(start, motion):
    """Specification 5.1, one axis of one object after the other, as it is written there."""
    result = []
    position, velocity, acceleration = (x.tolist() for x in (start.hidden, start.velocity, start.acceleration))
    for t in range(start.jitter.shape[0]):
        for axis in range(2):
            position[axis] += velocity[axis]
            velocity[axis] += acceleration[axis]
            acceleration[axis] += start.jitter[t, axis]
            bounced = True
            if position[axis] < 0:
                position[axis] = -position[axis]
            elif position[axis] > 50:
                position[axis] = 100 - position[axis]
            else:
                bounced = False
            if bounced:
                velocity[axis], acceleration[axis] = -velocity[axis], -acceleration[axis]
            position[axis] = min(max(position[axis], 0), 50)
            velocity[axis] = min(max(velocity[axis], -motion.speed), motion.speed)
            acceleration[axis] = min(max(acceleration[axis], -motion.acceleration), motion.acceleration)
        if t == 0:
            position = start.first.tolist()
        result.append(list(position))
    return np.array(result)


def one(start, k):
    return accelerated_motion.Start(
        start.first[k], start.hidden[k], start.velocity[k], start.acceleration[k], start.jitter[k]
    )


def test_paths_are_those_of_the_published_generator():
    motion = accelerated_motion.Motion(speed=14.0, acceleration=4.0, jitter=0.5)  # much happens
    generator = np.random.default_rng(0)
    start = accelerated_motion.draw_start(generator, generator.uniform(0, 30, (40, 2)), FRAME, 12, motion)
    positions, velocities = accelerated_motion.paths(start, FRAME, motion)
    assert positions.shape == velocities.shape == (40, 12, 2)
    for k in range(40):
        np.testing.assert_allclose(positions[k], path_by_the_book(one(start, k), motion), atol=1e-9)
    np.testing.assert_array_equal(positions[:, 0], start.first)
    assert positions.min() >= 0 and positions.max() <= 50 and np.abs(velocities).max() <= 14
    assert np.any(np.sign(velocities[:, 1:]) != np.sign(velocities[:, :-1]))


def test_boxes_do_not_intersect_at_first_and_positions_stay_inside(make_moving):
    """Specification 11.15."""
    dataset = make_moving()
    scenes = dataset.scenes("train", (2, 2), 0, 300)
    assert scenes.position.min() >= 0 and scenes.position.max() <= 50
    corner, size = scenes.position[:, :, 0], dataset.source.pool("train").sizes[scenes.kind]
    np.testing.assert_array_equal(corner, np.rint(corner))
    assert np.all(corner + size <= 50)
    low = np.maximum(corner[:, 0], corner[:, 1])
    high = np.minimum(corner[:, 0] + size[:, 0], corner[:, 1] + size[:, 1])
    assert not np.any(np.all(high > low, axis=-1))
    assert np.all(scenes.kind[:, 0] != scenes.kind[:, 1])


def test_pixels_are_the_maximum_of_the_digits_painted_one_by_one(make_moving, pictures):
    dataset = make_moving(num_frames=6)
    scenes, arrays = dataset.scenes("train", (2, 2), 0, 10), dataset.generate("train", (2, 2), 0, 10)
    assert arrays["video"].shape == (10, 6, 50, 50, 1) and arrays["video"].dtype == np.uint8
    pool, overlapping = pictures.pool("train"), 0
    for c, t in np.ndindex(10, 6):
        layers = np.zeros((2, 50, 50), np.uint8)
        for k in range(2):
            y, x = np.rint(scenes.position[c, k, t]).astype(int)
            rows, columns = pool.sizes[scenes.kind[c, k]]
            ink = pool.pictures[scenes.kind[c, k], :rows, :columns]
            part = ink[: max(0, 50 - y), : max(0, 50 - x)]
            layers[k, y : y + rows, x : x + columns] = part
            is_visible = part.size > 0
            assert arrays["valid"][c, t, k] == is_visible
            if is_visible:
                edges = np.array([y, x, min(50, y + rows), min(50, x + columns)])
                centre, size = (edges[:2] + edges[2:]) / 100, (edges[2:] - edges[:2]) / 50
                np.testing.assert_allclose(arrays["boxes"][c, t, k], [*centre, *size], atol=1e-6)
        overlapping += np.any(layers.min(0) > 0)
        np.testing.assert_array_equal(arrays["video"][c, t, :, :, 0], layers.max(0))
    assert overlapping


def test_numbers_of_digits_are_uniform_and_labels_constant(make_moving, pictures):
    dataset = make_moving(num_frames=4)
    arrays = dataset.generate("train", (0, 2), 0, 600)
    exists = arrays["label"] >= 0
    assert np.all(exists == exists[:, :1]) and np.all(arrays["label"] == arrays["label"][:, :1])
    counts = np.bincount(exists[:, 0].sum(-1), minlength=3)
    assert np.abs(counts - 200).max() < 5 * np.sqrt(200)
    assert np.all(exists | ~arrays["valid"])  # what is seen exists; what is outside exists, too
    assert np.any(exists & ~arrays["valid"])
    kind = dataset.scenes("train", (0, 2), 0, 600).kind
    expected = np.where(exists[:, 0], pictures.pool("train").labels[kind], -1)
    np.testing.assert_array_equal(arrays["label"][:, 0], expected)


def test_appearing_digits_exist_from_one_frame_to_another(make_moving):
    arrays = make_moving(appearing=True).generate("train", (2, 2), 0, 300)
    exists = (arrays["label"] >= 0).astype(int)
    changes = np.abs(np.diff(exists, axis=1, prepend=0, append=0)).sum(1)
    np.testing.assert_array_equal(changes, 2)  # one stretch each
    starts = exists.argmax(1)
    assert set(starts.ravel()) == set(range(10)) and abs(starts.mean() - 4.5) < 0.4
    assert len(np.unique(exists.sum(-1))) == 3  # the number changes over time
    hidden = arrays["video"][exists.sum(-1) == 0]
    assert len(hidden) and hidden.max() == 0


def test_same_seed_gives_identical_clips_whatever_the_range(make_moving, monkeypatch):
    whole = make_moving().generate("val", (0, 2), 0, 12)
    monkeypatch.setattr("silot_tf.data.moving_mnist._CLIPS_AT_ONCE", 5)
    parts = [make_moving().generate("val", (0, 2), *span) for span in ((0, 3), (3, 12))]
    for key, value in whole.items():
        np.testing.assert_array_equal(value, np.concatenate([part[key] for part in parts]))
    other = make_moving(seed=1).generate("val", (0, 2), 0, 12)
    assert not np.array_equal(other["video"], whole["video"])


def test_batches_have_one_channel_and_follow_the_contract(make_moving):
    dataset = make_moving()
    assert dataset.frame_shape == dataset.test_frame_shape == (50, 50, 1) and dataset.max_objects == 2
    assert dataset.test_conditions == {"0 digits": 0, "1 digit": 1, "2 digits": 2}
    batches, arrays = as_arrays(dataset.validation_batches(2)), dataset.generate("val", (0, 2), 0, 5)
    for batch in batches:
        contracts.check_batch(batch, annotated=True)
    whole = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    np.testing.assert_array_equal(whole["video"], arrays["video"] / np.float32(255))
    np.testing.assert_array_equal(whole["label"], arrays["label"])
    np.testing.assert_array_equal(whole["present"], arrays["valid"])
    test = as_arrays(dataset.test_batches("1 digit", 4))[0]
    np.testing.assert_array_equal((test["label"] >= 0).sum(-1), 1)
    again = as_arrays(dataset.training_batches(4, seed=3, start_batch=6), 2)
    straight = as_arrays(dataset.training_batches(4, seed=3), 8)[6:]
    for a, b in zip(again, straight, strict=True):
        np.testing.assert_array_equal(a["video"], b["video"])


def test_splits_have_digits_of_their_own(pictures):
    seen = {split: {p.tobytes() for p in pictures.pool(split).pictures} for split in digits.SPLITS}
    assert not seen["train"] & seen["val"] and not seen["train"] & seen["test"] and not seen["val"] & seen["test"]


def test_pictures_are_cut_to_their_ink_and_stretched_in_brightness():
    images = np.zeros((3, 28, 28), np.uint8)
    images[0, 5:9, 7:20] = 51
    images[0, 6, 8] = 102
    images[1, 0, 0] = 255
    cut, sizes = digit_pictures.cut_to_ink(images)
    np.testing.assert_array_equal(sizes, [[4, 13], [1, 1], [0, 0]])
    assert cut[0, 0, 0] == 128 and cut[0, 1, 1] == 255 and cut[0, 4:].max() == 0 and cut[0, :, 13:].max() == 0
    assert cut[1].sum() == 255 and not cut[2].any()
    assert images[0].max() == 102  # untouched


def test_mnist_is_divided_as_in_the_published_experiments(tmp_path):
    """First twelfth of the training file for validation, the test file for tests."""
    rng, written = np.random.default_rng(0), {}
    for part, count in (("train", 24), ("t10k", 5)):
        images = rng.integers(1, 256, (count, 28, 28), dtype=np.uint8)
        images[:, 0, 0], images[:, -1, -1] = 0, 255
        labels = rng.integers(0, 10, count).astype(np.uint8)
        for kind, magic, array in (
            ("images-idx3", (2051, count, 28, 28), images),
            ("labels-idx1", (2049, count), labels),
        ):
            with gzip.open(tmp_path / f"{part}-{kind}-ubyte.gz", "wb") as file:
                file.write(struct.pack(f">{len(magic)}I", *magic) + array.tobytes())
        written[part] = images, labels
    source = MnistPictures(str(tmp_path), verify_content=False)
    for split, part, rows in (
        ("val", "train", slice(2)),
        ("train", "train", slice(2, None)),
        ("test", "t10k", slice(None)),
    ):
        np.testing.assert_array_equal(source.pool(split).pictures, written[part][0][rows])
        np.testing.assert_array_equal(source.pool(split).labels, written[part][1][rows])
    assert source.description() != MnistPictures(str(tmp_path)).description()
    for split in ("train", "test"):
        with pytest.raises(UserError, match=r"data\.MnistPictures\.verify_content"):
            MnistPictures(str(tmp_path)).pool(split)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"frame_shape": (27, 50)}, r"data\.MovingMnist\.frame_shape = \(27, 50\).*28"),
        ({"speed": -1.0}, r"data\.MovingMnist\.speed"),
        ({"num_digits": (2, 1)}, r"data\.MovingMnist\.num_digits"),
        ({"test_digit_counts": ()}, r"data\.MovingMnist\.test_digit_counts"),
        ({"num_frames": 0}, r"data\.MovingMnist\.num_frames"),
    ],
)
def test_bad_numbers_are_refused_by_name(make_moving, changes, complaint):
    with pytest.raises(UserError, match=complaint):
        make_moving(**changes)


def test_too_many_digits_are_an_error(make_moving, monkeypatch):
    monkeypatch.setattr(accelerated_motion, "MAX_RESTARTS", 3)
    with pytest.raises(UserError, match="40 objects"):
        make_moving(num_digits=(40, 40)).generate("train", (40, 40), 0, 1)


@pytest.mark.mnist
@pytest.mark.skipif(not os.environ.get(digits.DATA_DIR_VARIABLE), reason=f"{digits.DATA_DIR_VARIABLE} is not set")
def test_statistics_are_those_of_the_published_data():
    """Specification 5.1, which has them from 3,000 sequences of a re-simulation; here the same number."""
    dataset = MovingMnist()
    pool, scenes = dataset.source.pool("train"), dataset.scenes("train", (0, 2), 0, 3000)
    video = dataset.generate("train", (0, 2), 0, 3000)["video"].astype(np.float32) / 255
    exists = scenes.exists
    count = exists[:, :, 0].sum(1)
    corner = np.rint(scenes.position)
    far = corner + pool.sizes[scenes.kind][:, :, None]
    outside, partly = np.any(corner >= 50, axis=-1), np.any(far > 50, axis=-1)
    assert np.abs(scenes.velocity[exists]).mean() == pytest.approx(6.8, rel=0.05)
    assert outside[exists].mean() == pytest.approx(0.015, abs=0.002)  # rare: its sampling error is larger than 5 %
    assert (partly & ~outside)[exists].mean() == pytest.approx(0.43, rel=0.05)
    two = count == 2
    low = np.maximum(corner[two, 0], corner[two, 1])
    shared = np.all(np.minimum(far[two, 0], far[two, 1]) > low, axis=-1)
    assert shared.mean() == pytest.approx(0.28, rel=0.05)
    energy = np.square(video).sum((2, 3, 4))
    assert energy.mean() == pytest.approx(66.3, rel=0.05)
    for n, expected in ((0, 0), (1, 66), (2, 128)):
        assert energy[count == n].mean() == pytest.approx(expected, rel=0.05)
    assert video.mean() == pytest.approx(0.031, rel=0.05)
    assert video.mean((0, 1)).max() == pytest.approx(0.059, rel=0.1)  # the largest of 2,500 noisy means
    black = 25_000 * 0.2850342 - energy.sum(1) / (2 * 0.09)
    assert black.mean() == pytest.approx(3442, rel=0.05)
