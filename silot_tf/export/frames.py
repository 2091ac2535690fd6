"""Frames of environments: where they come from, and the part of them that an exported model sees."""

import cv2
import numpy as np

from silot_tf.errors import UserError


class FramesOfEnvironment:
    """Takes RGB frames from an environment's observations, or from its `render`.

    Args:
      env: a gymnasium environment.
      frames: "observation", "render", or None for observations where these are images, else `render`.

    Raises:
      UserError: if there are no RGB frames where they are looked for.

    Attributes:
      shape: (H, W, 3); with `render`, that of the first frame, which needs an environment that has been reset.
    """

    def __init__(self, env, frames: str | None):
        if frames not in (None, "observation", "render"):
            raise UserError(f"ObjectObservation: frames is '{frames}'; expected 'observation', 'render' or None")
        self._env = env
        self._rendered = frames == "render" or (frames is None and not is_image(env.observation_space))
        if not self._rendered:
            self.shape = self.checked_shape(env.observation_space, "observations")
            return
        if env.render_mode != "rgb_array":
            raise UserError(
                f"ObjectObservation: observations are {env.observation_space}, no RGB images, and render_mode is "
                f"{env.render_mode!r}; expected images: make the environment with render_mode='rgb_array'"
            )
        env.reset()
        self.shape = _checked(np.asarray(env.render())).shape

    def of(self, observation) -> np.ndarray:
        """The frame that belongs to an observation, uint8 `[H,W,3]`."""
        return _checked(np.asarray(self._env.render() if self._rendered else observation))

    @staticmethod
    def checked_shape(space, what: str) -> tuple[int, int, int]:
        """(H, W, 3) of a space of RGB frames; UserError for any other space."""
        if not is_image(space):
            raise UserError(
                f"ObjectObservation: {what} are {space}; expected RGB frames, uint8 [height,width,3]: put the wrapper "
                "inside of those that make frames grey, stack or scale them"
            )
        return tuple(space.shape)


class View:
    """The part of frames that the model sees, and the way back for boxes.

    A model of one channel sees the mean of red, green and blue, rounded.

    Args:
      shape: (H, W, 3) of the environment's frames.
      wanted: (H, W, C) of the export.
      crop: (top, left, height, width), or None.
      resize: whether to resize what is left to the size wanted.
    """

    def __init__(self, shape, wanted, crop, resize: bool):
        top, left, height, width = (0, 0, *shape[:2]) if crop is None else map(int, crop)
        if min(top, left) < 0 or min(height, width) < 1 or top + height > shape[0] or left + width > shape[1]:
            raise UserError(
                f"ObjectObservation: crop = {tuple(crop)} leads out of frames of {shape[0]}x{shape[1]} pixels; "
                "expected (top, left, height, width)"
            )
        if (height, width) != tuple(wanted[:2]) and not resize:
            raise UserError(
                f"ObjectObservation: frames of {height}x{width} pixels come in, the export takes "
                f"{wanted[0]}x{wanted[1]}; give crop=(top, left, {wanted[0]}, {wanted[1]}) or resize=True, or export "
                f"again with --frame_shape={height},{width}"
            )
        if wanted[2] not in (1, shape[2]):
            raise UserError(
                f"ObjectObservation: frames have {shape[2]} channels, the export takes {wanted[2]}; expected an export "
                f"of a model that was trained on frames of {shape[2]} channels, or of 1"
            )
        self._grey = wanted[2] != shape[2]
        self._rows, self._columns, self._size = slice(top, top + height), slice(left, left + width), tuple(wanted[:2])
        self._corner = np.array([top, left, 0, 0], np.float32)
        self._scale = np.tile(np.array([height / wanted[0], width / wanted[1]], np.float32), 2)

    def of(self, frames: np.ndarray) -> np.ndarray:
        """What the model sees of frames `[N,H,W,3]` uint8, `[N,h,w,C]` uint8."""
        seen = np.asarray(frames)[:, self._rows, self._columns]
        if seen.shape[1:3] != self._size:
            rows, columns = self._size
            seen = np.stack([cv2.resize(frame, (columns, rows), interpolation=cv2.INTER_AREA) for frame in seen])
        return np.round(seen.mean(axis=-1, keepdims=True)).astype(np.uint8) if self._grey else seen

    def back(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes `[...,4]` in pixels of what the model sees as boxes in pixels of the environment's frames."""
        return boxes * self._scale + self._corner


def is_image(space) -> bool:
    """Whether a gymnasium space is that of RGB frames."""
    shape = getattr(space, "shape", None) or ()
    return getattr(space, "dtype", None) == np.uint8 and len(shape) == 3 and shape[-1] == 3


def _checked(frame: np.ndarray) -> np.ndarray:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
        raise UserError(
            f"ObjectObservation: a frame is {frame.dtype} of shape {list(frame.shape)}; expected uint8 [height,width,3]"
        )
    return frame
