"""One episode of a collection: everything about it follows from the settings and its number."""

import dataclasses
import hashlib
import json
import numbers
import pathlib

import numpy as np

from atari_data import emulator, labelling, policies
from silot_tf.data.episode_files import EpisodeWriter
from silot_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides the content of a collection; episode i is the same in collections of any size.

    Args:
      game: any spelling; kept as in `emulator.games`.
      seed: of the collection, 0 to 2^31 - 1.
      policy: one of `policies.POLICIES`.
      max_frames: recorded frames after which an episode is cut.
      mode: of the game; None for its default.
      difficulty: of the game; None for its default.
      repeat_action_probability: see `emulator.Emulator`; 0 as in `...NoFrameskip-v4`.
      frame_skip: emulated frames per recorded one; 1 as in `...NoFrameskip-v4`. Frames in between are not looked at,
        unless pooled.
      pooled_frames: of how many of the last emulated frames each recorded one shows the largest values; 1 records what
        the console draws, 2 also what it draws only every second frame. Agents are usually shown 2 of 4 (frame_skip).
      start_noops: largest number of steps without action before the first recorded frame; the number is drawn per
        episode, as usual in reinforcement learning on these games, whose starts would otherwise be all the same.
      labels: whether to store connected-component labels with the frames.

    Raises:
      UserError: for values out of range, unknown games and policies, or without ale-py.
    """

    game: str
    seed: int = 0
    policy: str = "scripted"
    max_frames: int = 3000
    mode: int | None = None
    difficulty: int | None = None
    repeat_action_probability: float = 0.0
    frame_skip: int = 1
    pooled_frames: int = 1
    start_noops: int = 30
    labels: bool = True

    def __post_init__(self):
        object.__setattr__(self, "game", emulator.game_name(self.game))
        policies.check(self.policy)
        for name, low, high in (
            ("seed", 0, 2**31 - 1),
            ("max_frames", 1, 108_000),
            ("repeat_action_probability", 0, 1),
            ("frame_skip", 1, 60),
            ("pooled_frames", 1, 4),
            ("start_noops", 0, 1000),
        ):
            value = getattr(self, name)
            kind, types = (
                ("a number", numbers.Real) if name.endswith("probability") else ("an integer", numbers.Integral)
            )
            if not (isinstance(value, types) and low <= value <= high):
                raise UserError(f"{name} is {value!r}; expected {kind} from {low} to {high}")

    def source(self, game: "emulator.Emulator") -> dict:
        """All of it and what else decides the content, JSON-serialisable, for manifests and comparisons.

        Args:
          game: started with these settings; it knows the mode and difficulty that are defaults.
        """
        settings = dataclasses.asdict(self) | {"policy": policies.description(self.policy, self.game)}
        del settings["labels"]  # the parameters of the labelling say more
        return settings | game.settings()

    def command(self, episodes: int) -> str:
        """The command that records a collection of these settings, without its folder."""
        flags = [f"--game={self.game}", f"--episodes={episodes}", f"--seed={self.seed}"]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in ("game", "seed") and value != field.default:
                flags.append(f"--{field.name}={str(value).lower() if isinstance(value, bool) else value}")
        return " ".join(["python -m atari_data.collect", *flags])

    def start(self, episode: int) -> "emulator.Emulator":
        """The emulator for an episode, just reset."""
        return emulator.Emulator(
            self.game,
            seed=self.episode_seed(episode),
            mode=self.mode,
            difficulty=self.difficulty,
            repeat_action_probability=self.repeat_action_probability,
            frame_skip=self.frame_skip,
            pooled_frames=self.pooled_frames,
        )

    def episode_seed(self, episode: int) -> int:
        """Seed of an episode, of the emulator as of the policy."""
        return int(np.random.SeedSequence([self.seed, episode]).generate_state(1)[0] >> 1)


def fingerprint(source: dict, labels: dict | None) -> str:
    """Short checksum of what decides an episode's content; kept in its file, so that it tells where it belongs."""
    return hashlib.sha256(json.dumps([source, labels], sort_keys=True).encode()).hexdigest()[:16]


def file_name(episode: int) -> str:
    """Name of an episode's file."""
    return f"episode-{episode:05d}.npz"


def record(settings: Settings, episode: int, folder, mark: str) -> dict:
    """Play an episode and write its file into `folder`; return its entry for the manifest.

    Args:
      settings: of the collection.
      episode: its number, from 0.
      folder: of the collection.
      mark: the collection's `fingerprint`.

    Raises:
      UserError: if the file cannot be written.
    """
    game, random = settings.start(episode), np.random.default_rng(settings.episode_seed(episode))
    noops = int(random.integers(settings.start_noops + 1))
    for _ in range(noops):
        game.step(0)
    policy = policies.make(settings.policy, game, random)
    writer = EpisodeWriter()
    writer.add(game.frame())
    while writer.num_frames < settings.max_frames and not game.over:
        action = policy.act()
        reward = game.step(action)
        writer.add(game.frame(), action, reward)
    notes = {
        "episode": episode,
        "seed": settings.episode_seed(episode),
        "start_noops": noops,
        "score": writer.score,
        "ended": "game over" if game.over else "max_frames",
        "settings": mark,
    }
    labels = labelling.label(writer.iterate()) if settings.labels else None
    return writer.save(pathlib.Path(folder) / file_name(episode), labels, notes)
