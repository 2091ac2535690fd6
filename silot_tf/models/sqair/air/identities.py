"""Identities of objects that are found anew in every frame: what is near between two frames belongs together.

The paper has no identities for AIR; the matching is ours (SQAIR specification 7.1).
"""

import tensorflow as tf

from silot_tf.ops import assignment


def nothing_seen(batch_size, num_slots: int) -> dict:
    """State before the first frame: what the last frame showed, `[B,N,...]`, and the last identity given out, `[B]`."""
    return {
        "centre": tf.zeros([batch_size, num_slots, 2]),
        "track_id": tf.fill([batch_size, num_slots], -1),
        "last_id": tf.fill([batch_size], -1),
    }


def follow(before: dict, centre, present, linked, gate: float) -> tuple[dict, tf.Tensor]:
    """Identities of one frame's objects: those of the frame before which they are matched with, otherwise fresh ones.

    The matching is one to one, with the least sum of distances, where a pair further apart than `gate` counts as no
    pair and costs as much as `gate`: matching what is far never pays. Identities are never used again.

    Args:
      before: see `nothing_seen`.
      centre: `[B,N,2]` (y, x), fractions of the frame.
      present: `[B,N]` bool.
      linked: `[B]` bool, whether this frame continues the last; if not, all identities are fresh.
      gate: in fractions of the frame.

    Returns:
      state after the frame, with its `track_id` (-1 for absent objects); and is_new `[B,N]` bool.
    """
    centre = tf.stop_gradient(centre)
    distance = tf.norm(centre[:, :, None] - before["centre"][:, None], axis=-1)
    possible = present[:, :, None] & (before["track_id"] >= 0)[:, None] & linked[:, None, None] & (distance < gate)
    partner = assignment.cheapest(tf.where(possible, distance, gate))
    is_old = tf.gather(possible, partner, batch_dims=2)
    is_new = present & ~is_old
    fresh = before["last_id"][:, None] + tf.cumsum(tf.cast(is_new, tf.int32), axis=1)
    track_id = tf.where(is_old, tf.gather(before["track_id"], partner, batch_dims=1), tf.where(is_new, fresh, -1))
    after = {
        "centre": tf.where(present[..., None], centre, 0.0),
        "track_id": track_id,
        "last_id": before["last_id"] + tf.reduce_sum(tf.cast(is_new, tf.int32), axis=1),
    }
    return after, is_new


def follow_clip(before: dict, centre, present, linked, gate: float) -> tuple[dict, tf.Tensor, tf.Tensor]:
    """`follow` through a clip, `[B,T,...]`: state after it, track_id `[B,T,N]` and is_new `[B,T,N]`."""
    track_id, is_new = [], []
    frames = zip(*(tf.unstack(value, axis=1) for value in (centre, present, linked)), strict=True)
    for centre_now, present_now, linked_now in frames:
        before, new = follow(before, centre_now, present_now, linked_now, gate)
        track_id.append(before["track_id"])
        is_new.append(new)
    return before, tf.stack(track_id, axis=1), tf.stack(is_new, axis=1)
