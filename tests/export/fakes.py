"""A tiny causal video model with state, noise, identities, weights and a roll-out, quick to trace."""

import keras
import tensorflow as tf

from silot_tf.export import card, saved_model, verification
from silot_tf.models.base import VideoModel
from silot_tf.ops import seeds

SLOTS, APPEARANCE = 3, 2
FRAME_SHAPE = (20, 30, 3)


class Wanderers(VideoModel):
    """Boxes wander with noise and with the brightness of frames; now and then an object is replaced by a new one."""

    num_slots = SLOTS

    def __init__(self, masks: bool = False, name=None):
        super().__init__(name=name)
        self._gives_masks = masks
        self.gain = self.add_weight(shape=(2,), initializer="ones", name="gain")

    def initial_state(self, batch_size, crop_offset=None):
        return {
            "frame": tf.zeros([batch_size], tf.int32),
            "objects": {
                "centre": tf.fill([batch_size, SLOTS, 2], 0.5),
                "ids": tf.fill([batch_size, SLOTS], -1),
            },
            "next_id": tf.zeros([batch_size], tf.int32),
        }

    def unroll(self, video, state=None, *, seed, training=False, rollout_from=None):
        if state is None:
            state = self.initial_state(tf.shape(video)[0])
        frames = []
        for t in range(video.shape[1]):
            outputs, state = self._one_frame(video[:, t], state, seed, rollout_from)
            frames.append(outputs)
        return tf.nest.map_structure(lambda *parts: tf.stack(parts, axis=1), *frames), state

    def _one_frame(self, frame, state, seed, rollout_from):
        number, objects = state["frame"], state["objects"]
        batch = tf.shape(frame)[0]
        looks = tf.ones([1]) if rollout_from is None else tf.cast(number < rollout_from, tf.float32)
        brightness = looks * tf.reduce_mean(frame, axis=[1, 2, 3])
        noise = tf.zeros([batch, SLOTS, 3])
        if seed is not None:
            noise = seeds.normal([8, SLOTS, 3], seeds.fold(seed, tf.reduce_max(number)))[:batch]
        centre = objects["centre"] + self.gain * (0.1 * brightness[:, None, None] + 0.02 * noise[..., :2])
        ids, wanted = objects["ids"], (objects["ids"] < 0) | (noise[..., 2] > 1.5)
        # One new object per frame, in the first slot that wants one.
        is_new = wanted & (tf.cumsum(tf.cast(wanted, tf.int32), axis=1) == 1)
        ids = tf.where(is_new, state["next_id"][:, None], ids)
        pres = tf.where(ids >= 0, tf.sigmoid(2 + noise[..., 2]), 0.0)[..., None]
        next_state = {
            "frame": number + 1,
            "objects": {"centre": centre, "ids": ids},
            "next_id": state["next_id"] + tf.reduce_sum(tf.cast(is_new, tf.int32), axis=1),
        }
        size = tf.fill(tf.shape(centre), 0.2)
        outputs = {
            "reconstruction": frame * looks[:, None, None, None],
            "objects": {
                "where": tf.concat([centre, size], axis=-1),
                "what": centre * 2,
                "depth": pres / 2,
                "pres": pres,
                "track_id": ids,
                "is_new": is_new,
            },
        }
        if self._gives_masks:
            del outputs["objects"]["where"]
            bright = tf.reduce_mean(frame, axis=-1)[:, None]
            outputs["mask"] = bright * tf.reshape([1.0, 0.0, 0.0], [1, SLOTS, 1, 1])
        return outputs, next_state

    def loss_terms(self, batch, annealed, *, seed):
        outputs, _ = self.unroll(batch["video"], seed=seed, training=True)
        return {"reconstruction": keras.ops.zeros(batch["video"].shape[:2])}, outputs


class Clairvoyant(Wanderers):
    """Looks at later frames, or says so."""

    causal = False


def build(frame_shape=FRAME_SHAPE, **options):
    """A model whose weights are not the initial ones."""
    model = Wanderers(**options)
    model.build_variables(frame_shape)
    model.gain.assign([0.7, 1.3])
    return model


def export(folder, model, frame_shape=FRAME_SHAPE, deterministic=False):
    """A whole export: SavedModel, reference, card; returns the folder."""
    signatures = saved_model.write(model, folder, frame_shape, deterministic=deterministic)
    clips = verification.clips_for(None, frame_shape)
    verification.write_reference(folder, verification.reference(model, clips, deterministic=deterministic))
    card.write(folder, card.describe(model, signatures, frame_shape, deterministic=deterministic))
    return folder
