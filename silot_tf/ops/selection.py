"""Choosing which objects live on: the K most present ones, each staying in its slot."""

import tensorflow as tf


def stable_top_k(propagated_presence, discovered_presence) -> tuple[tf.Tensor, tf.Tensor]:
    """Which candidate each slot holds next, and whether it is new.

    The K candidates of largest presence are chosen (ties: propagated before discovered, lower index first). A chosen
    propagated object keeps its slot; freed slots, in increasing order, receive the chosen discovered ones in
    increasing order.

    Args:
      propagated_presence: `[B,K]`.
      discovered_presence: `[B,D]`.

    Returns:
      index: `[B,K]` int32 into the concatenation (propagated, discovered).
      is_new: `[B,K]` bool, true where `index >= K`.

    Source: SILOT, section 3.4; specification 2.10.
    """
    slots = propagated_presence.shape[1]
    candidates = tf.concat([propagated_presence, discovered_presence], axis=1)
    chosen_index = tf.math.top_k(candidates, slots).indices
    chosen = tf.reduce_any(chosen_index[:, :, None] == tf.range(candidates.shape[1]), axis=1)
    kept, entering = chosen[:, :slots], chosen[:, slots:]
    # The r-th freed slot receives the r-th entering object.
    free_rank = tf.cumsum(tf.cast(~kept, tf.int32), axis=1)
    entering_rank = tf.cumsum(tf.cast(entering, tf.int32), axis=1)
    pairs = (free_rank[:, :, None] == entering_rank[:, None, :]) & entering[:, None, :]
    discovered = tf.argmax(tf.cast(pairs, tf.int8), axis=2, output_type=tf.int32)
    return tf.where(kept, tf.range(slots), slots + discovered), ~kept


def choose(is_new, index, propagated, discovered) -> tf.Tensor:
    """Fields `[B,K,F]` of the selected objects from those of the candidates `[B,K,F]` and `[B,D,F]`."""
    slots = propagated.shape[1]
    entering = tf.gather(discovered, tf.maximum(index - slots, 0), batch_dims=1)
    return tf.where(is_new[..., None], entering, propagated)
