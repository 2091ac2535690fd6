"""Streams from caches of any kind: crops, explicit ids, clips without annotations."""

import itertools

import numpy as np
import pytest

from silot_tf import contracts
from silot_tf.data import pipeline, records
from silot_tf.data.pipeline import Crops
from silot_tf.errors import UserError
from silot_tf.ops import boxes as box_ops

FRAME, CROP, FRAMES, OBJECTS = (23, 31), (9, 12), 3, 4


@pytest.fixture
def make_cache(tmp_path, monkeypatch):
    """`(clips, **fields) -> (cache, arrays)`: a cache in shards of 5 clips of random pictures and integer boxes."""
    monkeypatch.setattr(records, "CLIPS_PER_SHARD", 5)

    def make(clips=12, objects=OBJECTS, track_id=False, frame=FRAME):
        rng = np.random.default_rng(0)
        low = rng.integers(0, np.array(frame) - 2, (clips, FRAMES, objects, 2))
        high = np.minimum(low + rng.integers(1, 12, low.shape), np.array(frame) - 1)
        edges = np.stack([low[..., 0], high[..., 0], low[..., 1], high[..., 1]], -1).astype(float)
        arrays = {
            "video": rng.integers(0, 256, (clips, FRAMES, *frame, 3), dtype=np.uint8),
            "boxes": box_ops.from_edges(edges, frame).astype(np.float32),
            "valid": rng.random((clips, FRAMES, objects)) < 0.8,
        }
        if track_id:
            arrays["track_id"] = rng.integers(0, 99, (clips, FRAMES, objects)).astype(np.int32)
        stored = arrays.copy()
        name = f"test-{clips}-{objects}-{track_id}-{frame[0]}"
        cache = records.load_or_generate(
            tmp_path, name, {}, clips, lambda start, stop: {key: value[start:stop] for key, value in stored.items()}
        )
        return cache, arrays | {"edges": edges}

    return make


def as_arrays(batches, count=None):
    return [{key: value.numpy() for key, value in batch.items()} for batch in itertools.islice(batches, count)]


def joined(batches, count=None):
    batches = as_arrays(batches, count)
    return {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}


def training(cache, batch_size=4, seed=3, start_batch=0, crops=None, shuffle_buffer=6):
    return pipeline.training_stream(
        cache,
        batch_size,
        seed=seed,
        start_batch=start_batch,
        shuffle_buffer=shuffle_buffer,
        max_objects=OBJECTS,
        crops=crops,
    )


def evaluation(cache, batch_size=5, max_objects=OBJECTS, crops=None):
    return pipeline.evaluation_stream(cache, batch_size, max_objects=max_objects, crops=crops)


def crop_by_hand(edges, valid, offset, crop):
    """Edges and validity of one box after cropping, in plain arithmetic (annotation pixels)."""
    top, bottom, left, right = edges
    top, bottom = max(top - offset[0], 0), min(bottom - offset[0], crop[0])
    left, right = max(left - offset[1], 0), min(right - offset[1], crop[1])
    return (top, bottom, left, right), bool(valid and bottom > top and right > left)


def test_crops_are_windows_with_their_annotations(make_cache):
    cache, arrays = make_cache()
    crops = joined(evaluation(cache, crops=Crops(CROP, 3, seed=1)))
    assert crops["video"].shape == (36, FRAMES, *CROP, 3)
    cut = gone = 0
    for i, (y, x) in enumerate(crops["crop_offset"]):
        clip = i // 3
        window = arrays["video"][clip, :, y : y + CROP[0], x : x + CROP[1]] / np.float32(255)
        np.testing.assert_array_equal(crops["video"][i], window)
        for t, n in np.ndindex(FRAMES, OBJECTS):
            edges, valid = arrays["edges"][clip, t, n], arrays["valid"][clip, t, n]
            expected, present = crop_by_hand(edges, valid, (y, x), CROP)
            assert crops["present"][i, t, n] == present
            if present:
                found = box_ops.to_edges(crops["boxes"][i, t, n], CROP)
                np.testing.assert_allclose(found, expected, atol=1e-4)
                cut += np.ptp(expected[:2]) < np.ptp(edges[:2])
            else:
                assert (crops["boxes"][i, t, n] == 0).all()
                gone += valid
    np.testing.assert_array_equal(crops["track_id"], np.where(crops["present"], np.arange(OBJECTS), -1))
    assert cut > 20 and gone > 20


