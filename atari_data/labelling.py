"""Labels of recorded frames. The algorithm is `silot_tf.data.colour_components`; here it is only called."""

import numpy as np


def parameters() -> dict:
    """Parameters and version of the labelling, JSON-serialisable, for manifests."""
    from silot_tf.data import colour_components

    return dict(colour_components.PARAMETERS)


def label(frames: np.ndarray) -> dict[str, np.ndarray]:
    """Labels of an episode's frames, uint8 `[E,H,W,3]`: see `silot_tf.data.colour_components.label_frames`."""
    from silot_tf.data import colour_components

    return colour_components.label_frames(frames)
