"""Decoded appearances of the objects of example clips, for pictures."""

import numpy as np

#: Objects with no more presence than this are no longer followed, so that nobody looks at their sprites.
FAINTEST = 0.005


def record(model, what: np.ndarray, pres: np.ndarray) -> np.ndarray:
    """Sprites `[...,h,w,4]` uint8, colour and opacity; 0 where presence is next to nothing.

    Args:
      model: a built `VideoModel` with `has_sprites`.
      what: `[...,A]` appearances, as the model gave them.
      pres: `[...]` presence; where it is not a number, nothing is decoded.
    """
    chosen = np.asarray(pres) > FAINTEST
    # One more than is wanted: where nothing is present, there is still something to decode.
    rows = np.append(np.asarray(what, np.float32)[chosen], np.zeros((1, what.shape[-1]), np.float32), axis=0)
    decoded = np.asarray(model.sprites(rows))[:-1]
    sprites = np.zeros((*chosen.shape, *decoded.shape[1:]), np.uint8)
    sprites[chosen] = np.rint(255 * np.clip(np.nan_to_num(decoded), 0, 1))
    return sprites
