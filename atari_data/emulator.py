"""The Arcade Learning Environment behind a small face: games by name, one emulator per episode, branches of it.

Needs ale-py, which brings the ROMs: `pip install 'silot_tf[atari]'`.
"""

import collections
import difflib
import functools
import importlib.metadata

import numpy as np

from silot_tf.data.rollouts import game_key
from silot_tf.errors import UserError

INSTALL = "pip install 'silot_tf[atari]'"


class Emulator:
    """One game in play. Without sticky actions it depends on nothing but what is done to it.

    Args:
      game: see `game_name`.
      seed: of the emulator's own random numbers (sticky actions), 0 to 2^31 - 1.
      mode: of the game; None for its default.
      difficulty: of the game; None for its default.
      repeat_action_probability: that the emulator ignores an action and repeats the one before ("sticky actions");
        0 in the `...NoFrameskip-v4` environments.
      frame_skip: emulated frames per step; 1 in the `...NoFrameskip-v4` environments.
      pooled_frames: of how many of the last emulated frames `frame` shows the brightest; 1 shows the last one as it is.
        2 joins what the console draws alternately.

    Raises:
      UserError: for an unknown game, mode or difficulty, or without ale-py.

    Attributes:
      game: its name as in `games`.
      frame_skip: as given.
    """

    def __init__(
        self,
        game: str,
        *,
        seed: int,
        mode: int | None = None,
        difficulty: int | None = None,
        repeat_action_probability: float = 0.0,
        frame_skip: int = 1,
        pooled_frames: int = 1,
    ):
        ale_py = _ale_py()
        self._arguments = {
            "game": game,
            "seed": seed,
            "mode": mode,
            "difficulty": difficulty,
            "repeat_action_probability": repeat_action_probability,
            "frame_skip": frame_skip,  # and no pooling: nobody looks at the frames of a branch
        }
        self.game = game_name(game)
        self.frame_skip = frame_skip
        self._ale = ale_py.ALEInterface()
        self._ale.setInt("random_seed", seed)
        self._ale.setFloat("repeat_action_probability", repeat_action_probability)
        self._ale.loadROM(_rom_path(_rom(game)))
        for what, value, choices, choose in (
            ("mode", mode, self._ale.getAvailableModes(), self._ale.setMode),
            ("difficulty", difficulty, self._ale.getAvailableDifficulties(), self._ale.setDifficulty),
        ):
            if value is None:
                continue
            if value not in choices:
                raise UserError(f"{self.game} has no {what} {value}; expected one of {list(choices)}")
            choose(value)
        self._ale.reset_game()
        self._actions = self._ale.getMinimalActionSet()
        self._screens = collections.deque([self._ale.getScreenRGB()], maxlen=pooled_frames)

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the actions that mean something in this game, such as "RIGHTFIRE"; an action is its number here."""
        return tuple(action.name for action in self._actions)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(height, width, 3), pixels."""
        return (*self._ale.getScreenDims(), 3)

    @property
    def over(self) -> bool:
        """Whether the game has ended."""
        return self._ale.game_over()

    @property
    def lives(self) -> int:
        """Lives left; 0 in games without lives."""
        return self._ale.lives()

    def memory(self, address: int) -> int:
        """A byte of the console's memory, address 0 to 127."""
        return int(self._ale.getRAM()[address])

    def frame(self) -> np.ndarray:
        """uint8 `[H,W,3]`, RGB: the screen, or the largest values of the last `pooled_frames` screens."""
        return self._ale.getScreenRGB() if self._screens.maxlen == 1 else np.max(self._screens, axis=0)

    def step(self, action: int) -> float:
        """Hold an action for `frame_skip` frames; return the points won."""
        points = 0
        for remaining in range(self.frame_skip, 0, -1):
            points += self._ale.act(self._actions[action])
            if 1 < self._screens.maxlen >= remaining:
                self._screens.append(self._ale.getScreenRGB())
        return float(points)

    def branch(self) -> "Emulator":
        """A second emulator of the same game, for trying things out; see `follow`."""
        return Emulator(**self._arguments)

    def state(self):
        """Everything the future depends on, random numbers included; for `follow`."""
        return self._ale.cloneState(include_rng=True)

    def follow(self, state) -> None:
        """Go to a state of another emulator of the same game."""
        self._ale.restoreState(state)

    def settings(self) -> dict:
        """The mode and difficulty in use and the emulator's version, for a manifest."""
        state = self._ale.cloneState()
        return {"ale_py": version(), "mode": state.getCurrentMode(), "difficulty": state.getDifficulty()}


def version() -> str:
    """Version of ale-py."""
    _ale_py()
    return importlib.metadata.version("ale-py")


def games() -> tuple[str, ...]:
    """Names of all games that come with ale-py, such as "SpaceInvaders"."""
    return tuple(sorted(_roms()))


def game_name(game: str) -> str:
    """The name of a game as in `games`, from any spelling that `silot_tf.data.rollouts.game_key` understands.

    Raises:
      UserError: if there is no such game, with the names that come nearest.
    """
    names = {game_key(name): name for name in games()}
    key = game_key(game)
    if key in names:
        return names[key]
    containing = [name for name in names if len(key) > 1 and key in name]
    near = dict.fromkeys(containing + difflib.get_close_matches(key, names, n=4))
    hint = f"nearest: {', '.join(names[n] for n in list(near)[:4])}" if near else f"one of {', '.join(games())}"
    raise UserError(f"game '{game}' is unknown to ale-py {version()}; expected a name such as SpaceInvaders ({hint})")


def _rom(game: str) -> str:
    return _roms()[game_name(game)]


@functools.cache
def _roms() -> dict[str, str]:
    """Name of each game -> name of its ROM. Games for two players only are left out: the emulator cannot start them."""
    ale_py = _ale_py()
    from ale_py import roms

    playable = (rom for rom in roms.get_all_rom_ids() if ale_py.ALEInterface.isSupportedROM(_rom_path(rom)))
    return {rom.title().replace("_", ""): rom for rom in playable}


def _rom_path(rom: str):
    from ale_py import roms

    return roms.get_rom_path(rom)


@functools.cache
def _ale_py():
    try:
        import ale_py
    except ImportError as error:
        raise UserError(
            f"the Atari emulator cannot be imported ({error}); expected the package ale-py: {INSTALL}"
        ) from error
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # no banner
    return ale_py
