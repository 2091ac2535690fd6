"""Selection: which propagated and discovered objects live on, in which slots, and under which identities.

Source: SILOT, section 3.4; specification 2.10, 2.11.
"""

import tensorflow as tf

from silot_tf.models.silot.objects import PROPOSED_FIELDS
from silot_tf.ops import selection


def select(propagated: dict, discovered: dict, initial_hidden) -> tuple[dict, tf.Tensor, tf.Tensor]:
    """Records of the K most present objects, and where they come from.

    Args:
      propagated: records `[B,K,.]` with all fields.
      discovered: records `[B,D,.]` with the fields of `PROPOSED_FIELDS`.
      initial_hidden: `[H]`, recurrent state of objects that are new.

    Returns:
      records `[B,K,.]`; `index [B,K]` int32 into (propagated, discovered); `is_new [B,K]` bool.
    """
    index, is_new = selection.stable_top_k(propagated["pres"][..., 0], discovered["pres"][..., 0])
    # All entering fields are gathered at once.
    packed = [tf.concat([source[name] for name in PROPOSED_FIELDS], axis=-1) for source in (propagated, discovered)]
    sizes = [propagated[name].shape[-1] for name in PROPOSED_FIELDS]
    chosen = tf.split(selection.choose(is_new, index, *packed), sizes, axis=-1)
    selected, new = dict(zip(PROPOSED_FIELDS, chosen, strict=True)), is_new[..., None]
    for name in ("hidden", "hidden_prior"):
        selected[name] = tf.where(new, initial_hidden, propagated[name])
    selected["exists"] = tf.where(new, 1.0, propagated["exists"])
    return selected, index, is_new


def identities(track_id, next_id, is_new, is_shown) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Identities after selection: a new object gets the next free one if it is shown, else none for good.

    Args:
      track_id: `[B,K]` int32 before selection, -1 for none.
      next_id: `[B]` int32, the first one not given out.
      is_new: `[B,K]` bool.
      is_shown: `[B,K]` bool, presence above the threshold.

    Returns:
      `track_id [B,K]` of the slots; the same with -1 for objects that are not shown; `next_id [B]`.
    """
    born = is_new & is_shown
    newborn = next_id[:, None] + tf.cumsum(tf.cast(born, tf.int32), axis=1) - 1
    track_id = tf.where(is_new, tf.where(born, newborn, -1), track_id)
    next_id += tf.reduce_sum(tf.cast(born, tf.int32), axis=1)
    return track_id, tf.where(is_shown, track_id, -1), next_id
