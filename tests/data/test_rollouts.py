"""Files of recorded episodes and folders of them: nothing is lost, nothing changed goes unnoticed."""

import hashlib
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from silot_tf.data import packing, rollouts
from silot_tf.data.episode_files import EpisodeFile, EpisodeWriter, write_episode
from silot_tf.data.rollouts import Rollouts, game_key, write_manifest
from silot_tf.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]


def drawn_frames(num_frames=37, size=(20, 24), flicker=False):
    """A few coloured rectangles that move over black; with `flicker`, one is drawn every second frame only."""
    frames = np.zeros((num_frames, *size, 3), np.uint8)
    for t in range(num_frames):
        frames[t, 2:6, t % 20 : t % 20 + 4] = (200, 10, 30)
        if not flicker or t % 2:
            frames[t, 10:14, 8:13] = (1, 2, 3)
    return frames


def labels_of(num_frames=37, objects=3):
    """Labels in the form of `colour_components.label_frames`, with a different number of objects in each frame."""
    random = np.random.default_rng(0)
    valid = np.arange(objects) < random.integers(0, objects + 1, num_frames)[:, None]
    labels = {
        "boxes": random.integers(-1, 200, (num_frames, objects, 4)).astype(np.float32),
        "valid": valid,
        "colour": random.integers(0, 256, (num_frames, objects, 3)).astype(np.uint8),
        "track_id": random.integers(0, 70_000, (num_frames, objects)).astype(np.int32),
    }
    for key, rest in (("boxes", 0), ("colour", 0), ("track_id", -1)):
        labels[key][~valid] = rest
    return labels


def write(path, frames, **arguments):
    steps = {"actions": np.arange(len(frames)), "rewards": np.linspace(0, 1, len(frames))}
    return write_episode(path, frames, **(steps | arguments))


def write_folder(folder, episodes=2, **changes):
    entries = [
        write(folder / f"episode-{i:05d}.npz", drawn_frames(20 + i), notes={"episode": i}, labels=labels_of(20 + i))
        for i in range(episodes)
    ]
    manifest = {
        "game": "SpaceInvaders",
        "frame_shape": (20, 24, 3),
        "source": {"policy": "drawn"},
        "labels": {"version": 1},
        "episodes": entries,
        "requested": episodes,
        "command": "python -m atari_data.collect --game=SpaceInvaders --episodes=2",
    }
    write_manifest(folder, **(manifest | changes))
    return folder


# ------------------------------------------------------------------------------------------------------ one episode


@pytest.mark.parametrize("num_frames", [1, 2, 15, 16, 17, 37])
@pytest.mark.parametrize("flicker", [False, True])
def test_frames_come_back_unchanged(tmp_path, num_frames, flicker):
    frames = drawn_frames(num_frames, flicker=flicker)
    write(tmp_path / "a.npz", frames)
    np.testing.assert_array_equal(EpisodeFile(tmp_path / "a.npz").frames(), frames)


@pytest.mark.parametrize("colours", [1, 2, 256, 257, 100_000])
def test_any_number_of_colours_comes_back_unchanged(tmp_path, colours):
    values = (np.arange(colours) * 7_654_321 + 5) % (1 << 24)  # all different, since the factor is odd
    codes = np.resize(values, 33 * 30 * 40).reshape(33, 30, 40)
    frames = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1).astype(np.uint8)
    write(tmp_path / "a.npz", frames)
    np.testing.assert_array_equal(EpisodeFile(tmp_path / "a.npz").frames(), frames)


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 5), (10, 20), (15, 33), (31, 37), (36, 37), (5, 5), (30, None), (9, 99)]
)
def test_part_of_an_episode_is_that_part_of_the_whole(tmp_path, start, stop):
    frames = drawn_frames()
    write(tmp_path / "a.npz", frames)
    np.testing.assert_array_equal(EpisodeFile(tmp_path / "a.npz").frames(start, stop), frames[start:stop])


def test_actions_and_rewards_come_back(tmp_path):
    write(tmp_path / "a.npz", drawn_frames(3), actions=[-1, 4, 2], rewards=[0, 1.5, -2])
    actions, rewards = EpisodeFile(tmp_path / "a.npz").steps()
    assert actions.tolist() == [-1, 4, 2] and rewards.tolist() == [0, 1.5, -2]


def test_real_valued_actions_come_back(tmp_path):
    actions = np.array([[np.nan, np.nan], [0.5, -1]], np.float32)
    write(tmp_path / "a.npz", drawn_frames(2), actions=actions)
    np.testing.assert_array_equal(EpisodeFile(tmp_path / "a.npz").steps()[0], actions)


