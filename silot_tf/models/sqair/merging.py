"""Propagated and discovered objects in one set of slots: present ones first, in order; and their identities.

Source: Kosiorek et al. 2018, release.
"""

import tensorflow as tf


def assignment(propagated_presence, discovered_presence) -> tf.Tensor:
    """Which candidate goes into which slot: `[M,N,2N]` of 0 and 1, a constant of differentiation.

    Present candidates come first, propagated before discovered, in order; then absent ones, likewise. What does not
    fit into N slots is left out.

    Args:
      propagated_presence, discovered_presence: `[M,N]` of 0 and 1.
    """
    slots = propagated_presence.shape[1]
    present = tf.concat([propagated_presence, discovered_presence], axis=1)
    absent = 1.0 - present
    total = tf.reduce_sum(present, axis=1, keepdims=True)
    rank = tf.where(present > 0.5, tf.cumsum(present, 1), total + tf.cumsum(absent, 1)) - 1.0
    places = tf.range(slots, dtype=rank.dtype)[None, :, None]
    return tf.stop_gradient(tf.cast(tf.abs(rank[:, None] - places) < 0.5, present.dtype))


def merge(places, propagated, discovered) -> tf.Tensor:
    """Fields `[M,N,F]` of the chosen ones of candidates `[M,N,F]` and `[M,N,F]`; `places`: see `assignment`."""
    return tf.matmul(places, tf.concat([propagated, discovered], axis=1))


def merge_states(places, propagated, initial) -> tf.Tensor:
    """States `[M,N,U]`: of propagated objects their own `[M,N,U]`, of discovered ones `initial [1,U]`."""
    slots = propagated.shape[1]
    new = tf.reduce_sum(places[:, :, slots:], axis=-1, keepdims=True)
    return tf.matmul(places[:, :, :slots], propagated) + new * initial


def identities(places, track_id, last_id, propagated_presence, discovered_presence) -> tuple:
    """Identities of the merged slots, and which of them are new.

    Args:
      places: see `assignment`.
      track_id: `[M,N]` int32 before the frame, -1 for none.
      last_id: `[M]` int32, the last identity given out, -1 before the first.
      propagated_presence, discovered_presence: `[M,N]` of 0 and 1.

    Returns:
      track_id `[M,N]` (-1 where absent), is_new `[M,N]` bool, last_id `[M]`; objects that found no slot have used up
      their identity.
    """
    slots = track_id.shape[1]
    stayed, found = propagated_presence > 0.5, discovered_presence > 0.5
    counted = tf.cumsum(tf.cast(found, tf.int32), axis=1)
    candidates = tf.concat([tf.where(stayed, track_id, -1), tf.where(found, last_id[:, None] + counted, -1)], axis=1)
    chosen = tf.cast(places, tf.int32)
    merged = tf.reduce_sum(chosen * candidates[:, None], axis=-1)
    is_new = tf.reduce_any((chosen[:, :, slots:] > 0) & found[:, None], axis=-1)
    return merged, is_new, last_id + counted[:, -1]
