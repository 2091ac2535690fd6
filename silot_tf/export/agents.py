"""Objects in place of pixels for agents: gymnasium wrappers around an exported model.

    import ale_py, gymnasium
    from silot_tf.export.agents import ObjectObservation

    env = ObjectObservation(gymnasium.make("ALE/SpaceInvaders-v5"), "exports/space_invaders")
    observation, info = env.reset(seed=0)
    observation["objects"]     # [K, 6 + A]: presence, y, x, height, width, depth, appearance; rows of zeros: no object
    observation["ids"]         # [K], -1 for no object; an object keeps its row and its id while it is followed

Only the folder of the export is needed, no code of any model. The wrappers own the model's state: an environment that
starts over starts over in the model too. Needs the extra `atari` (gymnasium).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from silot_tf.errors import UserError
from silot_tf.export import drawing
from silot_tf.export.frames import FramesOfEnvironment, View
from silot_tf.export.reading import ExportedModel

try:
    import gymnasium
    from gymnasium.vector import AutoresetMode
    from gymnasium.vector.utils import batch_space
except ImportError as error:
    raise UserError(
        f"gymnasium cannot be imported ({error}); expected the packages of the extra: pip install 'silot_tf[atari]'"
    ) from error

#: Columns of the table before those of the appearance.
COLUMNS = ("presence", "y", "x", "height", "width", "depth")


class ObjectObservation(gymnasium.ObservationWrapper):
    """Observations of one environment are the objects in its frames.

    `observation_space` is a dictionary: `objects`, float32 `[K, 6 + A]` with the columns of the attribute `columns`,
    and `ids`, int64 `[K]`. Slots that hold no object with an id are rows of zeros with id -1. Ids go on counting from
    episode to episode, so that none is ever given twice, until `reset` is given a seed, which repeats everything.

    Args:
      env: an environment (not a vector of them) with RGB frames: uint8 `[H,W,3]` observations, or `render`.
      export: folder of the export, or an `ExportedModel` that several wrappers share. One that takes a single channel
        is shown the mean of the three colours.
      frames: "observation" or "render", where frames come from; None for observations where these are images.
      crop: (top, left, height, width) in pixels, the part of the frames that the model sees; None for all of it.
      resize: whether frames of another size than the export's are resized. Never done unasked: objects of another
        size than in training are not found.
      appearance: whether rows end with the appearance vector.
      pixels: boxes in pixels of the environment's frames; False for fractions of them.
      flat: observations are one vector, the table row after row, for libraries that want vectors; ids are then in
        `info["ids"]` alone.
      seed: two numbers that decide the model's noise.
      render_scale: by how much `render` enlarges frames, a whole number.

    Raises:
      UserError: if frames are no RGB images, or of another size or number of channels than the export takes.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        export,
        *,
        frames: str | None = None,
        crop=None,
        resize: bool = False,
        appearance: bool = True,
        pixels: bool = True,
        flat: bool = False,
        seed=(0, 0),
        render_scale: int = 2,
    ):
        super().__init__(env)
        self._source = FramesOfEnvironment(env, frames)
        options = _Options(crop, resize, appearance, pixels, seed, render_scale)
        self._objects = _Objects(export, 1, self._source.shape, options)
        self.columns, self._flat = self._objects.columns, flat
        self.observation_space = _flat_space(self._objects.space) if flat else self._objects.space
        self._begins = True

    def reset(self, *, seed=None, options=None):
        """See gymnasium; the model starts over too."""
        self._begins = True
        if seed is not None:
            self._objects.forget_ids()
        observation, info = super().reset(seed=seed, options=options)
        return observation, self._with_ids(info)

    def step(self, action):
        """See gymnasium."""
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, self._with_ids(info)

    def observation(self, observation):
        """The objects of the next frame. Not for calling: every call is a step of the model."""
        frame = self._source.of(observation)[None]
        begins, self._begins = self._begins, False
        self._last = _row(self._objects.step(frame, np.array([begins])), 0)
        return self._last["objects"].ravel() if self._flat else self._last

    def render(self):
        """The last frame with its boxes, uint8 `[scale * H, scale * W, 3]`; for "human", what the environment does."""
        if self.render_mode not in (None, "rgb_array"):
            return self.env.render()
        return self._objects.drawn(0)

    def _with_ids(self, info: dict) -> dict:
        return info | {"ids": self._last["ids"]} if self._flat else info