@pytest.mark.parametrize("objects", [0, 1, 3])
def test_labels_come_back_unchanged(tmp_path, objects):
    labels = labels_of(objects=objects)
    write(tmp_path / "a.npz", drawn_frames(), labels=labels)
    found = EpisodeFile(tmp_path / "a.npz").labels()
    assert found.keys() == labels.keys()
    for key, value in labels.items():
        assert found[key].dtype == value.dtype
        np.testing.assert_array_equal(found[key], value)


def test_labels_with_fractions_and_uneven_padding_come_back_unchanged():
    labels = labels_of()
    labels["boxes"] += 0.25
    stored, layout = packing.pack_labels(labels, 37)
    found = packing.unpack_labels(stored, json.loads(json.dumps(layout)))
    np.testing.assert_array_equal(found["boxes"], labels["boxes"])
    labels["boxes"] = np.random.default_rng(3).normal(size=labels["boxes"].shape).astype(np.float32)
    stored, layout = packing.pack_labels(labels, 37)
    np.testing.assert_array_equal(packing.unpack_labels(stored, layout)["boxes"], labels["boxes"])


def test_no_labels_are_none(tmp_path):
    write(tmp_path / "a.npz", drawn_frames())
    assert EpisodeFile(tmp_path / "a.npz").labels() is None


def test_same_content_gives_same_bytes(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.npz", drawn_frames(), labels=labels_of(), notes={"seed": 1})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_checksums_are_of_file_and_content(tmp_path):
    frames = drawn_frames(5)
    entry = write(tmp_path / "a.npz", frames, actions=[-1, 0, 0, 0, 0], rewards=[0, 1, 0, 0, 0])
    assert entry["sha256"] == hashlib.sha256((tmp_path / "a.npz").read_bytes()).hexdigest()
    content = (
        frames.tobytes() + np.array([-1, 0, 0, 0, 0], "<i4").tobytes() + np.array([0, 1, 0, 0, 0], "<f4").tobytes()
    )
    assert entry["content_sha256"] == hashlib.sha256(content).hexdigest()
    assert entry["bytes"] == (tmp_path / "a.npz").stat().st_size and entry["frames"] == 5
    assert EpisodeFile(tmp_path / "a.npz").entry() == entry


def test_frames_are_small_on_disk(tmp_path):
    frames = np.zeros((200, 210, 160, 3), np.uint8)
    for t in range(200):
        frames[t, 50:80, t % 100 : t % 100 + 30] = (9, 9, 200)
    assert write(tmp_path / "a.npz", frames)["bytes"] / 200 < 100


def test_writer_holds_frames_compressed():
    writer = EpisodeWriter()
    frames = drawn_frames(40)
    for frame in frames:
        writer.add(frame)
    assert sum(map(len, writer._chunks)) < frames.nbytes / 20
    np.testing.assert_array_equal(list(writer.iterate()), frames)


def test_frames_that_change_size_are_refused():
    writer = EpisodeWriter()
    writer.add(np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(UserError, match=r"\[5, 5, 3\].*first of \[4, 5, 3\]"):
        writer.add(np.zeros((5, 5, 3), np.uint8))


@pytest.mark.parametrize("frame", [np.zeros((4, 5), np.uint8), np.zeros((4, 5, 3)), np.zeros((4, 5, 4), np.uint8)])
def test_frames_that_are_no_images_are_refused(frame):
    with pytest.raises(UserError, match="expected uint8"):
        EpisodeWriter().add(frame)


def test_empty_episode_is_refused(tmp_path):
    with pytest.raises(UserError, match="without frames"):
        write(tmp_path / "a.npz", drawn_frames(0))
    assert not list(tmp_path.iterdir())


def test_steps_of_another_number_than_frames_are_refused(tmp_path):
    with pytest.raises(UserError, match="5 frames, 4 actions"):
        write(tmp_path / "a.npz", drawn_frames(5), actions=[0] * 4)


def test_labels_of_another_number_of_frames_are_refused(tmp_path):
    with pytest.raises(UserError, match="do not fit 5 frames"):
        write(tmp_path / "a.npz", drawn_frames(5), labels=labels_of(6))


def test_reader_does_not_start_tensorflow():
    program = "import sys, silot_tf.data.rollouts; sys.exit(any(n in sys.modules for n in ('tensorflow', 'ale_py')))"
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=ROOT).returncode == 0


def test_full_disk_is_one_line_and_keeps_the_earlier_file(tmp_path, monkeypatch):
    write(tmp_path / "a.npz", drawn_frames(3))
    before = (tmp_path / "a.npz").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"No space left on device.*free some") as caught:
        write(tmp_path / "a.npz", drawn_frames(4))
    assert "run_dir" not in str(caught.value) and "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"] and (tmp_path / "a.npz").read_bytes() == before


