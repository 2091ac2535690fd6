"""The wrapper records what passes through it, unchanged, and goes on where a folder left off."""

import numpy as np
import pytest

pytest.importorskip("gymnasium", reason="gymnasium is not installed: pip install 'silot_tf[atari]'")

import gymnasium

from atari_data.recorder import Recorder
from silot_tf.data import colour_components, rollouts
from silot_tf.data.rollouts import Rollouts
from silot_tf.errors import UserError

pytestmark = pytest.mark.atari


class Dots(gymnasium.Env):
    """A dot that moves as it is told; ends after `length` steps."""

    observation_space = gymnasium.spaces.Box(0, 255, (12, 10, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(3)
    render_mode = None
    image_shape = observation_space.shape

    def __init__(self, length=6):
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.x = 0, 4
        return self.image(), {}

    def step(self, action):
        self.t, self.x = self.t + 1, int(np.clip(self.x + action - 1, 0, 9))
        return self.image(), float(action), self.t == self.length, False, {}

    def image(self):
        image = np.zeros(self.image_shape, np.uint8)
        image[self.t % 12, self.x] = (255, 100, 0)
        return image


class Numbers(Dots):
    """The same with observations that are no images, and real-valued actions."""

    observation_space = gymnasium.spaces.Box(0, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    render_mode = "rgb_array"

    def reset(self, **arguments):
        super().reset(**arguments)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), *super().step(int(action[0] > 0))[1:]

    def render(self):
        return self.image()


def play(env, actions, **arguments):
    """The frames and rewards that the agent sees."""
    frames, rewards = [env.reset(**arguments)[0]], [0.0]
    for action in actions:
        frame, reward, *_ = env.step(action)
        frames.append(frame)
        rewards.append(reward)
    return np.stack(frames), rewards


def test_episode_is_what_the_agent_saw(tmp_path):
    with Recorder(Dots(), tmp_path, game="Dots", about={"agent": "by hand"}) as env:
        frames, rewards = play(env, [0, 0, 1, 2, 2, 1])
    found = Rollouts.open(tmp_path, "Dots")
    np.testing.assert_array_equal(found.frames(0), frames)
    actions, stored = found.steps(0)
    assert actions.tolist() == [-1, 0, 0, 1, 2, 2, 1] and stored.tolist() == rewards
    entry = found.manifest["episodes"][0]
    assert (entry["ended"], entry["score"], entry["frames"]) == ("terminated", 6.0, 7)
    assert found.manifest["source"]["agent"] == "by hand" and found.manifest["source"]["environment"] == "Dots"
    expected = colour_components.label_frames(frames)
    np.testing.assert_array_equal(found.labels(0)["boxes"], expected["boxes"])


def test_every_ending_is_kept_and_empty_episodes_are_not(tmp_path):
    with Recorder(Dots(), tmp_path, labels=False) as env:
        play(env, [1] * 6)
        env.step(1)  # after the end: nobody's
        play(env, [1] * 2)
        env.reset()
        play(env, [1] * 3)
    found = Rollouts.open(tmp_path)
    assert found.lengths == (7, 3, 4) and found.labels(0) is None
    assert [entry["ended"] for entry in found.manifest["episodes"]] == ["terminated", "reset", "closed"]


def test_folder_can_be_opened_between_episodes(tmp_path):
    env = Recorder(Dots(), tmp_path)
    play(env, [1] * 6)
    assert Rollouts.open(tmp_path).num_episodes == 1
    env.close()


def test_numbering_goes_on(tmp_path):
    for _ in range(2):
        with Recorder(Dots(), tmp_path, game="Dots") as env:
            play(env, [2] * 6)
    (tmp_path / ".episode-00002.npz.x.unfinished").write_bytes(b"half an episode")
    with Recorder(Dots(), tmp_path, game="Dots") as env:
        assert env.num_episodes == 2
        play(env, [0] * 6)
    found = Rollouts.open(tmp_path)
    assert [entry["file"] for entry in found.manifest["episodes"]] == [f"episode-{i:05d}.npz" for i in range(3)]
    assert found.steps(2)[0].tolist() == [-1] + [0] * 6
    assert not list(tmp_path.glob("*unfinished"))


def test_episode_that_the_manifest_missed_is_kept(tmp_path):
    with Recorder(Dots(), tmp_path) as env:
        play(env, [2] * 6)
        before = (tmp_path / rollouts.MANIFEST).read_bytes()
        play(env, [0] * 6)
    (tmp_path / rollouts.MANIFEST).write_bytes(before)  # killed before the second could be listed
    with Recorder(Dots(), tmp_path) as env:
        assert env.num_episodes == 2
        play(env, [1] * 6)
    assert [actions[1] for actions, _ in map(Rollouts.open(tmp_path).steps, range(3))] == [2, 0, 1]


def test_long_episodes_are_cut_without_losing_a_frame(tmp_path):
    with Recorder(Dots(10), tmp_path, max_frames=4, labels=False) as env:
        frames, _ = play(env, [1, 2] * 5)
    found = Rollouts.open(tmp_path)
    assert found.lengths == (4, 4, 3)
    np.testing.assert_array_equal(np.concatenate([found.frames(i) for i in range(3)]), frames)
    assert np.concatenate([found.steps(i)[0] for i in range(3)]).tolist() == [-1] + [1, 2] * 5


def test_rendered_frames_and_real_valued_actions(tmp_path):
    with Recorder(Numbers(), tmp_path) as env:
        play(env, np.array([[0.5, -1]] * 3, np.float32))
    found = Rollouts.open(tmp_path)
    assert found.frame_shape == (12, 10, 3) and found.frames(0).any()
    actions, _ = found.steps(0)
    assert np.isnan(actions[0]).all() and actions[1:].tolist() == [[0.5, -1]] * 3


def test_agent_notices_nothing(tmp_path):
    plain = play(Dots(), [0, 2, 1])
    with Recorder(Dots(), tmp_path) as env:
        recorded = play(env, [0, 2, 1])
        assert env.observation_space == Dots.observation_space and env.unwrapped.t == 3
    np.testing.assert_array_equal(plain[0], recorded[0])
    assert plain[1] == recorded[1]


def test_observations_that_are_no_images_are_told(tmp_path):
    env = Numbers()
    env.render_mode = None
    with pytest.raises(UserError, match=r"no RGB images.*render_mode='rgb_array'"):
        Recorder(env, tmp_path)


def test_other_game_or_frame_size_does_not_mix(tmp_path):
    with Recorder(Dots(), tmp_path, game="Dots") as env:
        play(env, [1] * 6)
    with pytest.raises(UserError, match="episodes of game Dots, not Lines"):
        Recorder(Dots(), tmp_path, game="Lines")
    with pytest.raises(UserError, match="episodes of origin"):
        Recorder(Dots(), tmp_path, game="Dots", about={"agent": "another"})
    wide = Dots()
    wide.observation_space = gymnasium.spaces.Box(0, 255, (12, 20, 3), np.uint8)
    wide.image_shape = (12, 20, 3)
    with Recorder(wide, tmp_path, game="Dots") as env, pytest.raises(UserError, match=r"\[12, 20, 3\].*another folder"):
        env.reset()
    assert Rollouts.open(tmp_path).lengths == (7,)


def test_two_recorders_do_not_share_a_folder(tmp_path):
    with Recorder(Dots(), tmp_path), pytest.raises(UserError, match="being recorded into"):
        Recorder(Dots(), tmp_path)


def test_damaged_folder_is_not_added_to(tmp_path):
    with Recorder(Dots(), tmp_path) as env:
        play(env, [1] * 6)
    (tmp_path / "episode-00000.npz").write_bytes(b"")
    with pytest.raises(UserError, match=r"episode-00000.npz has 0 bytes"):
        Recorder(Dots(), tmp_path)


def test_atari_environment_is_recorded_with_its_settings(tmp_path):
    pytest.importorskip("ale_py", reason="ale-py is not installed: pip install 'silot_tf[atari]'")
    with Recorder(gymnasium.make("SpaceInvadersNoFrameskip-v4"), tmp_path, game="SpaceInvaders") as env:
        frames, _ = play(env, [1, 2, 3] * 10, seed=0)
    found = Rollouts.open(tmp_path, "SpaceInvaders")
    np.testing.assert_array_equal(found.frames(0), frames)
    source = found.manifest["source"]
    assert source["environment"] == "SpaceInvadersNoFrameskip-v4"
    assert (source["frame_skip"], source["repeat_action_probability"], source["mode"]) == (1, 0.0, 0)
