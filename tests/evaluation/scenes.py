"""Hand-made clips for the tests: tables, contract batches, and outputs that repeat the truth."""

import numpy as np

from silot_tf.evaluation.tracks import Frame
from silot_tf.ops import boxes as box_ops

SIDE = 48


def frame(predicted=(), confidence=None, ids=None, truth=(), truth_ids=None) -> Frame:
    """A table from lists of (top, bottom, left, right)."""
    predicted = np.array(predicted, np.float64).reshape(-1, 4)
    truth = np.array(truth, np.float64).reshape(-1, 4)
    return Frame(
        boxes=predicted,
        confidence=np.ones(len(predicted)) if confidence is None else np.array(confidence, np.float64),
        track_id=np.arange(len(predicted)) if ids is None else np.array(ids, np.int64),
        truth_boxes=truth,
        truth_id=np.arange(len(truth)) if truth_ids is None else np.array(truth_ids, np.int64),
    )


def square(top, left, side=10):
    """Edges of a square."""
    return (top, top + side, left, left + side)


def random_clip(rng, frames=6, truths=4, predictions=5) -> list[Frame]:
    """Moving true squares; predictions are jittered copies with ids that last a while, gaps and strays."""
    centres = rng.uniform(0, 30, (truths, 2))
    ids = rng.permutation(20)[:truths]
    clip = []
    for _ in range(frames):
        centres = centres + rng.normal(0, 2, centres.shape)
        shown = rng.random(truths) < 0.8
        truth = [square(y, x) for (y, x), seen in zip(centres, shown, strict=True) if seen]
        if rng.random() < 0.3:
            ids = rng.permutation(ids)
        found = rng.permutation(truths)[: rng.integers(0, truths + 1)]
        predicted = [square(*(centres[i] + rng.normal(0, 1.5, 2))) for i in found]
        predicted_ids = list(ids[found])
        for stray in range(rng.integers(0, predictions - truths + 1)):
            predicted.append(square(*rng.uniform(0, 30, 2)))
            predicted_ids.append(100 + stray)
        clip.append(
            frame(
                predicted,
                confidence=rng.integers(1, 6, len(predicted)) / 5,  # few values, so that ties occur
                ids=predicted_ids,
                truth=truth,
                truth_ids=np.flatnonzero(shown),
            )
        )
    return clip


def moving_batch(rng, clips=2, frames=4, objects=3, side=SIDE) -> dict[str, np.ndarray]:
    """A contract batch of white squares of 10 pixels on whole pixels, moving by one pixel per frame."""
    starts = rng.integers(0, side - 10 - frames, (clips, 1, objects, 2))
    corners = starts + np.arange(frames)[None, :, None, None]
    edges = np.stack([corners[..., 0], corners[..., 0] + 10, corners[..., 1], corners[..., 1] + 10], axis=-1).astype(
        np.float64
    )
    video = np.zeros((clips, frames, side, side, 3), np.float32)
    for b, t, n in np.ndindex(clips, frames, objects):
        top, bottom, left, right = edges[b, t, n].astype(int)
        video[b, t, top:bottom, left:right] = 1
    return {
        "video": video,
        "frame_mask": np.ones((clips, frames), bool),
        "boxes": box_ops.from_edges(edges - 0.5, (side, side)).astype(np.float32),
        "present": np.ones((clips, frames, objects), bool),
        "track_id": np.broadcast_to(np.arange(objects, dtype=np.int32), (clips, frames, objects)).copy(),
    }


def perfect_outputs(batch) -> dict:
    """Outputs of a model that knows the truth."""
    return {
        "reconstruction": batch["video"],
        "objects": {
            "where": batch["boxes"],
            "pres": batch["present"][..., None].astype(np.float32),
            "track_id": batch["track_id"],
            "is_new": np.zeros(batch["track_id"].shape, bool),
        },
    }
