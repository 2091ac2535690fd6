"""Recording what an agent of one's own sees: a wrapper around any gymnasium environment with pixels.

    env = gymnasium.make("SpaceInvadersNoFrameskip-v4")   # import ale_py first
    env = Recorder(env, "rollouts/my_agent", game="SpaceInvaders")
    env = whatever_the_agent_needs(env)                   # resizing, grey, stacking: outside of the recorder

Episodes go into the folder in the format of `silot_tf.data.rollouts`, one file each, and the manifest is brought up to
date with every file; so the folder can be opened at any time, and a later recorder goes on with the next number.
"""

import pathlib
from collections.abc import Mapping

import numpy as np

from atari_data import labelling, locking
from silot_tf import files
from silot_tf.data import rollouts
from silot_tf.data.episode_files import NO_ACTION, EpisodeFile, EpisodeWriter
from silot_tf.errors import UserError

try:
    import gymnasium
except ImportError as error:
    raise UserError(
        f"gymnasium cannot be imported ({error}); expected the packages of the extra: pip install 'silot_tf[atari]'"
    ) from error

_ACTION_SPACES = (
    gymnasium.spaces.Discrete,
    gymnasium.spaces.MultiDiscrete,
    gymnasium.spaces.MultiBinary,
    gymnasium.spaces.Box,
)


class Recorder(gymnasium.Wrapper):
    """Passes everything through and records raw frames, actions and rewards.

    An episode is written when it ends, when the environment is reset, or when it is closed; one without a step is
    not. Use it as a context manager, or call `close`, to keep the last episode.

    Args:
      env: not a vector environment; wrap each of several environments, with a folder each.
      folder: of the recordings; created if it does not exist. One recorder at a time.
      game: name for the manifest; None for that of the environment.
      frames: "observation" for observations that are RGB images, "render" for `env.render()`; None takes observations
        if they are images, otherwise `render`.
      labels: store connected-component labels with the frames, see `silot_tf.data.colour_components`.
      max_frames: after so many frames an episode is written and another file begun, without a reset; bounds memory and
        the length of files.
      about: anything that tells later where the episodes came from, such as {"agent": "PPO, 3M steps"};
        JSON-serialisable. It must be the same each time a folder is added to.

    Raises:
      UserError: if frames are not RGB images, if the folder holds episodes of another game, frame size or origin, or
        cannot be written.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        folder,
        *,
        game: str | None = None,
        frames: str | None = None,
        labels: bool = True,
        max_frames: int = 10_000,
        about: Mapping | None = None,
    ):
        super().__init__(env)
        if max_frames < 2:
            raise UserError(f"Recorder: max_frames is {max_frames}; expected at least 2")
        if not isinstance(env.action_space, _ACTION_SPACES):
            raise UserError(f"Recorder: actions are {env.action_space}; expected numbers or arrays of numbers")
        self._folder = pathlib.Path(folder).expanduser()
        self._from_render = _from_render(env, frames)
        spec = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
        self._game = game or spec
        self._source = {"recorder": "atari_data.Recorder", "environment": spec, **(about or {})}
        self._source |= _emulator_settings(env)
        self._labels = labelling.parameters() if labels else None
        self._max_frames = max_frames
        self._lock = locking.hold(self._folder)
        self._entries, self._shape = self._resume()
        self._writer = None

    def reset(self, **kwargs):
        """See gymnasium; begins an episode."""
        self._finish("reset")
        observation, info = self.env.reset(**kwargs)
        self._begin(self._frame(observation))
        return observation, info

    def step(self, action):
        """See gymnasium; records the frame that the action led to."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self._writer is not None:  # None after the end of an episode, and before the first reset
            if self._writer.num_frames == self._max_frames:
                self._finish("max_frames")
                self._writer = EpisodeWriter()
            self._writer.add(self._frame(observation), _plain(action), float(reward))
            if terminated or truncated:
                self._finish("terminated" if terminated else "truncated")
        return observation, reward, terminated, truncated, info

    def close(self):
        """Write the running episode and close the environment."""
        self._finish("closed")
        self._lock.close()
        super().close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def num_episodes(self) -> int:
        """Episodes in the folder."""
        return len(self._entries)

    def _begin(self, frame: np.ndarray) -> None:
        self._writer = EpisodeWriter()
        self._writer.add(frame, self._no_action())

    def _no_action(self):
        """What stands for an action in the first row: as many numbers as an action has."""
        whole = np.issubdtype(self.action_space.dtype, np.integer)
        return _plain(np.full(self.action_space.shape, NO_ACTION if whole else np.nan))

    def _frame(self, observation) -> np.ndarray:
        frame = np.asarray(self.env.render() if self._from_render else observation)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
            what = "env.render()" if self._from_render else "the observation"
            raise UserError(
                f"Recorder: {what} is {frame.dtype} of shape {list(frame.shape)}; expected an RGB image, uint8 "
                "[height, width, 3]: put the recorder inside of wrappers that change frames, or make the environment "
                "with render_mode='rgb_array' and record frames='render'"
            )
        if self._shape is None:
            self._shape = frame.shape
        elif frame.shape != self._shape:
            raise UserError(
                f"Recorder: a frame is of shape {list(frame.shape)}, {self._folder} holds {list(self._shape)}; name "
                "another folder"
            )
        return frame

    def _finish(self, why: str) -> None:
        """Write the running episode, if it has a step."""
        writer, self._writer = self._writer, None
        if writer is None or writer.num_frames < 2:
            return
        episode = len(self._entries)
        notes = {"episode": episode, "score": writer.score, "ended": why, "settings": "recorder"}
        labels = labelling.label(writer.iterate()) if self._labels is not None else None
        self._entries.append(writer.save(self._folder / f"episode-{episode:05d}.npz", labels, notes))
        self._write_manifest()

    def _resume(self) -> tuple[list[dict], tuple | None]:
        """Entries and frame shape of what the folder holds."""
        manifest = rollouts.read_manifest(self._folder)
        entries = [] if manifest is None else manifest["episodes"]
        if manifest is not None:
            for what, stored, own in (
                ("game", manifest["game"], self._game),
                ("origin", manifest["source"], self._source),
                ("labels", manifest["labels"], self._labels),
            ):
                if stored != own:
                    raise UserError(f"{self._folder} holds episodes of {what} {stored}, not {own}; name another folder")
            for entry in entries:
                rollouts.verify(self._folder / entry["file"], entry, "restore the file, or name another folder")
        files.remove_unfinished(self._folder)
        # A file that was finished just before a crash, and that the manifest does not list yet, is kept.
        while (path := self._folder / f"episode-{len(entries):05d}.npz").exists():
            entries.append(EpisodeFile(path, "move it away").entry())
        return entries, tuple(manifest["frame_shape"]) if manifest is not None else None

    def _write_manifest(self) -> None:
        rollouts.write_manifest(
            self._folder,
            game=self._game,
            frame_shape=self._shape,
            source=self._source,
            labels=self._labels,
            episodes=self._entries,
            requested=None,
            command=None,
        )


