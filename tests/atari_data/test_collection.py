"""Collections follow from their settings alone, survive being killed, and never mix."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import gin
import numpy as np
import pytest

pytest.importorskip("ale_py", reason="ale-py is not installed: pip install 'silot_tf[atari]'")

from atari_data import collection as module
from atari_data import locking, workers
from atari_data.collection import Collection
from atari_data.emulator import Emulator
from atari_data.episodes import Settings, record
from silot_tf.data import colour_components, rollouts
from silot_tf.data.rollouts import Rollouts
from silot_tf.errors import UserError

pytestmark = pytest.mark.atari
ROOT = pathlib.Path(__file__).parents[2]
SMALL = {"episodes": 2, "max_frames": 40, "policy": "sticky_random", "workers": 1}


def small(folder, game="SpaceInvaders", **changes):
    return Collection(game, folder=str(folder), **(SMALL | changes))


def contents(folder) -> dict[str, bytes]:
    """Every file of a folder, the lock aside."""
    return {
        path.name: path.read_bytes() for path in sorted(pathlib.Path(folder).iterdir()) if path.name != locking.LOCK
    }


def run(*arguments, **options):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "atari_data.collect", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **options)


def test_same_settings_give_same_bytes_on_any_number_of_processes(tmp_path):
    arguments = {"episodes": 3, "policy": "scripted", "max_frames": 25}
    small(tmp_path / "one", **arguments).open()
    small(tmp_path / "again", **arguments).open()
    small(tmp_path / "three", **arguments, workers=3).open()
    assert contents(tmp_path / "one") == contents(tmp_path / "again") == contents(tmp_path / "three")
    assert len(contents(tmp_path / "one")) == 4


def test_frames_are_those_of_the_actions_alone(tmp_path):
    """An oracle without policy and recorder: the actions of the file, played into a fresh emulator."""
    found = small(tmp_path, policy="scripted", max_frames=120, episodes=1, labels=False).open()
    actions, rewards = found.steps(0)
    entry = found.manifest["episodes"][0]
    game = Emulator("SpaceInvaders", seed=entry["seed"])
    for _ in range(entry["start_noops"]):
        game.step(0)
    frames, points = [game.frame()], [0.0]
    for action in actions[1:]:
        points.append(game.step(int(action)))
        frames.append(game.frame())
    np.testing.assert_array_equal(found.frames(0), frames)
    np.testing.assert_array_equal(rewards, points)
    assert actions[0] == -1 and entry["score"] == sum(points)


def test_labels_are_those_of_the_frames_at_once(tmp_path):
    found = small(tmp_path, "Asteroids", episodes=1).open()
    expected = colour_components.label_frames(found.frames(0))
    for key, value in found.labels(0).items():
        np.testing.assert_array_equal(value, expected[key])
    assert found.manifest["labels"] == json.loads(json.dumps(colour_components.PARAMETERS))


def test_manifest_tells_how_the_episodes_came_about(tmp_path):
    found = small(tmp_path, seed=7, repeat_action_probability=0.25, frame_skip=4, difficulty=1).open()
    source = found.manifest["source"]
    expected = {"ale_py", "game", "mode", "difficulty", "repeat_action_probability", "frame_skip", "policy", "seed"}
    assert expected <= source.keys()
    assert (source["difficulty"], source["mode"], source["frame_skip"], source["seed"]) == (1, 0, 4, 7)
    seeds = {entry["seed"] for entry in found.manifest["episodes"]}
    assert len(seeds) == 2 and found.manifest["requested"] == 2


def test_command_in_the_manifest_records_the_same(tmp_path):
    small(tmp_path / "a", frame_skip=2, seed=3, labels=False).open()
    command = rollouts.read_manifest(tmp_path / "a")["command"].split()
    assert command[:3] == ["python", "-m", "atari_data.collect"]
    assert run(*command[3:], f"--out={tmp_path / 'b'}").returncode == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_episodes_differ_from_each_other_and_between_seeds(tmp_path):
    a, b = small(tmp_path / "a").open(), small(tmp_path / "b", seed=1).open()
    checksums = {entry["content_sha256"] for found in (a, b) for entry in found.manifest["episodes"]}
    assert len(checksums) == 4


def test_complete_collection_is_opened_without_recording(tmp_path, monkeypatch):
    small(tmp_path).open()
    before = contents(tmp_path)
    monkeypatch.setattr(module, "record_all", lambda *_: pytest.fail("nothing is missing"))
    assert small(tmp_path).open().num_episodes == 2
    assert small(tmp_path, episodes=1).open().lengths == (40,)
    assert contents(tmp_path) == before


def test_collection_can_be_extended(tmp_path):
    small(tmp_path / "a", episodes=1).open()
    small(tmp_path / "a", episodes=3).open()
    small(tmp_path / "b", episodes=3).open()
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_episodes_that_the_manifest_missed_are_listed_again(tmp_path):
    small(tmp_path).open()
    before = contents(tmp_path)
    manifest = rollouts.read_manifest(tmp_path)
    manifest["episodes"] = []
    (tmp_path / rollouts.MANIFEST).write_text(json.dumps(manifest))
    assert small(tmp_path).open().num_episodes == 2
    assert contents(tmp_path) == before


@pytest.mark.parametrize("forget_the_last", [False, True])
def test_interrupted_collection_goes_on(tmp_path, monkeypatch, forget_the_last):
    """Stopped between two episodes, or after an episode's file and before the manifest lists it."""
    small(tmp_path / "whole", episodes=3).open()

    def stopping(settings, episodes, *arguments):
        yield record(settings, episodes[0], *arguments[:2])
        record(settings, episodes[1], *arguments[:2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "record_all", stopping)
        with pytest.raises(KeyboardInterrupt):
            small(tmp_path / "a", episodes=3).open()
    (tmp_path / "a" / ".episode-00002.npz.abc.unfinished").write_bytes(b"half an episode")
    if forget_the_last:
        (tmp_path / "a" / rollouts.MANIFEST).unlink()
    else:
        with pytest.raises(UserError, match="1 of 3 episodes: recording was interrupted"):
            Rollouts.open(tmp_path / "a")
    recorded = []
    monkeypatch.setattr(workers, "record", lambda *arguments: recorded.append(arguments[1]) or record(*arguments))
    small(tmp_path / "a", episodes=3).open()
    assert recorded == [2]
    assert contents(tmp_path / "a") == contents(tmp_path / "whole")


@pytest.mark.parametrize(("how", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_killed_collection_goes_on_with_the_same_command(tmp_path, how, status):
    arguments = ["--game=SpaceInvaders", "--episodes=500", "--max_frames=99", "--policy=random", "--nolabels"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "atari_data.collect", *arguments, "--workers=2", f"--out={tmp_path / 'a'}"]
    # Tests that run in the background of a script are deaf to Ctrl-C, and so would be what they start.
    hearing = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, hearing)
    waited = time.monotonic()
    while not list((tmp_path / "a").glob("episode-*.npz")) and time.monotonic() - waited < 60:
        time.sleep(0.01)
    process.send_signal(how)
    _, said = process.communicate()
    assert process.returncode == status
    assert how == signal.SIGKILL or "stopped; the same command goes on from here" in said
    settings = {"episodes": 3, "max_frames": 99, "policy": "random", "labels": False}
    small(tmp_path / "b", **settings).open()
    small(tmp_path / "a", **settings).open()
    found, expected = contents(tmp_path / "a"), contents(tmp_path / "b")
    del expected[rollouts.MANIFEST]  # there 500 episodes are asked for
    assert expected.items() <= found.items() and not [name for name in found if name.endswith("unfinished")]


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"no npz")])
def test_damaged_episode_is_recorded_again(tmp_path, damage):
    small(tmp_path).open()
    before = contents(tmp_path)
    damage(tmp_path / "episode-00001.npz")
    small(tmp_path).open()
    assert contents(tmp_path) == before


