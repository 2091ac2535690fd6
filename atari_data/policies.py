"""Who plays while episodes are recorded. Deterministic given the emulator and the random generator.

No trained agent is offered: those that are maintained come with a second deep-learning framework. `Scripted` plays
well enough that scenes are varied: it dodges, shoots, clears levels, and now and then dies.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from atari_data.emulator import Emulator
from silot_tf.data.rollouts import game_key
from silot_tf.errors import UserError


class Random:
    """A new action each step, all equally likely. At 60 steps a second that is trembling on the spot."""

    def __init__(self, emulator: Emulator, random: np.random.Generator):
        self._count, self._random = len(emulator.action_names), random

    def act(self) -> int:
        """The next action."""
        return int(self._random.integers(self._count))


class StickyRandom(Random):
    """A random action that is kept with a probability, for 20 emulated frames on average: goes places, without aim."""

    FRAMES = 20

    def __init__(self, emulator: Emulator, random: np.random.Generator):
        super().__init__(emulator, random)
        self._keep = max(0.0, 1 - emulator.frame_skip / self.FRAMES)
        self._action = super().act()

    def act(self) -> int:
        """The next action."""
        if self._random.random() >= self._keep:
            self._action = super().act()
        return self._action


@dataclasses.dataclass(frozen=True)
class Habits:
    """How `Scripted` plays a game. Times are in emulated frames, whatever the frame skip.

    Args:
      moves: names of moves and how often each is considered, relative to the others. A move is an action without its
        FIRE; those that a game lacks are ignored.
      dwell: for how long a move is held, least and most.
      fire: probability that a plan shoots all along.
      press: for how long the fire button is pressed and released, alternately; many games shoot on pressing only.
      plans: plans compared before one is chosen.
      foresight: for how long after its end a plan, continued, must keep the player alive.
      carelessness: probability that the first plan is taken unseen.
      thrifty: prefer, among plans that win the same, those that do not shoot.
      hit: (address, value) in the console's memory that tells of a lost life before the counter of lives does; None
        where the counter is quick.
    """

    moves: dict[str, float]
    dwell: tuple[int, int] = (6, 24)
    fire: float = 0.8
    press: int = 3
    plans: int = 4
    foresight: int = 30
    carelessness: float = 0.03
    thrifty: bool = False
    hit: tuple[int, int] | None = None


#: For games not named below: all directions, straight ones more often.
ANY_GAME = Habits(
    moves={
        "NOOP": 1,
        "UP": 2,
        "DOWN": 2,
        "LEFT": 2,
        "RIGHT": 2,
        "UPLEFT": 1,
        "UPRIGHT": 1,
        "DOWNLEFT": 1,
        "DOWNRIGHT": 1,
    }
)
#: By `game_key`.
HABITS = {
    # Walks the whole width, so that shields are shot away in different places.
    # The counter of lives changes when the explosion is over, 128 frames after the hit.
    "spaceinvaders": Habits(moves={"NOOP": 1, "LEFT": 3, "RIGHT": 3}, dwell=(6, 40), hit=(42, 4)),
    # Turns and shoots; a little thrust, since the ship drifts on; no DOWN, which is a jump to a random place.
    "asteroids": Habits(moves={"NOOP": 1, "LEFT": 4, "RIGHT": 4, "UP": 1}, dwell=(4, 20)),
    # Bullets are counted and the game ends with the last: shoots where that pays.
    # A bullet takes about 60 frames to the top row.
    "carnival": Habits(moves={"NOOP": 1, "LEFT": 3, "RIGHT": 3}, dwell=(6, 40), fire=0.5, foresight=60, thrifty=True),
    # Long straight walks, as long as the corridors.
    "wizardofwor": Habits(moves={"NOOP": 1, "UP": 3, "DOWN": 3, "LEFT": 3, "RIGHT": 3}, dwell=(8, 40)),
}


class Scripted:
    """Makes plans at random and takes the best of a few, judged by trying them in a second emulator.

    A plan is a move of the game's `Habits`, held for a while, with or without shooting. A plan that costs no life is
    better than one that does, a later loss better than an earlier one, then more points. Plans are made until one
    of at least `Habits.plans` survives, or three times as many have been looked at. The emulator that is recorded is
    only ever stepped forward, so its frames are those that the actions give without all this.
    """

    def __init__(self, emulator: Emulator, random: np.random.Generator):
        self._emulator, self._random = emulator, random
        self._branch = emulator.branch()
        self._habits = HABITS.get(game_key(emulator.game), ANY_GAME)
        numbers = {name: number for number, name in enumerate(emulator.action_names)}
        moves = {name: weight for name, weight in self._habits.moves.items() if name in numbers}
        self._moves = [(numbers[name], numbers.get("FIRE" if name == "NOOP" else f"{name}FIRE")) for name in moves]
        self._weights = np.array(list(moves.values())) / sum(moves.values())
        self._fire = numbers.get("FIRE")
        self._dwell = [self._steps(frames) for frames in self._habits.dwell]
        self._press, self._foresight = self._steps(self._habits.press), self._steps(self._habits.foresight)
        self._plan: list[int] = []

    def act(self) -> int:
        """The next action."""
        if not self._plan:
            self._plan = self._best_plan()
        return self._plan.pop(0)

    def _steps(self, frames: int) -> int:
        return max(1, round(frames / self._emulator.frame_skip))

    def _best_plan(self) -> list[int]:
        habits, best, best_score = self._habits, [], None
        if self._random.random() < habits.carelessness:
            return self._random_plan()
        state, lives = self._emulator.state(), self._emulator.lives
        for tried in range(3 * habits.plans):
            plan = self._random_plan()
            score = self._judge(plan, state, lives)
            if best_score is None or score > best_score:
                best, best_score = plan, score
            if tried + 1 >= habits.plans and best_score[0] == np.inf:
                break
        return best

    def _random_plan(self) -> list[int]:
        habits = self._habits
        move, with_fire = self._moves[self._random.choice(len(self._moves), p=self._weights)]
        length = int(self._random.integers(self._dwell[0], self._dwell[1] + 1))
        shot = with_fire if with_fire is not None else self._fire
        if shot is None or self._random.random() >= habits.fire:
            return [move] * length
        return [shot if step // self._press % 2 == 0 else move for step in range(length)]

    def _judge(self, plan: Sequence[int], state, lives: int) -> tuple[float, float, int]:
        """(steps until a life is lost, infinite if none is; points won; 0 or, for shooting without need, -1)."""
        branch, hit, points = self._branch, self._habits.hit, 0.0
        shots = -len(set(plan)) + 1 if self._habits.thrifty else 0
        branch.follow(state)
        for step in range(len(plan) + self._foresight):
            points += branch.step(plan[step % len(plan)])
            if branch.over or branch.lives < lives or (hit and branch.memory(hit[0]) == hit[1]):
                return step, points, shots
        return np.inf, points, shots


#: Changes whenever a policy plays differently with the same parameters.
VERSION = 2
POLICIES = {"scripted": Scripted, "sticky_random": StickyRandom, "random": Random}


def description(name: str, game: str) -> dict:
    """What the policy's play depends on besides emulator and seed, JSON-serialisable, for manifests."""
    check(name)
    habits = {"habits": dataclasses.asdict(HABITS.get(game_key(game), ANY_GAME))} if name == "scripted" else {}
    keep = {"frames": StickyRandom.FRAMES} if name == "sticky_random" else {}
    return {"name": name, "version": VERSION, **habits, **keep}


def make(name: str, emulator: Emulator, random: np.random.Generator):
    """The policy of that name, an object with `act() -> action`, for one episode.

    Raises:
      UserError: if there is none.
    """
    check(name)
    return POLICIES[name](emulator, random)


def check(name: str) -> None:
    """Raise UserError unless there is a policy of that name."""
    if name not in POLICIES:
        raise UserError(f"policy '{name}' is unknown; expected one of {', '.join(POLICIES)}")
