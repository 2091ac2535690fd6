"""A folder of episodes recorded from settings alone: what is missing is recorded, what exists is checked and kept."""

import json
import os
import pathlib

import gin
from absl import logging
from tqdm import tqdm

from atari_data import labelling, locking
from atari_data.episodes import Settings, file_name, fingerprint
from atari_data.workers import record_all
from silot_tf import files
from silot_tf.data import rollouts
from silot_tf.data.episode_files import EpisodeFile
from silot_tf.data.records import cache_root
from silot_tf.data.rollouts import Rollouts
from silot_tf.errors import UserError


@gin.configurable(module="atari_data")
class Collection:
    """Episodes of a game, recorded when they are first needed.

    Episode i depends on the settings and on i only: neither the number of episodes nor that of processes changes it.
    So a collection can be extended, and one that was interrupted goes on.

    Args:
      game: name of the game, such as "SpaceInvaders".
      episodes: how many.
      seed, policy, max_frames, mode, difficulty, repeat_action_probability, frame_skip, pooled_frames, start_noops,
        labels: see `atari_data.episodes.Settings`.
      folder: where; None for a folder below the cache root whose name follows from game and settings.
      cache_dir: the cache root; None for the environment variable SILOT_TF_CACHE_DIR, else `~/.cache/silot_tf`.
      workers: number of processes; None for one per processor.
    """

    def __init__(
        self,
        game: str,
        episodes: int = 40,
        seed: int = 0,
        policy: str = "scripted",
        max_frames: int = 3000,
        mode: int | None = None,
        difficulty: int | None = None,
        repeat_action_probability: float = 0.0,
        frame_skip: int = 1,
        pooled_frames: int = 1,
        start_noops: int = 30,
        labels: bool = True,
        folder: str | None = None,
        cache_dir: str | None = None,
        workers: int | None = None,
    ):
        self._settings = {
            "game": game,
            "seed": seed,
            "policy": policy,
            "max_frames": max_frames,
            "mode": mode,
            "difficulty": difficulty,
            "repeat_action_probability": repeat_action_probability,
            "frame_skip": frame_skip,
            "pooled_frames": pooled_frames,
            "start_noops": start_noops,
            "labels": labels,
        }
        self._episodes, self._workers = episodes, workers
        self._folder, self._cache_dir = folder, cache_dir

    def open(self) -> Rollouts:
        """The episodes, recorded first as far as they are missing or damaged.

        Raises:
          UserError: for settings out of range, an unknown game, a missing ale-py, a folder with episodes of other
            settings, a disk that is full or read-only. What was finished is kept.
        """
        for name, value in (("episodes", self._episodes), ("workers", self._workers or 1)):
            if not (isinstance(value, int) and value >= 1):
                raise UserError(f"{name} is {value!r}; expected an integer of at least 1")
        work = _Work(Settings(**self._settings), self._episodes, self._folder, self._cache_dir)
        if not work.is_complete():
            with locking.hold(work.folder):
                work.record(self._workers or _processors())
        return Rollouts.open(work.folder, work.settings.game, self._episodes)


class _Work:
    """A collection with its settings checked."""

    def __init__(self, settings: Settings, episodes: int, folder, cache_dir):
        game = settings.start(0)
        self.settings, self.source = settings, settings.source(game)
        self._frame_shape = game.frame_shape
        self.labels = labelling.parameters() if settings.labels else None
        self.mark = fingerprint(self.source, self.labels)
        self._episodes = episodes
        name = f"{settings.game}-{settings.policy}-seed{settings.seed}-{self.mark[:8]}"
        self.folder = pathlib.Path(folder).expanduser() if folder else cache_root(cache_dir) / "atari" / name

    def is_complete(self) -> bool:
        """Whether all episodes are there, whole, and listed by the manifest."""
        listed = {entry["episode"] for entry in (rollouts.read_manifest(self.folder) or {"episodes": []})["episodes"]}
        return set(range(self._episodes)) <= listed & self._finished().keys()

    def record(self, workers: int) -> None:
        """Record what is missing. The manifest is brought up to date after each episode."""
        files.remove_unfinished(self.folder)
        done = self._finished()
        requested = max(self._episodes, (rollouts.read_manifest(self.folder) or {}).get("requested") or 0)
        missing = [episode for episode in range(self._episodes) if episode not in done]
        self._write_manifest(done, requested)
        frames, title = 0, f"recording {self.settings.game}"
        try:
            with tqdm(total=self._episodes, initial=self._episodes - len(missing), desc=title, unit="episode") as bar:
                for entry in record_all(self.settings, missing, self.folder, self.mark, workers):
                    done[entry["episode"]] = entry
                    self._write_manifest(done, requested)
                    frames += entry["frames"]
                    bar.set_postfix_str(f"{frames:,} frames")
                    bar.update()
        finally:
            files.remove_unfinished(self.folder)

    def _finished(self) -> dict[int, dict]:
        """Entries of the episodes on disk that are whole and of these settings, by number."""
        manifest = rollouts.read_manifest(self.folder)
        if manifest is not None:
            self._check_same(manifest)
        listed = {entry["episode"]: entry for entry in (manifest or {"episodes": []})["episodes"]}
        done = {}
        for path in sorted(self.folder.glob("episode-*.npz")):
            number = path.stem.removeprefix("episode-")
            if not number.isdigit() or path.name != file_name(int(number)):
                continue
            episode = int(number)
            try:
                if episode in listed:
                    rollouts.verify(path, listed[episode], "it is recorded again")
                    done[episode] = listed[episode]
                else:  # finished just before an interruption, or damaged
                    done[episode] = self._entry(path)
            except _Foreign:
                raise
            except UserError as error:
                logging.warning("%s", error)
        return dict(sorted(done.items()))

    def _entry(self, path: pathlib.Path) -> dict:
        file = EpisodeFile(path, "it is recorded again")
        if file.header["notes"].get("settings") != self.mark:
            raise _Foreign(
                f"{path} was recorded with other settings, and no manifest lists it; name another folder, or move the "
                "file away"
            )
        return file.entry()

    def _check_same(self, manifest: dict) -> None:
        stored = {**manifest["source"], "game": manifest["game"], "labels": manifest["labels"]}
        wanted = {**self.source, "game": self.settings.game, "labels": self.labels}
        wanted = json.loads(json.dumps(wanted))
        differences = [
            f"{name}: {_short(there, now)} there, {_short(now, there)} now"
            for name, there, now in ((key, stored.get(key), wanted.get(key)) for key in sorted({*stored, *wanted}))
            if there != now
        ]
        if differences:
            raise UserError(
                f"{self.folder} holds episodes recorded with other settings ({'; '.join(differences)}); name another "
                "folder, or repeat those settings"
            )

    def _write_manifest(self, done: dict[int, dict], requested: int) -> None:
        rollouts.write_manifest(
            self.folder,
            game=self.settings.game,
            frame_shape=self._frame_shape,
            source=self.source,
            labels=self.labels,
            episodes=[done[episode] for episode in sorted(done)],
            requested=requested,
            command=self.settings.command(requested),
        )


class _Foreign(UserError):
    """A file that must not be overwritten."""


def _processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _short(value, other) -> str:
    """A setting for an error message; of dictionaries only what differs from `other`."""
    if isinstance(value, dict) and isinstance(other, dict):
        value = {key: part for key, part in value.items() if other.get(key) != part}
    return json.dumps(value)
