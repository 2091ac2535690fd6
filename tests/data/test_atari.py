"""Clips of recorded episodes: where they come from, what is cached, what is refused."""

import itertools
import subprocess
import sys

import gin
import numpy as np
import pytest

from silot_tf import contracts
from silot_tf.data import records, rollouts
from silot_tf.data.atari import AtariClips
from silot_tf.data.colour_components import label_frames
from silot_tf.data.rollout_folder import RolloutFolder
from silot_tf.errors import UserError
from silot_tf.ops import boxes as box_ops
from tests.data.test_scattered_mnist import ROOT, as_arrays, assert_equal_batches, clip_bytes

SIZE = (30, 24)
LENGTHS = (20, 26, 23, 22, 28)


def film(episode: int, frames: int) -> np.ndarray:
    """A red and a green square that move, on rows that tell the episode; every frame is unlike all others."""
    video = np.zeros((frames, *SIZE, 3), np.uint8)
    for t in range(frames):
        video[t, 3 + episode : 7 + episode, t % 20 : t % 20 + 4] = (200, 10, 10)
        video[t, 15 + t % 9 : 18 + t % 9, 2 * episode : 2 * episode + 3] = (10, 200, 10)
        video[t, 28, :6] = (np.unpackbits(np.uint8([t]))[2:, None] * np.uint8([1, 2, 3])) + np.uint8([9, 9, 9])
    return video


class Films:
    """Stands for recorded episodes."""

    game = "SpaceInvaders"
    frame_shape = (*SIZE, 3)
    lengths = LENGTHS
    num_episodes = len(LENGTHS)

    def __init__(self):
        self.opened = 0

    def open(self):
        self.opened += 1
        return self

    def frames(self, episode, start=0, stop=None):
        return film(episode, self.lengths[episode])[start:stop]

    def description(self):
        return {"game": self.game, "lengths": list(self.lengths), "labels": None}


@pytest.fixture
def make_dataset(tmp_path):
    def make(source=None, **changes):
        arguments = {
            "recorded_size": SIZE,
            "num_frames": 4,
            "crop_shape": (12, 10),
            "crops_per_clip": 3,
            "held_out_density": 0.3,
            "held_out": 1,
            "max_objects": 12,
            "cache_dir": str(tmp_path / "cache"),
            "shuffle_buffer": 16,
        }
        return AtariClips(Films() if source is None else source, **{**arguments, **changes})

    return make


def test_clips_are_successive_frames_of_the_episodes_of_their_split(make_dataset):
    dataset = make_dataset(rows=(2, 29), columns=(0, 20), crop_shape=None)
    for split in ("train", "val", "test"):
        windows = dataset.windows(split)
        arrays = dataset.generate(split, 0, len(windows))
        assert set(windows[:, 0]) == set(dataset.episodes(split))
        for (episode, start), video in zip(windows, arrays["video"], strict=True):
            np.testing.assert_array_equal(video, film(episode, LENGTHS[episode])[start : start + 4, 2:29, :20])


def test_no_frame_is_in_two_splits(make_dataset):
    dataset = make_dataset(crop_shape=None)
    seen = [
        {frame.tobytes() for frame in dataset.generate(split, 0, 1000)["video"].reshape(-1, *SIZE, 3)}
        for split in ("train", "val", "test")
    ]
    assert not any(a & b for a, b in itertools.combinations(seen, 2))


def test_whole_frames_carry_the_labels_of_the_kept_part(make_dataset):
    dataset = make_dataset(rows=(0, 17))
    (batch,) = as_arrays(dataset.test_batches("whole frames", 100))
    contracts.check_batch(batch, annotated=True)
    assert batch["boxes"].shape[1:] == (4, 12, 4) and batch["video"].shape[2:] == (17, 24, 3)
    assert not batch["crop_offset"].any()
    videos = (batch["video"] * 255).round().astype(np.uint8)
    for b, video in enumerate(videos):
        expected = label_frames(video)
        count = expected["valid"].shape[1]
        np.testing.assert_array_equal(batch["present"][b, :, :count], expected["valid"])
        assert not batch["present"][b, :, count:].any()
        np.testing.assert_array_equal(batch["track_id"][b, :, :count], expected["track_id"])
        edges = box_ops.to_edges(batch["boxes"][b, :, :count], (17, 24))
        np.testing.assert_allclose(edges[expected["valid"]], expected["boxes"][expected["valid"]], atol=1e-4)
    assert batch["present"].sum() > 20 and batch["track_id"].max() >= 1