def test_box_that_only_touches_the_crop_is_outside(make_cache):
    """At every offset, with integer edges as connected components give them, in large frames."""
    import tensorflow as tf

    frame, crop = (210, 160), (72, 72)
    offsets = np.stack(np.meshgrid(np.arange(0, 139, 3), np.arange(0, 89, 3), indexing="ij"), -1).reshape(-1, 2)
    y, x = offsets.T.astype(float)
    touching = np.stack(
        [
            np.stack([y - 7, y, x, x + 9], -1),
            np.stack([y + 72, y + 80, x, x + 9], -1),
            np.stack([y, y + 7, x - 9, x], -1),
            np.stack([y, y + 7, x + 72, x + 80], -1),
            np.stack([y - 7, y + 0.5, x, x + 9], -1),  # half a pixel reaches in
            np.stack([y, y + 7, x + 71.5, x + 80], -1),
        ],
        1,
    )
    boxes = box_ops.from_edges(touching, frame).astype(np.float32)[:, None]
    _, present = Crops(crop).cut_boxes(tf.constant(boxes), tf.ones(boxes.shape[:3], tf.bool), offsets, frame)
    np.testing.assert_array_equal(present[:, 0], [[False] * 4 + [True] * 2] * len(offsets))


def test_offsets_are_uniform_over_all_places_and_independent(make_cache):
    cache, _ = make_cache(clips=40)
    crops = Crops((20, 27), 25, seed=0)  # 4 x 5 places
    offsets = joined(evaluation(cache, batch_size=100, crops=crops))["crop_offset"]
    places, counts = np.unique(offsets, axis=0, return_counts=True)
    assert len(places) == 20 and places.min(0).tolist() == [0, 0] and places.max(0).tolist() == [3, 4]
    assert np.abs(counts - 50).max() < 5 * np.sqrt(50)
    assert len(np.unique(offsets.reshape(40, 25, 2), axis=0)) == 40  # every clip has its own
    assert abs(np.corrcoef(offsets[:-1, 0], offsets[1:, 0])[0, 1]) < 0.15


def test_offsets_depend_on_seed_clip_and_crop_number_only(make_cache):
    cache, _ = make_cache()

    def offsets(per_clip, seed, batch_size=5):
        found = joined(evaluation(cache, batch_size, crops=Crops(CROP, per_clip, seed)))["crop_offset"]
        return found.reshape(12, per_clip, 2)

    np.testing.assert_array_equal(offsets(5, 7)[:, :2], offsets(2, 7, batch_size=3))
    assert not np.array_equal(offsets(2, 7), offsets(2, 8))
    assert not np.array_equal(offsets(2, 7), offsets(2, 7 + 2**31))
    import tensorflow as tf

    tf.random.set_seed(5)  # as a training program may do
    np.testing.assert_array_equal(offsets(5, 7)[:, :2], offsets(2, 7))


def test_every_epoch_and_every_order_sees_the_crops_of_evaluation(make_cache):
    cache, _ = make_cache()
    crops = Crops(CROP, 4, seed=2)
    expected = sorted(crop.tobytes() for crop in joined(evaluation(cache, crops=crops))["video"])
    assert len(set(expected)) > 40
    for seed in (3, 4):
        batches = as_arrays(training(cache, 8, seed=seed, crops=crops), 18)  # 6 batches per epoch
        epochs = [[c.tobytes() for b in batches[i : i + 6] for c in b["video"]] for i in (0, 6, 12)]
        assert all(sorted(epoch) == expected for epoch in epochs)
        assert epochs[0] != epochs[1] != epochs[2]


def test_crops_of_a_clip_are_shuffled_like_clips(make_cache):
    cache, arrays = make_cache()
    arrays = arrays["video"] / np.float32(255)
    batches = as_arrays(training(cache, 8, crops=Crops(FRAME, 4), shuffle_buffer=24), 6)  # whole frames: whose is told
    owners = [[int(np.flatnonzero((arrays == clip).all((1, 2, 3, 4)))[0]) for clip in b["video"]] for b in batches]
    assert np.bincount(np.concatenate(owners)).tolist() == [4] * 12
    assert np.mean([len(set(batch)) for batch in owners]) > 3  # two clips a batch without shuffling