def test_other_settings_are_told_apart_and_nothing_is_lost(tmp_path):
    small(tmp_path).open()
    before = contents(tmp_path)
    with pytest.raises(
        UserError, match=r"other settings \(frame_skip: 1 there, 4 now; seed: 0 there, 5 now\)"
    ) as caught:
        small(tmp_path, seed=5, frame_skip=4).open()
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
    with pytest.raises(UserError, match=r"policy: .*sticky_random.* there, .*random.* now"):
        small(tmp_path, policy="random").open()
    with pytest.raises(UserError, match=r"labels: .* null now"):
        small(tmp_path, labels=False).open()
    with pytest.raises(UserError, match=r'game: "SpaceInvaders" there, "Asteroids" now'):
        small(tmp_path, "Asteroids").open()
    (tmp_path / rollouts.MANIFEST).unlink()
    with pytest.raises(UserError, match=r"episode-00000.npz was recorded with other settings"):
        small(tmp_path, seed=5).open()
    del before[rollouts.MANIFEST]
    assert contents(tmp_path) == before


def test_settings_have_folders_of_their_own_by_default():
    def name(**changes):
        return Collection(
            "Pong", **({"max_frames": 5, "episodes": 1, "policy": "random", "workers": 1} | changes)
        ).open()

    folders = [name().folder, name(seed=1).folder, name(max_frames=6).folder, name(episodes=2).folder]
    assert folders[0] == folders[3] and len(set(folders)) == 3
    assert folders[0].parent == pathlib.Path(os.environ["SILOT_TF_CACHE_DIR"]) / "atari"
    assert folders[0].name.startswith("Pong-random-seed0-")


def test_two_processes_do_not_record_into_one_folder(tmp_path):
    with locking.hold(tmp_path), pytest.raises(UserError, match="is being recorded into by another process"):
        small(tmp_path).open()
    assert small(tmp_path).open().num_episodes == 2


