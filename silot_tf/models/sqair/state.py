"""What the network carries from frame to frame: particles of objects, `[B,K,N,...]`, and edits of them."""

import tensorflow as tf

#: Fields of a slot besides the recurrent states, and their sizes (0: that of `what`).
FIELDS = {"what": 0, "where": 4, "pres": 1, "logit": 1}
_EDGE = 1e-4  # how far from the ends of (-1, 1) shifts are kept when they are turned into logits


def particles_before(batch_size, particles: int, num_slots: int, what_size: int, initial: dict, forced: int) -> dict:
    """State before the first frame.

    Args:
      batch_size: B.
      particles: K.
      num_slots: N.
      what_size: A.
      initial: recurrent states of new objects, name -> `[1,U]`.
      forced: number of objects that clips are told to have, -1 for none.
    """
    lead = [batch_size, particles, num_slots]
    fields = {name: tf.zeros([*lead, size or what_size]) for name, size in FIELDS.items()}
    return {
        "objects": fields | {name: tf.tile(row[None, None], [*lead, 1]) for name, row in initial.items()},
        "track_id": tf.fill(lead, -1),
        "last_id": tf.fill(lead[:2], -1),
        "log_weight": tf.zeros(lead[:2]),
        "frame": tf.zeros([batch_size], tf.int32),
        "forced": tf.fill([batch_size], forced),
    }


def without_absent(state: dict, initial: dict) -> dict:
    """State in which absent slots hold what they hold at the beginning, since what they held has no effect."""
    objects = state["objects"]
    present = objects["pres"] > 0.5
    empty = {"what": 0.0, "where": 0.0} | initial
    return state | {"objects": objects | {n: tf.where(present, objects[n], value) for n, value in empty.items()}}


def edited(state: dict, remove, shift, initial: dict) -> dict:
    """See `VideoModel.edit_state`; the same for all particles.

    Args:
      state: after a frame.
      remove: `[B,N]` bool.
      shift: `[B,N,2]` (y, x), fractions of the frame.
      initial: as of `particles_before`.
    """
    objects, remove = state["objects"], remove[:, None]
    centre = tf.tanh(objects["where"][..., 2:]) + 2.0 * tf.reverse(shift, [-1])[:, None]
    centre = tf.math.atanh(tf.clip_by_value(centre, _EDGE - 1.0, 1.0 - _EDGE))
    moved = tf.reduce_any(shift != 0, axis=-1)[:, None, :, None]
    where = tf.where(moved, tf.concat([objects["where"][..., :2], centre], axis=-1), objects["where"])
    pres = tf.where(remove[..., None], 0.0, objects["pres"])
    state = state | {"objects": objects | {"where": where, "pres": pres}}
    return without_absent(state, initial) | {"track_id": tf.where(remove, -1, state["track_id"])}
