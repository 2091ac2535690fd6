import itertools
import pathlib
import subprocess
import sys

import gin
import numpy as np
import pytest

from silot_tf import contracts
from silot_tf.data import digits, records
from silot_tf.data.scattered_mnist import ScatteredMnist
from silot_tf.errors import UserError
from silot_tf.ops import boxes as box_ops

ROOT = pathlib.Path(__file__).parents[2]


def as_arrays(batches, count=None):
    return [{key: value.numpy() for key, value in batch.items()} for batch in itertools.islice(batches, count)]


def assert_equal_batches(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def clip_bytes(batches):
    return [clip.tobytes() for batch in batches for clip in batch["video"]]


def test_same_seed_gives_identical_clips_and_other_seed_others(make_dataset):
    first = make_dataset().generate("train", (1, 3), 0, 6)
    again = make_dataset().generate("train", (1, 3), 0, 6)
    other = make_dataset(seed=1).generate("train", (1, 3), 0, 6)
    for key in first:
        np.testing.assert_array_equal(first[key], again[key])
    assert not np.array_equal(first["video"], other["video"])


def test_clip_does_not_depend_on_the_range_it_is_generated_in(make_dataset):
    dataset = make_dataset()
    whole = dataset.generate("train", (1, 3), 0, 8)
    parts = [dataset.generate("train", (1, 3), *span) for span in ((0, 3), (3, 4), (4, 8))]
    for key in whole:
        np.testing.assert_array_equal(whole[key], np.concatenate([part[key] for part in parts]))


@pytest.mark.parametrize("split", digits.SPLITS)
def test_splits_draw_only_their_own_digits(make_dataset, embedded, split):
    """Every picture of a single digit is one of the pool's masks."""
    arrays = make_dataset(num_frames=1).generate(split, (1, 1), 0, 30)
    own = {mask.tobytes() for mask in embedded.pool(split).masks}
    others = {mask.tobytes() for name in digits.SPLITS if name != split for mask in embedded.pool(name).masks}
    for image in arrays["video"][:, 0, :, :, 0]:
        windows = np.lib.stride_tricks.sliding_window_view(image, (14, 14)).reshape(-1, 14, 14)
        complete = {w.tobytes() for w in windows if w.sum() == image.sum()}
        assert complete & own
        assert not complete & others


def test_annotations_tightly_enclose_a_single_digit(make_dataset):
    arrays = make_dataset(num_frames=6).generate("train", (1, 1), 0, 40)
    edges = box_ops.to_edges(arrays["boxes"][:, :, 0], (30, 36))
    for c, t in np.ndindex(40, 6):
        rows, columns = (np.flatnonzero(arrays["video"][c, t, :, :, 0].any(axis)) for axis in (1, 0))
        expected = [rows[0] - 0.5, rows[-1] + 0.5, columns[0] - 0.5, columns[-1] + 0.5]
        np.testing.assert_allclose(edges[c, t], expected, atol=1e-5)


def test_digits_move_by_their_speed_and_keep_their_row(make_dataset):
    arrays = make_dataset(speed=1.5, num_frames=8).generate("train", (3, 3), 0, 20)
    centres = arrays["boxes"][..., :2] * (30, 36)
    step = np.linalg.norm(np.diff(centres, axis=1), axis=-1)
    assert arrays["valid"].all()
    assert step.max() <= 1.5 + np.sqrt(2)  # positions are cut to whole pixels
    assert abs(step.mean() - 1.5) < 0.4


def test_number_of_digits_is_uniform_over_its_range(make_dataset):
    arrays = make_dataset(num_frames=1).generate("train", (1, 3), 0, 600)
    counts = np.bincount(arrays["valid"][:, 0].sum(-1), minlength=4)
    assert counts[0] == 0 and np.abs(counts[1:] - 200).max() < 5 * np.sqrt(200)
    np.testing.assert_array_equal((arrays["label"] >= 0).sum(-1), arrays["valid"][:, 0].sum(-1))


def test_clips_without_digits_are_black(make_dataset):
    batches = as_arrays(make_dataset(test_digit_counts=(0,)).test_batches("0 digits", 4))
    assert all(batch["video"].max() == 0 and not batch["present"].any() for batch in batches)


def test_batches_follow_the_contract_and_equal_the_generated_clips(make_dataset):
    dataset = make_dataset()
    assert dataset.frame_shape == (30, 36, 3) and dataset.max_objects == 4
    batches = as_arrays(dataset.validation_batches(2))
    assert [len(batch["video"]) for batch in batches] == [2, 2, 1]
    arrays = dataset.generate("val", (1, 3), 0, 5)
    for batch in batches:
        contracts.check_batch(batch, annotated=True)
        assert batch["boxes"].shape[1:] == (3, 4, 4) and batch["boxes"].dtype == np.float32
        assert batch["track_id"].dtype == np.int32 and batch["present"].dtype == bool
        assert batch["frame_mask"].all() and (batch["crop_offset"] == 0).all()
        assert batch["crop_offset"].dtype == np.int32
    whole = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    np.testing.assert_array_equal(whole["video"], np.repeat(arrays["video"] / np.float32(255), 3, -1))
    np.testing.assert_array_equal(whole["boxes"][:, :, :3], arrays["boxes"])
    np.testing.assert_array_equal(whole["present"][:, :, :3], arrays["valid"])
    assert not whole["present"][:, :, 3].any() and (whole["boxes"][:, :, 3] == 0).all()
    np.testing.assert_array_equal(whole["track_id"], np.where(whole["present"], np.arange(4), -1))


def test_ids_are_constant_over_frames(make_dataset):
    batch = as_arrays(make_dataset().validation_batches(5))[0]
    assert (batch["track_id"] == batch["track_id"][:, :1]).all()


def test_test_conditions_have_the_exact_number_of_digits(make_dataset):
    dataset = make_dataset()
    assert dataset.test_conditions == {"1 digit": 1, "4 digits": 4}
    for name, count in dataset.test_conditions.items():
        for batches, clips in (
            (dataset.test_batches(name, 3), dataset.test_clips),
            (dataset.validation_condition_batches(name, 3), dataset.validation_clips),
        ):
            batches = as_arrays(batches)
            assert sum(len(batch["video"]) for batch in batches) == clips
            assert all((batch["present"].sum(-1) == count).all() for batch in batches)
    with pytest.raises(UserError, match="no test condition '2 digits'"):
        dataset.test_batches("2 digits", 3)


def test_validation_and_test_clips_of_the_same_count_differ(make_dataset):
    dataset = make_dataset()
    validation = clip_bytes(as_arrays(dataset.validation_condition_batches("1 digit", 4)))
    assert not set(validation) & set(clip_bytes(as_arrays(dataset.test_batches("1 digit", 4))))


def test_epoch_uses_every_clip_at_most_once_and_epochs_differ_in_order(make_dataset, monkeypatch):
    monkeypatch.setattr(records, "CLIPS_PER_SHARD", 5)
    dataset = make_dataset()
    batches = as_arrays(dataset.training_batches(4, seed=3), 10)  # 23 clips: 5 batches per epoch
    epochs = [clip_bytes(batches[:5]), clip_bytes(batches[5:])]
    generated = {
        clip.tobytes() for clip in np.repeat(dataset.generate("train", (1, 3), 0, 23)["video"] / np.float32(255), 3, -1)
    }
    for epoch in epochs:
        assert len(set(epoch)) == 20 and set(epoch) <= generated
    assert epochs[0] != epochs[1]


def test_training_order_depends_on_the_seed_only(make_dataset):
    import tensorflow as tf

    dataset = make_dataset()
    first = as_arrays(dataset.training_batches(4, seed=3), 7)
    tf.random.set_seed(99)  # as a training program may do
    assert_equal_batches(as_arrays(dataset.training_batches(4, seed=3), 7), first)
    assert clip_bytes(as_arrays(dataset.training_batches(4, seed=4), 7)) != clip_bytes(first)


@pytest.mark.parametrize("start", [1, 4, 5, 7, 13])
def test_stream_started_late_equals_the_rest_of_an_uninterrupted_one(make_dataset, monkeypatch, start):
    monkeypatch.setattr(records, "CLIPS_PER_SHARD", 5)
    dataset = make_dataset()
    whole = as_arrays(dataset.training_batches(4, seed=3), 16)
    assert_equal_batches(as_arrays(dataset.training_batches(4, seed=3, start_batch=start), 16 - start), whole[start:])


def test_prepared_clips_need_no_digits(make_dataset, tmp_path, monkeypatch, write_mnist):
    write_mnist(tmp_path / "mnist")
    source = digits.MnistDigits(data_dir=str(tmp_path), verify_content=True)
    monkeypatch.setitem(digits.MNIST_SHA256, "train", digits.sha256_of(*digits.read_mnist(str(tmp_path))[1:]))
    make_dataset(source=source).prepare()
    gone = digits.MnistDigits(data_dir=str(tmp_path / "gone"))
    make_dataset(source=gone).prepare()
    with pytest.raises(UserError, match="does not exist"):
        make_dataset(source=gone, seed=1).prepare()


def test_prepare_generates_every_split(make_dataset, tmp_path):
    make_dataset().prepare()
    names = sorted(path.name.rsplit("-", 1)[0] for path in (tmp_path / "cache").iterdir())
    assert names == [f"scattered_mnist-{rest}" for rest in ("test-1", "test-4", "train-1-3", "val-1-3")]


def test_damaged_cache_is_a_user_error(make_dataset, tmp_path):
    make_dataset().prepare()
    (path,) = (tmp_path / "cache").glob("scattered_mnist-train-*/clips-00000*")
    path.write_bytes(path.read_bytes()[:-7])
    records._verified.clear()  # as in a new process
    with pytest.raises(UserError, match=r"clips-00000.*delete the folder"):
        make_dataset().prepare()


@pytest.mark.parametrize(
    "name, value",
    [
        ("train_clips", 0),
        ("validation_clips", 0),
        ("test_clips", -1),
        ("train_clips", 1e4),
        ("num_frames", 0),
        ("num_digits", (4, 2)),
        ("num_digits", (0, 0)),
        ("num_digits", 3),
        ("frame_shape", (13, 48)),
        ("frame_shape", (48, 48, 3)),
        ("speed", -1.0),
        ("speed", "fast"),
        ("test_digit_counts", ()),
        ("test_digit_counts", (1, 1)),
        ("test_digit_counts", 3),
        ("shuffle_buffer", 0),
        ("seed", -1),
    ],
)
def test_impossible_number_is_named(make_dataset, name, value):
    with pytest.raises(UserError, match=f"ScatteredMnist.{name} = .*expected"):
        make_dataset(**{name: value})


def test_batch_larger_than_the_training_set_is_an_error(make_dataset):
    with pytest.raises(UserError, match="24 clips cannot be made of 23"):
        make_dataset().training_batches(24, seed=0)
    with pytest.raises(UserError, match="batch_size"):
        make_dataset().validation_batches(0)


def test_importing_and_building_the_dataset_does_not_start_tensorflow():
    code = (
        "import sys; from silot_tf.data.scattered_mnist import ScatteredMnist; ScatteredMnist(); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    "file, source", [("scattered_mnist", "MnistDigits"), ("scattered_digits_embedded", "EmbeddedDigits")]
)
def test_gin_file_builds_the_dataset_of_the_paper(file, source):
    gin.clear_config()
    try:
        with gin.unlock_config():
            gin.add_config_file_search_path(str(ROOT))
            gin.parse_config_file(f"gin_configs/datasets/{file}.gin")
        dataset = gin.get_configurable("data.ScatteredMnist")()
    finally:
        gin.clear_config()
    assert type(dataset.source).__name__ == source
    plain = ScatteredMnist()
    for name in (
        "frame_shape",
        "num_frames",
        "num_digits",
        "speed",
        "train_clips",
        "test_clips",
        "test_conditions",
    ):
        assert getattr(dataset, name) == getattr(plain, name)
