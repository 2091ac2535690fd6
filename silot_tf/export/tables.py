"""What an export speaks: object tables in pixels, and nested states as flat named tensors. No model by name."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from silot_tf.export import names

MASK_THRESHOLD = 0.5  # as in evaluation: a pixel belongs to the object that covers it by more than this


def object_table(outputs: Mapping, frame_shape) -> dict[str, tf.Tensor]:
    """The objects of one frame, or of any number, as an agent reads them; see `names.TABLE`.

    Models that give masks instead of boxes get the tight box around the pixels that a mask covers by more than
    `MASK_THRESHOLD`; objects without such a pixel get presence 0 and no identity.

    Args:
      outputs: see `silot_tf.contracts`, here without the dimension of time: `[B,K,...]`.
      frame_shape: (H, W, C) or (H, W), pixels of the frames that boxes are told in; masks may have another size.
    """
    objects = outputs["objects"]
    height, width = frame_shape[:2]
    presence, ids = objects["pres"][..., 0], objects["track_id"]
    if "where" in objects:
        boxes = objects["where"] * tf.constant([height, width, height, width], tf.float32)
    else:
        covered = outputs["mask"] > MASK_THRESHOLD
        (top, bottom), (left, right) = (_extent(tf.reduce_any(covered, axis=axis)) for axis in (-1, -2))
        boxes = tf.stack([(top + bottom) / 2, (left + right) / 2, bottom - top, right - left], axis=-1)
        if (size := tuple(covered.shape[-2:])) != (height, width):
            boxes *= tf.constant([height / size[0], width / size[1]] * 2, tf.float32)
        visible = tf.reduce_any(covered, axis=[-2, -1])
        presence, ids = tf.where(visible, presence, 0.0), tf.where(visible, ids, -1)
    return {
        "boxes": boxes,
        "presence": presence,
        "ids": ids,
        # A model that does not say so has no new objects; its ids tell as much.
        "is_new": objects.get("is_new", tf.zeros_like(ids, tf.bool)),
        "depth": objects["depth"][..., 0],
        "appearance": objects["what"],
    }


def _extent(occupied) -> tuple[tf.Tensor, tf.Tensor]:
    """First True and one past the last along the last axis, as float32; 0 and the length where there is none."""
    length = occupied.shape[-1]
    numbers = tf.cast(occupied, tf.int32)
    first = tf.argmax(numbers, axis=-1, output_type=tf.int32)
    last = length - tf.argmax(numbers[..., ::-1], axis=-1, output_type=tf.int32)
    return tf.cast(first, tf.float32), tf.cast(last, tf.float32)


def flatten_state(state) -> dict[str, tf.Tensor]:
    """The tensors of a nested state by names that can be arguments: `state__objects__box`.

    Raises:
      ValueError: if two tensors would get one name.
    """
    pairs = [
        (names.STATE_PREFIX + "__".join(map(str, path)), value) for path, value in keras.tree.flatten_with_path(state)
    ]
    flat = dict(pairs)
    if len(flat) < len(pairs) or not all(name.isidentifier() for name in flat):
        raise ValueError(f"names of the state are no identifiers, or not unique once joined: {[n for n, _ in pairs]}")
    return flat


def pack_state(template, flat: Mapping):
    """The nested state of which `flat` are the tensors; `template` is any state of the same structure."""
    return keras.tree.pack_sequence_as(template, [flat[name] for name in flatten_state(template)])


def to_float(frame) -> tf.Tensor:
    """uint8 frames divided by 255, to the last bit.

    A table: in a graph, TensorFlow makes a product with 1/255 of the division, which rounds otherwise, and a trained
    network of 128 objects makes 2e-5 of that in ten frames.
    """
    return tf.gather(tf.constant(np.arange(256, dtype=np.float32) / np.float32(255)), tf.cast(frame, tf.int32))


def to_bytes(frame) -> tf.Tensor:
    """float32 frames in [0, 1] as the nearest uint8 frames; inverse of `to_float`."""
    return tf.cast(tf.round(tf.clip_by_value(frame, 0.0, 1.0) * 255.0), tf.uint8)