def test_full_disk_is_told_by_workers_too(tmp_path):
    """A limit on the size of files stands for a full disk: the emulator's settings fit, an episode does not."""
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)); "
        "from atari_data import collect; sys.argv[0] = collect.__name__; collect.main()"
    )
    arguments = ["--game=WizardOfWor", "--episodes=2", "--max_frames=200", "--policy=random", "--nolabels"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, *arguments, f"--out={tmp_path}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "error: cannot write" in done.stderr and "What was recorded before is kept" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [name for name in contents(tmp_path) if name.endswith(("npz", "unfinished"))]


def test_killed_worker_is_told(tmp_path, monkeypatch):
    settings = Settings("SpaceInvaders", max_frames=100_000, policy="random")
    started = []
    start = workers._start
    monkeypatch.setattr(workers, "_start", lambda: started.append(start()) or started[-1])
    results = workers.record_all(settings, [0, 1], tmp_path, "mark", 2)
    # The first worker dies as soon as it has something to do.
    monkeypatch.setattr(workers.threading.Thread, "start", _killing(started, workers.threading.Thread.start))
    with pytest.raises(
        UserError, match=r"killed by signal 9; what was finished is kept, and the same command continues"
    ):
        list(results)
    assert all(process.poll() is not None for process in started)


def _killing(started, begin):
    def start(thread):
        begin(thread)
        started[0].kill()

    return start


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"game": "SpaceInvader"}, r"'SpaceInvader' is unknown.*nearest: SpaceInvaders"),
        ({"game": "asteroid"}, "nearest: Asteroids"),
        ({"game": "Joust"}, "unknown"),
        ({"policy": "trained"}, "'trained' is unknown; expected one of scripted, sticky_random, random"),
        ({"episodes": 0}, "episodes is 0"),
        ({"workers": -1}, "workers is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1.5}, "seed is 1.5; expected an integer"),
        ({"max_frames": 0}, "max_frames is 0"),
        ({"frame_skip": 0}, "frame_skip is 0"),
        ({"repeat_action_probability": 2}, "repeat_action_probability is 2; expected a number from 0 to 1"),
        ({"mode": 99}, r"SpaceInvaders has no mode 99; expected one of \[0, 1"),
        ({"difficulty": 7}, "has no difficulty 7"),
    ],
)
def test_bad_settings_are_one_line(tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        small(tmp_path / "a", **changes).open()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a").exists()


def test_pooled_frames_show_what_is_drawn_alternately(tmp_path):
    plain = small(tmp_path / "a", "Asteroids", episodes=1, labels=False).open().frames(0)
    pooled = small(tmp_path / "b", "Asteroids", episodes=1, labels=False, pooled_frames=2).open().frames(0)
    np.testing.assert_array_equal(pooled[1:], np.maximum(plain[1:], plain[:-1]))
    skipped = (
        small(tmp_path / "c", "Asteroids", episodes=1, labels=False, frame_skip=4, pooled_frames=2).open().frames(0)
    )
    lit = [np.count_nonzero(frames[20:].any(-1), axis=(1, 2)) for frames in (plain, pooled, skipped)]
    assert lit[0].min() < 0.7 * lit[0].max() and lit[1].min() > 0.7 * lit[1].max() and lit[2].min() > 0.7 * lit[2].max()


def test_gin_knows_the_collection():
    with gin.unlock_config():
        gin.parse_config("atari_data.Collection.game = 'Pong'\natari_data.Collection.max_frames = 3")
    try:
        assert Collection(episodes=1, labels=False).open().lengths == (3,)
    finally:
        gin.clear_config()


# ------------------------------------------------------------------------------------------------- the command line


def test_command_records_and_sums_up(tmp_path):
    done = run("--game=space_invaders", "--episodes=2", "--max_frames=20", "--policy=random", f"--out={tmp_path / 'a'}")
    assert done.returncode == 0, done.stderr
    assert "SpaceInvaders: 2 episodes, 40 frames of 210x160 pixels" in done.stdout
    assert "A.L.E" not in done.stdout + done.stderr and "2/2" in done.stderr
    assert Rollouts.open(tmp_path / "a").num_episodes == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--game=Spaceinvader"], "nearest: SpaceInvaders"),
        ([], "--game is missing"),
        (["--game=Pong", "--episods=2"], "--help lists all flags"),
        (["--game=Pong", "--out=/proc/nowhere"], "cannot write to /proc/nowhere"),
    ],
)
def test_command_tells_mistakes_in_one_line(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and message in done.stderr and done.stderr.count("\n") == 1


def test_help_names_every_flag():
    done = run("--help")
    assert done.returncode == 0
    for flag in ("game", "episodes", "seed", "policy", "out", "max_frames", "frame_skip", "workers", "mode"):
        assert f"--{flag}" in done.stdout