@pytest.mark.parametrize("crops", [None, Crops(CROP, 2)], ids=["whole", "crops"])
def test_epochs_of_a_single_shard_differ_in_order_too(make_cache, crops):
    cache, _ = make_cache(clips=5)
    per_epoch = 5 if crops is None else 10
    batches = [batch["video"].tobytes() for batch in as_arrays(training(cache, 1, crops=crops), 4 * per_epoch)]
    epochs = [tuple(batches[i : i + per_epoch]) for i in range(0, len(batches), per_epoch)]
    assert len(set(epochs)) == 4 and len({tuple(sorted(epoch)) for epoch in epochs}) == 1


@pytest.mark.parametrize("start", [1, 5, 6, 11, 13])
@pytest.mark.parametrize("crops", [None, Crops(CROP, 2, seed=9)], ids=["whole", "crops"])
def test_stream_started_late_equals_the_rest_of_an_uninterrupted_one(make_cache, start, crops):
    cache, _ = make_cache()
    whole = as_arrays(training(cache, crops=crops), 16)
    late = as_arrays(training(cache, crops=crops, start_batch=start), 16 - start)
    for a, b in zip(late, whole[start:], strict=True):
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], err_msg=key)


@pytest.mark.parametrize("crops", [None, Crops(CROP, 2)], ids=["whole", "crops"])
def test_records_may_carry_ids_of_their_own(make_cache, crops):
    cache, arrays = make_cache(track_id=True)
    batch = joined(evaluation(cache, max_objects=OBJECTS + 2, crops=crops))
    ids = np.repeat(arrays["track_id"], 1 if crops is None else 2, axis=0)
    present = batch["present"][..., :OBJECTS]
    assert present.any() and not batch["present"][..., OBJECTS:].any() and batch["track_id"].dtype == np.int32
    np.testing.assert_array_equal(batch["track_id"][..., :OBJECTS], np.where(present, ids, -1))
    assert (batch["track_id"][..., OBJECTS:] == -1).all()


@pytest.mark.parametrize("max_objects", [0, 3])
@pytest.mark.parametrize("crops", [None, Crops(CROP, 2)], ids=["whole", "crops"])
def test_clips_without_annotations_are_batches_without_objects(make_cache, crops, max_objects):
    cache, _ = make_cache(objects=0)
    for batch in as_arrays(evaluation(cache, max_objects=max_objects, crops=crops)):
        contracts.check_batch(batch, annotated=True)
        assert batch["boxes"].shape[2:] == (max_objects, 4) and not batch["present"].any()


def test_crops_as_large_as_the_frame_change_nothing(make_cache):
    cache, _ = make_cache()
    plain, crops = joined(evaluation(cache)), joined(evaluation(cache, crops=Crops(FRAME)))
    for key in plain:
        if key == "boxes":
            np.testing.assert_allclose(crops[key][plain["present"]], plain[key][plain["present"]], atol=1e-6)
        else:
            np.testing.assert_array_equal(crops[key], plain[key])


def test_static_shapes_are_known_to_the_graph(make_cache):
    cache, _ = make_cache()
    spec = training(cache, crops=Crops(CROP, 2)).element_spec
    assert spec["video"].shape == (4, FRAMES, *CROP, 3) and spec["crop_offset"].shape == (4, 2)
    assert spec["boxes"].shape == (4, FRAMES, OBJECTS, 4)


def test_crops_larger_than_the_frame_are_an_error(make_cache):
    cache, _ = make_cache()
    for stream in (training, evaluation):
        with pytest.raises(UserError, match="24x12 pixels do not fit into frames of 23x31") as caught:
            stream(cache, crops=Crops((24, 12)))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [(((0, 3),), "shape"), ((5,), "shape"), (((5, 5), 0), "per_clip"), (((5, 5), 1, -1), "seed")],
)
def test_impossible_crops_are_named(arguments, name):
    with pytest.raises(UserError, match=f"Crops.{name} = .*expected"):
        Crops(*arguments)