def _from_render(env: gymnasium.Env, frames: str | None) -> bool:
    space = env.observation_space
    image = getattr(space, "dtype", None) == np.uint8 and len(space.shape or ()) == 3 and space.shape[-1] == 3
    if frames not in (None, "observation", "render"):
        raise UserError(f"Recorder: frames is '{frames}'; expected 'observation', 'render' or None")
    from_render = frames == "render" or (frames is None and not image)
    if from_render and env.render_mode != "rgb_array":
        raise UserError(
            f"Recorder: observations are {space}, no RGB images, and render_mode is {env.render_mode!r}; expected "
            "images: make the environment with render_mode='rgb_array', or put the recorder inside of wrappers that "
            "change frames"
        )
    return from_render


def _emulator_settings(env: gymnasium.Env) -> dict:
    """What an Atari environment was made with; nothing for other environments."""
    ale = getattr(env.unwrapped, "ale", None)
    if ale is None:
        return {}
    from atari_data.emulator import version

    state = ale.cloneState()
    arguments = env.spec.kwargs if env.spec is not None else {}
    return {
        "ale_py": version(),
        "mode": state.getCurrentMode(),
        "difficulty": state.getDifficulty(),
        "repeat_action_probability": ale.getFloat("repeat_action_probability"),
        "frame_skip": arguments.get("frameskip"),
    }


def _plain(action):
    """An action as a number or an array of numbers."""
    action = np.asarray(action)
    return action.item() if action.ndim == 0 else action.ravel()