class VectorObjectObservation(gymnasium.vector.VectorWrapper):
    """`ObjectObservation` for a vector of environments, which the model follows all at once.

    All ways of autoreset are understood: the model of an environment starts over with its first new frame. With
    `AutoresetMode.SAME_STEP`, `infos["final_obs"]` holds objects too.

    Args:
      env: a vector environment whose observations are RGB frames, uint8 `[N,H,W,3]`.
      export, crop, resize, appearance, pixels, flat, seed, render_scale: as for `ObjectObservation`.
    """

    def __init__(
        self,
        env: gymnasium.vector.VectorEnv,
        export,
        *,
        crop=None,
        resize: bool = False,
        appearance: bool = True,
        pixels: bool = True,
        flat: bool = False,
        seed=(0, 0),
        render_scale: int = 2,
    ):
        super().__init__(env)
        shape = FramesOfEnvironment.checked_shape(env.single_observation_space, "observations")
        options = _Options(crop, resize, appearance, pixels, seed, render_scale)
        self._objects = _Objects(export, self.num_envs, shape, options)
        self.columns, self._flat = self._objects.columns, flat
        self.single_observation_space = _flat_space(self._objects.space) if flat else self._objects.space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._mode = self.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._ended = np.zeros(self.num_envs, bool)
        self._last = None

    def reset(self, *, seed=None, options=None):
        """See gymnasium; with `options["reset_mask"]` only these environments and their models start over."""
        mask = np.ones(self.num_envs, bool) if not options else options.get("reset_mask")
        mask = np.ones(self.num_envs, bool) if mask is None else np.array(mask, bool)
        frames, infos = self.env.reset(seed=seed, options=options)
        if seed is not None and mask.all():
            self._objects.forget_ids()
        table = self._objects.step(frames, mask, only=mask)
        self._last = table if self._last is None else _rows_where(mask, table, self._last)
        self._ended = self._ended & ~mask
        return self._seen(self._last, infos)

    def step(self, actions):
        """See gymnasium."""
        frames, rewards, terminations, truncations, infos = self.env.step(actions)
        ended = np.asarray(terminations | truncations, bool)
        if self._mode == AutoresetMode.SAME_STEP and ended.any():
            table = self._same_step(np.array(frames), ended, infos)
        else:
            began = self._ended if self._mode == AutoresetMode.NEXT_STEP else np.zeros_like(ended)
            table = self._objects.step(frames, began)
            self._ended = ended
        self._last = table
        observations, infos = self._seen(table, infos)
        return observations, rewards, terminations, truncations, infos

    def render(self) -> tuple:
        """The last frame of each environment with its boxes."""
        return tuple(self._objects.drawn(i) for i in range(self.num_envs))

    def _seen(self, table: dict, infos: dict):
        """Observations, and infos with ids where observations have none."""
        if self._flat:
            return table["objects"].reshape(self.num_envs, -1), infos | {"ids": table["ids"]}
        return dict(table), infos

    def _same_step(self, frames, ended, infos) -> dict:
        """Objects where some environments have already started over, and `infos["final_obs"]` of these."""
        last = frames.copy()
        for i in np.flatnonzero(ended):
            last[i] = infos["final_obs"][i]
        final = self._objects.step(last, np.zeros_like(ended))
        infos["final_obs"] = np.empty(self.num_envs, object)
        for i in np.flatnonzero(ended):
            infos["final_obs"][i] = final["objects"][i].ravel() if self._flat else _row(final, i)
        return _rows_where(ended, self._objects.step(frames, ended, only=ended), final)