def test_training_crops_have_no_annotations_and_come_from_their_place(make_dataset):
    dataset = make_dataset()
    assert dataset.frame_shape == (12, 10, 3)
    sources = {}
    for video in dataset.generate("train", 0, 1000)["video"]:
        for top, left in np.ndindex(SIZE[0] - 11, SIZE[1] - 9):
            sources.setdefault(video[:, top : top + 12, left : left + 10].tobytes(), set()).add((top, left))
    for batch in as_arrays(dataset.training_batches(6, seed=0), 4):
        contracts.check_batch(batch, annotated=True)
        assert batch["video"].shape == (6, 4, 12, 10, 3) and batch["boxes"].shape == (6, 4, 0, 4)
        videos = (batch["video"] * 255).round().astype(np.uint8)
        for video, offset in zip(videos, batch["crop_offset"], strict=True):
            assert tuple(offset) in sources[video.tobytes()]


def test_validation_crops_are_annotated_inside_the_crop(make_dataset):
    dataset = make_dataset()
    batches = as_arrays(dataset.validation_batches(5))
    crops = sum(len(batch["video"]) for batch in batches)
    assert crops == 3 * len(dataset.windows("val"))
    present = np.concatenate([batch["present"].reshape(-1, 12) for batch in batches])
    edges = np.concatenate([box_ops.to_edges(batch["boxes"], (12, 10)).reshape(-1, 12, 4) for batch in batches])
    assert 0 < present.mean() < 1
    assert edges[present].min() >= -1e-4
    assert edges[present][:, 1].max() <= 12 + 1e-4 and edges[present][:, 3].max() <= 10 + 1e-4
    whole = as_arrays(dataset.validation_condition_batches("whole frames", 5))
    assert sum(len(batch["video"]) for batch in whole) == crops // 3 and whole[0]["video"].shape[2:4] == SIZE


def test_limits_on_clips_hold_and_fewer_are_no_error(make_dataset):
    few = make_dataset(train_clips=5, validation_clips=2, test_clips=3)
    assert [len(few.windows(split)) for split in ("train", "val", "test")] == [5, 2, 3]
    all_of_them = make_dataset()
    for split, density in (("train", 0.5), ("val", 0.3), ("test", 0.3)):
        expected = sum(int(np.ceil(density * (LENGTHS[e] - 3))) for e in all_of_them.episodes(split))
        assert len(all_of_them.windows(split)) == expected


def test_cached_clips_do_not_depend_on_the_size_of_shards(make_dataset, tmp_path, monkeypatch):
    first = as_arrays(make_dataset(crop_shape=None).training_batches(4, seed=1), 3)
    clips = set(clip_bytes(as_arrays(make_dataset(crop_shape=None).test_batches("whole frames", 3))))
    monkeypatch.setattr("silot_tf.data.atari.CLIPS_PER_SHARD", 3)
    other = make_dataset(crop_shape=None, cache_dir=str(tmp_path / "other"))
    assert set(clip_bytes(as_arrays(other.test_batches("whole frames", 3)))) == clips
    assert len(other._caches["test"].files) > 1
    again = make_dataset(crop_shape=None)
    assert_equal_batches(as_arrays(again.training_batches(4, seed=1), 3), first)


def test_stream_started_late_equals_the_rest_of_an_uninterrupted_one(make_dataset):
    dataset = make_dataset(train_clips=7)
    whole = as_arrays(dataset.training_batches(4, seed=3), 12)  # 21 crops: 5 batches per epoch
    assert_equal_batches(as_arrays(dataset.training_batches(4, seed=3, start_batch=6), 6), whole[6:])


def test_prepare_makes_every_split_once_and_opens_the_episodes_once(make_dataset, tmp_path):
    source = Films()
    dataset = make_dataset(source)
    dataset.prepare()
    dataset.prepare()
    names = sorted(path.name.rsplit("-", 1)[0] for path in (tmp_path / "cache").iterdir())
    assert names == [f"atari-spaceinvaders-{split}" for split in ("test", "train", "val")]
    assert source.opened == 1


def test_building_opens_nothing(make_dataset):
    source = Films()
    dataset = make_dataset(source, condition=("Space Invaders", 3))
    assert dataset.frame_shape and dataset.num_frames and dataset.condition_label
    assert dataset.test_conditions == {"Space Invaders": 3} and source.opened == 0


def test_other_episodes_or_numbers_do_not_take_the_same_cache(make_dataset):
    folder = lambda **changes: make_dataset(**changes)._cache("test").folder  # noqa: E731
    longer = Films()
    longer.lengths = (*LENGTHS[:4], 29)
    folders = [
        folder(),
        folder(source=longer),
        folder(rows=(0, 29)),
        folder(seed=1),
        folder(held_out_density=0.2),
        folder(ignored_colours=((10, 200, 10),)),
        folder(split="last"),
    ]
    assert len(set(folders)) == len(folders)
    assert folder(crops_per_clip=2, shuffle_buffer=3, train_clips=3) == folders[0]


def test_ignored_colours_have_no_boxes(make_dataset):
    def objects(*ignored):
        return make_dataset(ignored_colours=ignored).generate("test", 0, 9)["valid"].sum()

    assert objects((10, 200, 10), (200, 10, 10)) < objects((10, 200, 10)) < objects()


