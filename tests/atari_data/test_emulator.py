"""Games by name, and what is said when the emulator is not there."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = """
import sys
sys.modules["ale_py"] = None  # as if it were not installed
from atari_data import collect
sys.argv = [collect.__name__, "--game=Pong"]
collect.main()
"""


@pytest.mark.atari
def test_missing_ale_says_what_to_install():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "pip install 'silot_tf[atari]'" in done.stderr and done.stderr.count("\n") == 1


def test_importing_needs_neither_emulator_nor_tensorflow():
    modules = ", ".join(f"atari_data.{name}" for name in ("collection", "collect", "episodes", "policies", "workers"))
    program = f"import sys, {modules}; sys.exit(any(n in sys.modules for n in ('ale_py', 'gymnasium', 'tensorflow')))"
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=ROOT).returncode == 0


@pytest.mark.atari
class TestGames:
    @pytest.fixture(autouse=True)
    def emulator(self):
        pytest.importorskip("ale_py", reason="ale-py is not installed: pip install 'silot_tf[atari]'")

    def test_all_four_games_of_the_paper_are_there(self):
        from atari_data.emulator import games

        assert {"Asteroids", "Carnival", "SpaceInvaders", "WizardOfWor"} <= set(games())
        assert len(games()) > 90 and "Combat" not in games()  # for two players only

    @pytest.mark.parametrize("spelling", ["space_invaders", "SpaceInvadersNoFrameskip-v4", "ALE/SpaceInvaders-v5"])
    def test_any_spelling_is_understood(self, spelling):
        from atari_data.emulator import game_name

        assert game_name(spelling) == "SpaceInvaders"

    @pytest.mark.parametrize(
        ("wrong", "near"),
        [("wor", "WizardOfWor"), ("Carnaval", "Carnival"), ("MsPackman", "MsPacman"), ("brakeout", "Breakout")],
    )
    def test_unknown_game_suggests_the_nearest(self, wrong, near):
        from atari_data.emulator import game_name
        from silot_tf.errors import UserError

        with pytest.raises(UserError, match=rf"'{wrong}' is unknown.*nearest: .*{near}"):
            game_name(wrong)

    def test_name_like_no_other_lists_all_games(self):
        from atari_data.emulator import game_name
        from silot_tf.errors import UserError

        with pytest.raises(UserError, match="one of Adventure, AirRaid"):
            game_name("!")

    def test_frames_are_those_of_the_environment_of_that_name(self):
        gymnasium = pytest.importorskip("gymnasium", reason="gymnasium is not installed: pip install 'silot_tf[atari]'")
        from atari_data.emulator import Emulator

        env = gymnasium.make("AsteroidsNoFrameskip-v4")
        expected = [env.reset(seed=1)[0]]
        actions = np.random.default_rng(0).integers(env.action_space.n, size=80)
        points = []
        for action in actions:
            frame, reward, *_ = env.step(action)
            expected.append(frame)
            points.append(reward)
        env.close()
        game = Emulator("Asteroids", seed=9)  # without sticky actions the seed changes nothing
        found = [game.frame()]
        for action, reward in zip(actions, points, strict=True):
            assert game.step(int(action)) == reward
            found.append(game.frame())
        np.testing.assert_array_equal(found, expected)

    def test_frame_skip_holds_the_action(self):
        from atari_data.emulator import Emulator

        single, skipping = Emulator("Pong", seed=0), Emulator("Pong", seed=0, frame_skip=4)
        for action in (2, 3, 1, 2):
            assert skipping.step(action) == sum(single.step(action) for _ in range(4))
        np.testing.assert_array_equal(single.frame(), skipping.frame())
