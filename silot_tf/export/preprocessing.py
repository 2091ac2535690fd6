"""What may stand inside of an export between the frames that it takes and the model."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Makes of frames of bytes what a model was trained on.

    Attributes:
      seen_shape: (h, w, c) of what the model sees.
      in_graph: `[B,H,W,C]` uint8 -> `[B,h,w,c]` float32 in [0, 1], in TensorFlow operations that become part of the
        SavedModel.
      live: the same in NumPy, as it was in training; the export is compared with it.
      description: for the card, what `json` can write; `sentence` says it in words.
    """

    seen_shape: tuple[int, int, int]
    in_graph: Callable
    live: Callable[[np.ndarray], np.ndarray]
    description: Mapping
