"""Recorded episodes of a game or another environment: a folder of episode files with a manifest, checked when opened.

The manifest says how everything came about (`atari_data` writes it) and holds a checksum per file. This module knows
neither emulator nor TensorFlow.
"""

import hashlib
import json
import pathlib
import re

import numpy as np

from silot_tf import files
from silot_tf.data.episode_files import FORMAT_VERSION, EpisodeFile, write_episode, write_file
from silot_tf.errors import UserError

__all__ = ["MANIFEST", "Rollouts", "game_key", "read_manifest", "write_episode", "write_manifest"]

MANIFEST = "manifest.json"

_verified = set()  # (folder, checksum of the manifest, number of episodes) that this process has compared


class Rollouts:
    """Recorded episodes, all of one frame size. Made by `Rollouts.open`.

    Attributes:
      folder: where they lie.
      manifest: what the recorder wrote: `game`, `frame_shape`, `source` (emulator, mode, policy, seed ...), `labels`
        (parameters of the labelling, None without labels), `episodes` (an entry per file).
      game: name of the game, such as "SpaceInvaders".
      frame_shape: (H, W, 3), pixels.
      num_episodes: number of episodes.
      lengths: frames of each episode.
    """

    def __init__(self, folder: pathlib.Path, manifest: dict):
        self.folder, self.manifest = folder, manifest
        self.game = manifest["game"]
        self.frame_shape = tuple(manifest["frame_shape"])
        self.lengths = tuple(entry["frames"] for entry in manifest["episodes"])
        self.num_episodes = len(self.lengths)
        self._files = {}

    @classmethod
    def open(cls, folder, game: str | None = None, episodes: int | None = None) -> "Rollouts":
        """The episodes in `folder`, after comparing sizes and checksums with the manifest (once per process).

        Args:
          folder: written by `atari_data`.
          game: which one they must be of, in any spelling (`SpaceInvaders`, `space_invaders`,
            `SpaceInvadersNoFrameskip-v4`); None accepts any.
          episodes: use only this many, the first ones; None for all.

        Raises:
          UserError: naming the file that is missing or differs, or what else the folder should hold, and the cure.
        """
        folder = pathlib.Path(folder).expanduser()
        manifest = read_manifest(folder)
        path = folder / MANIFEST
        if manifest is None:
            raise UserError(
                f"{path} does not exist; expected a folder of recorded episodes: record some by "
                f"'python -m atari_data.collect --game={game or 'SpaceInvaders'} --out={folder}'"
            )
        if game is not None and game_key(game) != game_key(manifest["game"]):
            raise UserError(
                f"{path} is of {manifest['game']}, expected {game}; name the folder of that game, or that game"
            )
        wanted = episodes or manifest["requested"] or max(1, len(manifest["episodes"]))
        manifest["episodes"] = [entry for entry in manifest["episodes"] if entry["episode"] < wanted]
        if len(manifest["episodes"]) < wanted:
            raise UserError(
                f"{path} lists {len(manifest['episodes'])} of {wanted} episodes: recording was interrupted, or is "
                f"still going on; {_cure(manifest, folder, wanted)}; or ask for fewer episodes"
            )
        key = (folder.resolve(), hashlib.sha256(path.read_bytes()).hexdigest(), len(manifest["episodes"]))
        if key not in _verified:
            for entry in manifest["episodes"]:
                verify(folder / entry["file"], entry, _cure(manifest, folder))
            _verified.add(key)
        return cls(folder, manifest)

    def frames(self, episode: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """uint8 `[E,H,W,3]`: the episode's frames, or only those from `start` to `stop - 1`."""
        return self._file(episode).frames(start, stop)

    def labels(self, episode: int) -> dict[str, np.ndarray] | None:
        """Labels of the episode's frames: `boxes [E,N,4]`, `valid [E,N]`, `colour [E,N,3]`, `track_id [E,N]`.

        See `silot_tf.data.colour_components`; None where the recorder was told not to label.
        """
        return self._file(episode).labels()

    def steps(self, episode: int) -> tuple[np.ndarray, np.ndarray]:
        """Actions `[E]` and rewards `[E]`; row t belongs to the step that led to frame t (row 0: -1 and 0)."""
        return self._file(episode).steps()

    def description(self) -> dict:
        """What identifies the content, JSON-serialisable: equal for equal episodes, wherever they lie.

        `content_sha256` is of frames, actions and rewards; `labels` are the parameters of the labelling.
        """
        checksums = [entry["content_sha256"] for entry in self.manifest["episodes"]]
        return {
            "game": self.game,
            "frame_shape": list(self.frame_shape),
            "episodes": self.num_episodes,
            "frames": sum(self.lengths),
            "content_sha256": hashlib.sha256("".join(checksums).encode()).hexdigest(),
            "labels": self.manifest["labels"],
        }

    def _file(self, episode: int) -> EpisodeFile:
        if episode not in self._files:
            entry = self.manifest["episodes"][episode]
            self._files[episode] = EpisodeFile(self.folder / entry["file"], _cure(self.manifest, self.folder))
        return self._files[episode]


def game_key(name: str) -> str:
    """Lower-case letters and digits of a game's name, without the decoration of environment names.

    >>> game_key("ALE/SpaceInvaders-v5") == game_key("SpaceInvadersNoFrameskip-v4") == game_key("space_invaders")
    True
    """
    name = re.sub(r"^.*/", "", name.strip())
    name = re.sub(r"-v\d+$", "", name)
    name = re.sub(r"(?:-ram)?(?:NoFrameskip|Deterministic)?$", "", name)
    return re.sub(r"[^a-z0-9]", "", name.lower())


def write_manifest(
    folder, *, game: str, frame_shape, source: dict, labels, episodes, requested: int | None, command: str | None
) -> None:
    """Write a folder's manifest, whole or not at all.

    Args:
      folder: of the episode files.
      game: name of the game.
      frame_shape: (H, W, 3).
      source: how the episodes came about, JSON-serialisable.
      labels: parameters of the labelling, JSON-serialisable; None without labels.
      episodes: entries as `EpisodeWriter.save` returns them.
      requested: how many there shall be in the end; None where that is open.
      command: what records the same again, without the folder; None where nothing does.
    """
    manifest = {
        "format": FORMAT_VERSION,
        "game": game,
        "frame_shape": list(frame_shape),
        "source": source,
        "labels": labels,
        "requested": requested,
        "command": command,
        "episodes": list(episodes),
    }
    write_file(pathlib.Path(folder) / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def read_manifest(folder) -> dict | None:
    """The manifest of a folder, None if it has none.

    Raises:
      UserError: if it is damaged or of another format version.
    """
    path = pathlib.Path(folder) / MANIFEST
    cure = "restore it, or move the folder away and record again"
    manifest = files.read_json_object(path, cure)
    if not manifest:
        if path.exists():
            raise UserError(f"{path} is empty; expected the manifest of recorded episodes: {cure}")
        return None
    if manifest.get("format") != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {manifest.get('format')}, expected {FORMAT_VERSION}; record the episodes "
            "again, or use the version of silot_tf that recorded them"
        )
    try:
        names = ("file", "episode", "frames", "bytes", "sha256", "content_sha256")
        entries = [[entry[name] for name in names] for entry in manifest["episodes"]]
        known = (
            len(manifest["frame_shape"]) == 3
            and {"game", "source", "labels", "requested", "command"} <= manifest.keys()
        )
        if not known or not all(isinstance(e[0], str) and e[0] == pathlib.PurePath(e[0]).name for e in entries):
            raise ValueError("entries are missing")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no manifest of recorded episodes ({error!r}); {cure}") from error
    return manifest


def verify(path: pathlib.Path, entry: dict, cure: str) -> None:
    """Raise UserError unless the file has the size and checksum of its manifest entry."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}), its manifest lists it; {cure}") from error
    if len(data) != entry["bytes"]:
        raise UserError(f"{path} has {len(data)} bytes, its manifest says {entry['bytes']}; {cure}")
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise UserError(f"{path} has changed since it was recorded (its checksum differs from the manifest's); {cure}")


def _cure(manifest: dict, folder: pathlib.Path, episodes: int | None = None) -> str:
    """How to mend a folder: what a command recorded, the same command records again."""
    command = manifest["command"]
    if command is None:
        return "restore the file or record more, or remove the folder and record again"
    if episodes is not None:
        command = re.sub(r"--episodes=\d+", f"--episodes={episodes}", command)
    return f"'{command} --out={folder}' records what is missing or damaged, and keeps the rest"
