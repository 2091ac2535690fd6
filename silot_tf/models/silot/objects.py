"""The object record: what SILOT remembers of each object slot from one frame to the next.

Fields, each `[B,K,F]`, in *anchor units* (pixels divided by the anchor box):
    box          4   y, x (centre), height, width
    position     2   y, x inside the uncropped frame ("absolute position", specification 1.2)
    size_logit   2   unclipped logits of height and width
    what        64   appearance
    depth_logit  1
    depth        1   in (0, 1), larger is nearer
    pres         1   in [0, 1]
    hidden       H   state of the posterior recurrent cell
    hidden_prior H   state of the prior recurrent cell
    exists       1   0 for slots that never held an object, else 1

Source: SILOT specification 2.3.
"""

import tensorflow as tf

LOGIT_LIMIT = 10.0

#: Fields that discovery produces and selection moves into freed slots.
PROPOSED_FIELDS = ("box", "position", "size_logit", "what", "depth_logit", "depth", "pres")


def squash(logit) -> tf.Tensor:
    """Logistic function of the logit clamped to [-10, 10]; no gradient outside."""
    return tf.sigmoid(clip_logit(logit))


def clip_logit(logit) -> tf.Tensor:
    """Logit clamped to [-10, 10]."""
    return tf.clip_by_value(logit, -LOGIT_LIMIT, LOGIT_LIMIT)


def std_from_logit(logit) -> tf.Tensor:
    """Standard deviation in (9e-5, 2), about 1 for logit 0."""
    return 2.0 * squash(logit)


def empty_objects(batch_size, slots: int, what_size: int, hidden_size: int) -> dict:
    """Records of `slots` empty slots: all zeros (specification 2.3, null set)."""
    sizes = {
        "box": 4,
        "position": 2,
        "size_logit": 2,
        "what": what_size,
        "depth_logit": 1,
        "depth": 1,
        "pres": 1,
        "hidden": hidden_size,
        "hidden_prior": hidden_size,
        "exists": 1,
    }
    return {name: tf.zeros([batch_size, slots, size]) for name, size in sizes.items()}


def feature_vector(objects: dict, hidden: str, use_position: bool) -> tf.Tensor:
    """Features `[B,K,198]` of objects for attention: position, size, appearance, depth, presence, recurrent state.

    Args:
      objects: records.
      hidden: `"hidden"` or `"hidden_prior"`: whose recurrent state to include.
      use_position: False puts zeros in place of the position, which makes the features translation invariant (D5).
    """
    position = objects["position"] if use_position else tf.zeros_like(objects["position"])
    parts = [
        position,
        objects["box"][..., 2:],
        objects["what"],
        objects["depth"],
        objects["pres"],
        objects[hidden],
    ]
    return tf.concat(parts, axis=-1)


@tf.custom_gradient
def _hold_back(value, wheels):
    def gradient(upstream):
        return upstream * (1.0 - wheels), None

    return value, gradient


def hold_back(value, wheels) -> tf.Tensor:
    """Training wheels: the value itself, whose gradient is multiplied by `1 - wheels` (specification 2.1, TW).

    Args:
      value: any tensor.
      wheels: scalar in {0, 1}, or None when training wheels play no part.
    """
    return value if wheels is None else _hold_back(value, wheels)
