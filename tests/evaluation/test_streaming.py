import gc
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.contracts import OBJECT_KEYS
from silot_tf.errors import UserError
from silot_tf.evaluation.streaming import VideoStream, join
from tests.evaluation.fakes import SLOTS, DriftingBoxes

SEED = (3, 1)


def video(frames, clips=2, side=12, seed=0):
    return np.random.default_rng(seed).random((clips, frames, side, side, 3), np.float32)


def unrolled(clip, **options):
    outputs, _ = DriftingBoxes().unroll(tf.constant(clip), seed=tf.constant(SEED), **options)
    return tf.nest.map_structure(np.asarray, outputs)


def frames_of(clip):
    return (clip[:, t] for t in range(clip.shape[1]))


def assert_same(found, expected):
    tf.nest.assert_same_structure(found, expected)
    for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("chunk_frames", [1, 3, 4, 11, 20])
@pytest.mark.parametrize("rollout_from", [None, 5])
@pytest.mark.parametrize("as_iterator", [False, True])
def test_pieces_join_to_one_unroll_over_the_whole_video(chunk_frames, rollout_from, as_iterator):
    clip = video(11)
    stream = VideoStream(DriftingBoxes(), chunk_frames=chunk_frames, rollout_from=rollout_from, reconstruction=True)
    found = stream.outputs(frames_of(clip) if as_iterator else clip, seed=SEED)
    assert_same(found, unrolled(clip, rollout_from=rollout_from))


@pytest.mark.parametrize(
    ("frames", "as_iterator", "lengths"),
    [
        (9, False, [4, 4, 1]),
        (9, True, [4, 4, 1]),
        (11, True, [4, 4, 1, 1, 1]),
        (8, True, [4, 4]),
        (3, False, [3]),  # known to be short: one call
        (3, True, [1, 1, 1]),
    ],
)
def test_what_remains_at_the_end_goes_through_frame_by_frame(frames, as_iterator, lengths):
    clip = video(frames)
    stream = VideoStream(DriftingBoxes(), chunk_frames=4)
    pieces = stream.chunks(frames_of(clip) if as_iterator else clip, seed=SEED)
    assert [piece["objects"]["where"].shape[1] for piece in pieces] == lengths


def test_videos_of_every_length_need_two_compilations():
    model = DriftingBoxes()
    stream = VideoStream(model, chunk_frames=3)
    for frames in (3, 4, 5, 7, 100):
        stream.outputs(frames_of(video(frames)), seed=SEED)
    assert model.traces == 2


def test_only_what_is_asked_for_is_returned():
    (piece,) = VideoStream(DriftingBoxes()).chunks(video(2), seed=SEED)
    assert set(piece) == {"objects"} and set(piece["objects"]) == set(OBJECT_KEYS)
    assert all(isinstance(array, np.ndarray) for array in piece["objects"].values())
    assert piece["objects"]["where"].shape == (2, 2, SLOTS, 4) and piece["objects"]["is_new"].dtype == bool
    few = VideoStream(DriftingBoxes(), reconstruction=True, object_keys=("pres", "where"))
    (piece,) = few.chunks(video(2), seed=SEED)
    assert set(piece) == {"objects", "reconstruction"} and set(piece["objects"]) == {"pres", "where"}


def test_bytes_are_frames_of_255_levels():
    levels = np.random.default_rng(0).integers(0, 256, (1, 5, 12, 12, 3), np.uint8)
    stream = VideoStream(DriftingBoxes(), chunk_frames=2, reconstruction=True)
    assert_same(stream.outputs(levels, seed=SEED), unrolled(levels.astype(np.float32) / 255))


def test_crop_offset_reaches_the_first_state():
    clip, offset = video(3), np.array([[10, 0], [0, 0]], np.int32)
    plain = VideoStream(DriftingBoxes()).outputs(clip, seed=SEED)["objects"]["where"]
    moved = VideoStream(DriftingBoxes()).outputs(clip, seed=SEED, crop_offset=offset)["objects"]["where"]
    np.testing.assert_allclose(moved[0, ..., 0], plain[0, ..., 0] + 0.1, atol=1e-6)
    np.testing.assert_allclose(moved[1], plain[1], atol=1e-6)


def test_models_that_need_the_future_get_the_whole_video():
    model = DriftingBoxes()
    model.causal = False
    for source in (video(5), frames_of(video(5))):
        (piece,) = VideoStream(model, chunk_frames=2).chunks(source, seed=SEED)
        assert piece["objects"]["where"].shape[1] == 5


def test_memory_does_not_grow_with_the_length_of_the_video():
    stream = VideoStream(DriftingBoxes(), chunk_frames=4, reconstruction=True)
    frame = np.ones((1, 64, 64, 3), np.float32)

    def peak(frames):
        gc.collect()
        tracemalloc.start()
        for _ in stream.chunks((frame * 0.5 for _ in range(frames)), seed=SEED):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(9)  # compiles both lengths
    short, long = peak(12), peak(240)
    assert long < short + frame.nbytes  # 228 frames more; all of them kept would be 228 times that


def test_frames_are_read_only_as_they_are_needed():
    read = []

    def frames():
        for t in range(8):
            read.append(t)
            yield np.zeros((1, 12, 12, 3), np.float32)

    pieces = VideoStream(DriftingBoxes(), chunk_frames=2).chunks(frames(), seed=SEED)
    next(pieces)
    assert read == [0, 1]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ([], "no frames"),
        (video(0), "no frames"),
        (np.zeros((2, 12, 12, 3), np.float32), r"\(2, 12, 12, 3\)"),
        ([np.zeros((12, 12, 3), np.float32)], r"frame 0 of the video is \(12, 12, 3\)"),
        ([np.zeros((1, 12, 12, 3)), np.zeros((1, 9, 12, 3))], r"frame 1 of the video is \(1, 9, 12, 3\)"),
    ],
)
def test_videos_that_are_none_are_refused(source, words):
    with pytest.raises(UserError, match=words):
        list(VideoStream(DriftingBoxes()).chunks(source, seed=SEED))


def test_chunks_have_at_least_one_frame():
    with pytest.raises(UserError, match="chunk_frames is 0"):
        VideoStream(DriftingBoxes(), chunk_frames=0)


def test_joining_keeps_order():
    parts = [{"objects": {"pres": np.full((1, n, 2), float(n))}} for n in (1, 3)]
    np.testing.assert_array_equal(join(parts)["objects"]["pres"][0, :, 0], [1, 3, 3, 3])