# --------------------------------------------------------------------------------------------------------- a folder


def test_folder_gives_its_episodes(tmp_path):
    found = Rollouts.open(write_folder(tmp_path), "space_invaders")
    assert (found.game, found.frame_shape, found.num_episodes) == ("SpaceInvaders", (20, 24, 3), 2)
    assert found.lengths == (20, 21) and found.manifest["source"] == {"policy": "drawn"}
    np.testing.assert_array_equal(found.frames(1), drawn_frames(21))
    np.testing.assert_array_equal(found.frames(1, 3, 9), drawn_frames(21)[3:9])
    np.testing.assert_array_equal(found.labels(0)["boxes"], labels_of(20)["boxes"])
    assert found.steps(0)[0].tolist() == list(range(20))


def test_only_the_first_episodes_can_be_opened(tmp_path):
    found = Rollouts.open(write_folder(tmp_path, 3), episodes=2)
    assert found.lengths == (20, 21)
    with pytest.raises(UserError, match=r"3 of 4 episodes.*--episodes=4 --out="):
        Rollouts.open(tmp_path, episodes=4)


def test_description_follows_content_not_place(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    a, b = (Rollouts.open(write_folder(tmp_path / name)) for name in "ab")
    assert a.description() == b.description() == json.loads(json.dumps(a.description()))
    assert Rollouts.open(tmp_path / "a", episodes=1).description() != a.description()


@pytest.mark.parametrize(
    "name",
    ["SpaceInvaders", "space_invaders", "SpaceInvadersNoFrameskip-v4", "ALE/SpaceInvaders-v5", "SpaceInvaders-ram-v0"],
)
def test_spellings_of_a_game_are_one(name):
    assert game_key(name) == "spaceinvaders"


def test_missing_folder_says_how_to_record(tmp_path):
    with pytest.raises(UserError, match=r"manifest.json does not exist.*atari_data.collect --game=Pong --out="):
        Rollouts.open(tmp_path / "nowhere", "Pong")


def test_other_game_is_refused(tmp_path):
    with pytest.raises(UserError, match="is of SpaceInvaders, expected Asteroids"):
        Rollouts.open(write_folder(tmp_path), "Asteroids")


def test_interrupted_collection_says_how_to_go_on(tmp_path):
    write_folder(tmp_path, requested=5)
    with pytest.raises(UserError, match=r"2 of 5 episodes: recording was interrupted.*--episodes=5 --out="):
        Rollouts.open(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes, its manifest says"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"), "has changed since it was recorded"),
        (lambda path: path.unlink(), "cannot be read"),
    ],
)
def test_damaged_file_is_named_with_its_cure(tmp_path, damage, message):
    write_folder(tmp_path)
    damage(tmp_path / "episode-00001.npz")
    with pytest.raises(UserError, match=rf"episode-00001.npz.*{message}.*atari_data.collect.*--out=") as caught:
        Rollouts.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_file_damaged_after_opening_is_noticed_when_read(tmp_path):
    found = Rollouts.open(write_folder(tmp_path))
    path = tmp_path / "episode-00000.npz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"episode-00000.npz cannot be read as a recorded episode"):
        found.frames(0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged"),
        ("[]", "expected a JSON object"),
        ("{}", "is empty"),
        ('{"format": 99}', "format version 99, expected 1"),
        ('{"format": 1}', "no manifest of recorded episodes"),
        (
            '{"format": 1, "game": "a", "source": {}, "labels": null, "requested": 1, "command": null, '
            '"frame_shape": [1, 1, 3], "episodes": [{"file": "../x", "episode": 0, "frames": 1, "bytes": 1, '
            '"sha256": "", "content_sha256": ""}]}',
            "no manifest of recorded episodes",
        ),
    ],
)
def test_bad_manifest_is_named(tmp_path, text, message):
    (tmp_path / rollouts.MANIFEST).write_text(text)
    with pytest.raises(UserError, match=rf"manifest.json.*{message}"):
        Rollouts.open(tmp_path)


def test_episode_file_of_another_format_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("silot_tf.data.episode_files.FORMAT_VERSION", 2)
    write(tmp_path / "a.npz", drawn_frames(2))
    monkeypatch.undo()
    with pytest.raises(UserError, match="format version 2, expected 1"):
        EpisodeFile(tmp_path / "a.npz")
