"""A tiny video model with state, noise and a roll-out, to try the evaluator on."""

import keras
import numpy as np
import tensorflow as tf

from silot_tf.models.base import VideoModel

SLOTS = 3


class DriftingBoxes(VideoModel):
    """Boxes drift with the brightness of the frames seen so far and with noise; ids count up now and then."""

    def __init__(self, name=None):
        super().__init__(name=name)
        self.traces = 0

    def initial_state(self, batch_size, crop_offset=None):
        offset = tf.zeros([batch_size, 2]) if crop_offset is None else tf.cast(crop_offset, tf.float32)
        return {
            "frame": tf.zeros([batch_size], tf.int32),
            "centre": 0.3 + 0.01 * offset[:, None, :] + 0.1 * tf.range(SLOTS, dtype=tf.float32)[None, :, None],
            "track_id": tf.zeros([batch_size, SLOTS], tf.int32),
        }

    def unroll(self, video, state=None, *, seed, training=False, rollout_from=None):
        self.traces += 1
        if state is None:
            state = self.initial_state(tf.shape(video)[0])
        frames = []
        for t in range(video.shape[1]):
            outputs, state = self.one_frame(video[:, t], state, seed, rollout_from)
            frames.append(outputs)
        return tf.nest.map_structure(lambda *parts: tf.stack(parts, axis=1), *frames), state

    def one_frame(self, frame, state, seed, rollout_from):
        number = state["frame"]
        looks = (
            tf.ones([1, 1, 1]) if rollout_from is None else tf.cast(number < rollout_from, tf.float32)[:, None, None]
        )
        brightness = looks * tf.reduce_mean(frame, axis=[1, 2, 3])[:, None, None]
        # more rows than any test needs, so that a row does not depend on the size of the batch
        draws = tf.random.stateless_normal([16, SLOTS, 3], seed + tf.stack([0, number[0]]))
        noise = draws[: tf.shape(frame)[0]]
        centre = state["centre"] + 0.2 * brightness + 0.02 * noise[..., :2]
        pres = tf.sigmoid(2 + noise[..., 2:])
        is_new = noise[..., 2] > 1
        track_id = state["track_id"] + SLOTS * tf.cast(is_new, tf.int32)
        emitted = tf.where(pres[..., 0] > 0.5, track_id + tf.range(SLOTS), -1)
        outputs = {
            "reconstruction": 0.8 * frame * looks[..., None],
            "objects": {
                "where": tf.concat([centre, tf.fill(tf.shape(centre), 10 / 48)], axis=-1),
                "what": tf.zeros([tf.shape(frame)[0], SLOTS, 2]),
                "depth": pres,
                "pres": pres,
                "track_id": emitted,
                "is_new": is_new,
            },
        }
        return outputs, {"frame": number + 1, "centre": centre, "track_id": track_id}

    def loss_terms(self, batch, annealed, *, seed):
        outputs, _ = self.unroll(batch["video"], seed=seed, training=True)
        return {"reconstruction": keras.ops.zeros(batch["video"].shape[:2])}, outputs


class Shaded(DriftingBoxes):
    """Objects that come and go, each of a shade of its own that changes with its depth; sprites are of that shade."""

    has_sprites = True

    def one_frame(self, frame, state, seed, rollout_from):
        outputs, state = super().one_frame(frame, state, seed, rollout_from)
        objects = outputs["objects"]
        own = tf.range(SLOTS, dtype=tf.float32)[None, :, None] / 10
        objects["what"] = tf.concat([0.5 * objects["depth"] + own, objects["pres"]], axis=-1)
        objects["pres"] = tf.where(objects["is_new"][..., None], 0.004, objects["pres"])
        return outputs, state

    def sprites(self, what):
        assert tf.size(what) > 0  # layers need not take batches of nothing
        shade = tf.convert_to_tensor(what)[..., None, None, :1]
        return tf.tile(
            tf.concat([shade, shade, shade, tf.ones_like(shade)], -1), [1] * (len(what.shape) - 1) + [2, 5, 1]
        )


class Oracle(DriftingBoxes):
    """Reads boxes from the frames: the brightest pixel of channel k is the top-left corner of object k."""

    def one_frame(self, frame, state, seed, rollout_from):
        outputs, state = super().one_frame(frame, state, seed, rollout_from)
        side = frame.shape[1]
        flat = tf.argmax(tf.reshape(frame, [-1, side * side, SLOTS]), axis=1)
        top, left = tf.cast(flat // side, tf.float32), tf.cast(flat % side, tf.float32)
        size = tf.fill(tf.shape(top), 10 / side)
        outputs["objects"]["where"] = tf.stack([(top + 5) / side, (left + 5) / side, size, size], axis=-1)
        outputs["objects"]["pres"] = tf.ones_like(outputs["objects"]["pres"])
        outputs["objects"]["track_id"] = tf.tile(tf.range(SLOTS)[None], [tf.shape(frame)[0], 1])
        outputs["reconstruction"] = frame
        return outputs, state


def corner_batch(rng, clips, frames, side=48) -> dict[str, np.ndarray]:
    """Contract batch for `Oracle`: one object per channel, marked by its top-left pixel."""
    corners = rng.integers(0, side - 10, (clips, frames, SLOTS, 2))
    video = np.zeros((clips, frames, side, side, SLOTS), np.float32)
    b, t, k = np.ogrid[:clips, :frames, :SLOTS]
    video[b, t, corners[..., 0], corners[..., 1], k] = 1
    boxes = np.concatenate([(corners + 5) / side, np.full((*corners.shape[:-1], 2), 10 / side)], axis=-1)
    return {
        "video": video,
        "frame_mask": np.ones((clips, frames), bool),
        "boxes": boxes.astype(np.float32),
        "present": np.ones((clips, frames, SLOTS), bool),
        "track_id": np.broadcast_to(np.arange(SLOTS, dtype=np.int32), (clips, frames, SLOTS)).copy(),
    }
