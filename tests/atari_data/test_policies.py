"""Who plays: deterministic, and the scripted one lives longer or wins more than chance."""

import numpy as np
import pytest

pytest.importorskip("ale_py", reason="ale-py is not installed: pip install 'silot_tf[atari]'")

from atari_data import policies
from atari_data.emulator import Emulator
from silot_tf.data.rollouts import game_key
from silot_tf.errors import UserError

pytestmark = pytest.mark.atari


def play(name, game, steps, seed=0, frame_skip=1):
    """Actions, points and steps until the first life is lost (all steps, if none is)."""
    emulator = Emulator(game, seed=seed, frame_skip=frame_skip)
    policy = policies.make(name, emulator, np.random.default_rng(seed))
    lives, actions, points, alive = emulator.lives, [], 0.0, None
    for step in range(steps):
        if emulator.over:
            break
        actions.append(policy.act())
        points += emulator.step(actions[-1])
        if alive is None and emulator.lives < lives:
            alive = step
    return actions, points, steps if alive is None else alive


@pytest.mark.parametrize("name", policies.POLICIES)
def test_same_seed_plays_the_same(name):
    assert play(name, "SpaceInvaders", 150)[0] == play(name, "SpaceInvaders", 150)[0]
    assert play(name, "SpaceInvaders", 150)[0] != play(name, "SpaceInvaders", 150, seed=1)[0]


@pytest.mark.parametrize("name", policies.POLICIES)
@pytest.mark.parametrize("game", ["Pong", "MontezumaRevenge", "Freeway", "KeystoneKapers"])
def test_every_policy_plays_any_game(name, game):
    actions, _, _ = play(name, game, 60)
    assert len(actions) == 60 and set(actions) <= set(range(len(Emulator(game, seed=0).action_names)))


def test_random_actions_are_equally_likely():
    actions = play("random", "SpaceInvaders", 600)[0]
    counts = np.bincount(actions, minlength=6)
    assert counts.min() > 60 and counts.max() < 140


@pytest.mark.parametrize("frame_skip", [1, 4])
def test_sticky_random_keeps_actions_for_about_twenty_frames(frame_skip):
    emulator = Emulator("SpaceInvaders", seed=0, frame_skip=frame_skip)
    policy = policies.StickyRandom(emulator, np.random.default_rng(0))
    actions = np.array([policy.act() for _ in range(6000)])
    changes = np.count_nonzero(np.diff(actions)) / len(actions)
    # An action is drawn anew with probability 0.05 per frame, and is another one in five of six cases.
    assert abs(changes - 0.05 * frame_skip * 5 / 6) < 0.02


def test_scripted_shoots_more_in_asteroids_than_chance():
    assert play("scripted", "Asteroids", 500)[1] > 2 * play("random", "Asteroids", 500)[1]


def test_scripted_plays_as_well_with_frames_skipped():
    assert play("scripted", "SpaceInvaders", 175, frame_skip=4)[2] == 175
    assert play("scripted", "Asteroids", 125, frame_skip=4)[1] > 2 * play("random", "Asteroids", 125, frame_skip=4)[1]


@pytest.mark.parametrize("chance", ["sticky_random", "random"])
def test_scripted_outlives_chance_in_space_invaders(chance):
    seed, steps = {"sticky_random": 0, "random": 1}[chance], 700
    assert play(chance, "SpaceInvaders", steps, seed)[2] < steps  # where chance loses a life, with that seed
    assert play("scripted", "SpaceInvaders", steps, seed)[2] == steps


def test_scripted_shoots_sparingly_in_carnival():
    """Bullets are counted there: more points for fewer shots."""
    fire = {i for i, name in enumerate(Emulator("Carnival", seed=0).action_names) if name.endswith("FIRE")}

    def shots_and_points(name):
        actions, points, _ = play(name, "Carnival", 500)
        pressed = np.isin(actions, list(fire))
        return np.count_nonzero(np.diff(pressed.astype(int)) > 0), points

    (scripted_shots, scripted_points), (random_shots, random_points) = map(shots_and_points, ("scripted", "random"))
    assert scripted_points > random_points and scripted_shots < random_shots


def test_looking_ahead_leaves_no_trace():
    """States and memory of the emulator in play are the same with and without plans being tried."""
    watched, plain = Emulator("WizardOfWor", seed=3), Emulator("WizardOfWor", seed=3)
    policy = policies.make("scripted", watched, np.random.default_rng(3))
    for _ in range(150):
        action = policy.act()
        assert watched.step(action) == plain.step(action)
    np.testing.assert_array_equal(watched.frame(), plain.frame())
    assert [watched.memory(i) for i in range(128)] == [plain.memory(i) for i in range(128)]


def test_looking_ahead_leaves_no_trace_with_sticky_actions():
    """The emulator's random numbers are copied for plans, not used up."""
    arguments = {"seed": 5, "repeat_action_probability": 0.5}
    watched, plain = Emulator("SpaceInvaders", **arguments), Emulator("SpaceInvaders", **arguments)
    policy = policies.make("scripted", watched, np.random.default_rng(5))
    for _ in range(150):
        action = policy.act()
        watched.step(action), plain.step(action)
    np.testing.assert_array_equal(watched.frame(), plain.frame())


def test_habits_name_moves_that_exist():
    for game in ("SpaceInvaders", "Asteroids", "Carnival", "WizardOfWor"):
        habits = policies.HABITS[game_key(game)]
        assert set(habits.moves) <= set(Emulator(game, seed=0).action_names)


def test_unknown_policy_is_told():
    with pytest.raises(UserError, match="'ppo' is unknown; expected one of scripted, sticky_random, random"):
        policies.check("ppo")