class _Options(NamedTuple):
    """What both wrappers take, see `ObjectObservation`."""

    crop: Sequence[int] | None
    resize: bool
    appearance: bool
    pixels: bool
    seed: Sequence[int]
    render_scale: int


class _Objects:
    """The model, its state, and the last frames and boxes of `streams` environments."""

    def __init__(self, export, streams: int, shape, options: _Options):
        self._exported = export if isinstance(export, ExportedModel) else ExportedModel(export)
        self._options = options
        self._view = View(shape, self._exported.frame_shape, options.crop, options.resize)
        self._unit = np.ones(4, np.float32) if options.pixels else 1 / np.tile(np.array(shape[:2], np.float32), 2)
        slots, size = self._exported.num_slots, self._exported.appearance_size if options.appearance else 0
        self.columns = COLUMNS + tuple(f"appearance_{i}" for i in range(size))
        low = np.full((slots, len(self.columns)), -np.inf, np.float32)
        low[:, 0] = 0
        high = np.full_like(low, np.inf)
        high[:, 0] = 1
        ids = gymnasium.spaces.Box(-1, np.iinfo(np.int64).max, (slots,), np.int64)
        self.space = gymnasium.spaces.Dict({"objects": gymnasium.spaces.Box(low, high), "ids": ids})
        self._state = self._exported.initial_state(streams)
        self._first_id, self._next_id = np.zeros((2, streams, 1), np.int64)
        self._frames, self._boxes, self._ids = [None] * streams, [None] * streams, [None] * streams

    def forget_ids(self) -> None:
        """Count ids from 0 again, from the next reset on."""
        self._next_id[:] = 0

    def step(self, frames, reset, only=None) -> dict[str, np.ndarray]:
        """Objects of the next frame of every stream; streams outside of `only` stay where they are."""
        table, state = self._exported.step(self._view.of(frames), self._state, reset=reset, seed=self._options.seed)
        only = np.ones(len(reset), bool) if only is None else only
        self._state = state if only.all() else self._exported.merge(only, state, self._state)
        starts = (reset & only)[:, None]
        first_id = np.where(starts, self._next_id, self._first_id)
        shown = table["ids"] >= 0
        ids = np.where(shown, table["ids"] + first_id, -1)
        self._first_id = np.where(only[:, None], first_id, self._first_id)
        self._next_id = np.where(
            only[:, None], np.maximum(self._next_id, ids.max(axis=1, keepdims=True) + 1), self._next_id
        )
        boxes = self._view.back(table["boxes"])
        for i in np.flatnonzero(only):
            self._frames[i] = np.array(frames[i])
            self._boxes[i], self._ids[i] = boxes[i, shown[i]], ids[i, shown[i]]
        parts = [table["presence"][..., None], boxes * self._unit, table["depth"][..., None]]
        parts += [table["appearance"]] if self._options.appearance else []
        objects = np.concatenate(parts, axis=-1).astype(np.float32)
        return {"objects": np.where(shown[..., None], objects, np.float32(0)), "ids": ids}

    def drawn(self, i: int) -> np.ndarray:
        """The last frame of a stream with its boxes."""
        if self._frames[i] is None:
            raise UserError("render was called before the first frame; expected reset() first")
        return drawing.draw_boxes(self._frames[i], self._boxes[i], self._ids[i], self._options.render_scale)


def _flat_space(space):
    table = space["objects"]
    return gymnasium.spaces.Box(table.low.ravel(), table.high.ravel())


def _row(table: dict, i: int) -> dict:
    return {name: value[i] for name, value in table.items()}


def _rows_where(where, first: dict, second: dict) -> dict:
    """Rows of `first` where `where [N]`, else of `second`."""
    return {
        name: np.where(where.reshape([-1] + [1] * (value.ndim - 1)), value, second[name])
        for name, value in first.items()
    }
