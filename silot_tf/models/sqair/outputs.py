"""What is shown of the particles: frames, boxes and identities in the form of the contract."""

import tensorflow as tf

from silot_tf.ops import corner_aligned
from silot_tf.ops.shapes import merge_leading


def decode(decoder, objects: dict, frame_shape) -> dict:
    """`AdditiveDecoder` on objects `[..., N, F]` with two leading axes, which the results `[R,...]` have merged."""
    flat = {name: merge_leading(objects[name]) for name in ("what", "where", "pres")}
    return decoder(**flat, frame_shape=frame_shape)


def chosen_particle(stages: dict, chosen, batch_size, frames: int) -> dict:
    """Objects, identities and novelty `[B,T,...]` of one particle per video and frame.

    Args:
      stages: see `SQAIR.unroll_stages`, `[M,T,...]`.
      chosen: `[B,T]` int32 numbers of particles; None if there is one.
      batch_size: B.
      frames: T.
    """
    shown = {name: stages[name] for name in ("objects", "track_id", "is_new")}
    if chosen is None:
        return shown
    particles = tf.shape(stages["track_id"])[0] // batch_size
    places = (particles * tf.range(batch_size)[:, None] + chosen) * frames + tf.range(frames)
    return tf.nest.map_structure(lambda value: tf.gather(merge_leading(value), places), shown)


def sprites_of(decoder, what) -> tf.Tensor:
    """Sprites as of `VideoModel.sprites`: glimpses cut to [0, 1], grey ones in three channels, opacity 1.

    Objects are added up, so there is no opacity: within its box, an object paints all of its glimpse. A mean image,
    where there is one, belongs to places and not to objects; it is left out.

    Args:
      decoder: see `outputs_of`; built for the frames.
      what: `[..., A]`.
    """
    what = tf.convert_to_tensor(what)
    picture = tf.clip_by_value(decoder.glimpses(tf.reshape(what, [-1, what.shape[-1]])), 0.0, 1.0)
    channels = tf.unstack(picture, axis=-2)
    colour = channels[:3] if len(channels) >= 3 else channels[:1] * 3
    sprites = tf.stack([*colour, tf.ones_like(colour[0])], axis=-1)
    return tf.reshape(sprites, tf.concat([tf.shape(what)[:-1], sprites.shape[1:]], axis=0))


def outputs_of(decoder, shown: dict, frame_shape) -> dict:
    """Outputs in contract form, with `confidence` and `features`.

    Args:
      decoder: `AdditiveDecoder`, or another one of the same face.
      shown: see `chosen_particle`.
      frame_shape: (H, W, C).
    """
    objects = shown["objects"]
    pres, what = objects["pres"], objects["pres"] * objects["what"]
    _, frames, slots, size = what.shape
    mean = decode(decoder, objects, frame_shape)["mean"]
    picture = tf.stack(tf.unstack(tf.clip_by_value(mean, 0.0, 1.0), axis=-2), axis=-1)
    box = corner_aligned.box_in_frame(corner_aligned.box_of(objects["where"]), frame_shape[:2])
    return {
        "reconstruction": tf.reshape(picture, [-1, frames, *frame_shape]),
        "features": tf.reshape(what, [-1, frames, slots * size]),
        "objects": {
            "where": tf.cast(pres > 0.5, box.dtype) * box,
            "what": what,
            "depth": tf.zeros_like(pres),
            "pres": pres,
            "confidence": pres * tf.sigmoid(objects["logit"]),
            "track_id": shown["track_id"],
            "is_new": shown["is_new"],
        },
    }