def test_recorded_folder_is_read(make_dataset, tmp_path):
    entries = []
    for i, n in enumerate(LENGTHS):
        steps = {"actions": np.zeros(n, int), "rewards": np.zeros(n)}
        entries.append(rollouts.write_episode(tmp_path / f"{i}.npz", film(i, n), **steps, notes={"episode": i}))
    about = {"game": "SpaceInvaders", "frame_shape": (*SIZE, 3), "source": {}, "labels": None}
    rollouts.write_manifest(tmp_path, **about, episodes=entries, requested=len(entries), command=None)
    dataset = make_dataset(RolloutFolder(str(tmp_path), game="space_invaders"))
    expected = make_dataset().generate("val", 0, 5)
    for key, value in dataset.generate("val", 0, 5).items():
        np.testing.assert_array_equal(value, expected[key])
    assert as_arrays(dataset.test_batches("whole frames", 2))
    (tmp_path / "1.npz").write_bytes(b"")
    rollouts._verified.clear()  # as in a new process
    with pytest.raises(UserError, match=r"1\.npz"):
        RolloutFolder(str(tmp_path)).open()


def test_missing_folder_says_how_to_record(make_dataset, tmp_path):
    with pytest.raises(UserError, match=r"python -m atari_data\.collect"):
        make_dataset(RolloutFolder(str(tmp_path / "nothing"))).prepare()


def test_frames_of_another_size_are_refused_with_what_to_bind(make_dataset):
    with pytest.raises(UserError, match=r"frames of 30x24 pixels.*recorded_size says 210x160; bind \(30, 24\)"):
        make_dataset(recorded_size=(210, 160)).prepare()


def test_too_few_episodes_and_too_short_ones_are_refused(make_dataset):
    with pytest.raises(UserError, match="5 episodes are too few"):
        make_dataset(held_out=3).prepare()
    with pytest.raises(UserError, match="hold no clip of 40 frames"):
        make_dataset(num_frames=40).prepare()


def test_more_objects_than_rows_are_refused_with_the_place(make_dataset, tmp_path):
    place = r"SpaceInvaders, episode \d, frames from \d+ on: \d+ labelled objects.*max_objects"
    with pytest.raises(UserError, match=place):
        make_dataset(max_objects=2).prepare()
    assert not list((tmp_path / "cache").glob("*partial*"))


def test_unknown_condition_is_refused(make_dataset):
    with pytest.raises(UserError, match="no test condition 'x'; there is only whole frames"):
        make_dataset().test_batches("x", 3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("recorded_size", (30,)),
        ("rows", (4, 31)),
        ("rows", (5, 5)),
        ("columns", (-1, 4)),
        ("num_frames", 0),
        ("crop_shape", (31, 10)),
        ("crop_shape", 12),
        ("crops_per_clip", 0),
        ("train_density", 0),
        ("held_out_density", 1.5),
        ("train_clips", 0),
        ("validation_clips", 1.5),
        ("test_clips", -1),
        ("split", "first"),
        ("held_out", 0),
        ("held_out", 0.5),
        ("max_objects", 0),
        ("ignored_colours", ((1, 2),)),
        ("ignored_colours", ((0, 0, 256),)),
        ("condition", "Space Invaders"),
        ("seed", -1),
        ("split_seed", -1),
        ("shuffle_buffer", 0),
    ],
)
def test_impossible_number_is_named(make_dataset, name, value):
    with pytest.raises(UserError, match=rf"data\.AtariClips\.{name} = .*expected"):
        make_dataset(**{name: value})


def test_crops_must_fit_what_is_kept(make_dataset):
    with pytest.raises(UserError, match=r"crop_shape.*\(10, 24\)"):
        make_dataset(rows=(10, 20), crop_shape=(12, 10))


def test_damaged_cache_is_a_user_error(make_dataset, tmp_path):
    make_dataset().prepare()
    (path,) = (tmp_path / "cache").glob("atari-spaceinvaders-val-*/clips-00000*")
    path.write_bytes(path.read_bytes()[:-7])
    records._verified.clear()  # as in a new process
    with pytest.raises(UserError, match=r"clips-00000.*delete the folder"):
        make_dataset().prepare()


def test_importing_and_building_does_not_start_tensorflow():
    code = (
        "import sys; from silot_tf.data.atari import AtariClips; "
        "from silot_tf.data.rollout_folder import RolloutFolder; "
        "AtariClips(RolloutFolder('nothing')); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_gin_binds_the_data_set():
    gin.clear_config()
    try:
        gin.parse_config("data.AtariClips.rollouts = @data.RolloutFolder()\ndata.RolloutFolder.folder = 'f'")
        gin.parse_config("data.AtariClips.rows = (0, 195)")
        assert gin.get_configurable("data.AtariClips")().kept_size == (195, 160)
    finally:
        gin.clear_config()
