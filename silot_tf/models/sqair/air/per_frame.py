"""A model of single frames as a model of videos: frames are rows of the batch, nothing is carried but identities.

Inside, tensors are `[R,...]` with R = B * T frames, or `[M,...]` with M = R * K, particles of a frame together.
"""

import abc

import tensorflow as tf

from silot_tf.models.base import VideoModel
from silot_tf.models.sqair import objective, outputs
from silot_tf.models.sqair.air import identities
from silot_tf.models.sqair.noise import gumbel, noise_of_clips
from silot_tf.ops import corner_aligned
from silot_tf.ops.shapes import batch_size_of, merge_leading

PART = "discovery"  # all that these models have of SQAIR's parts
OBJECTS = ("what", "where", "pres", "logit")


class PerFrameModel(VideoModel):
    """What models of single frames share; each says how it finds objects, what they weigh, and what its prior is.

    The prior of a clip is that of its frames, one by one: from `rollout_from` on, every frame shows a scene of its own,
    drawn from the prior, and all its objects have fresh identities. Nothing in the state could be edited to make a
    difference to what follows, so `edit_state` is not offered.

    Models set `num_slots`, `what_size`, `distance_gate`, `evaluation_particles`, `evaluation_noise` and `decoder`.
    """

    has_sprites = True

    @abc.abstractmethod
    def prepare_for(self, frame_shape) -> None:
        """Create what depends on the frames' shape (H, W, C), unless done."""

    @abc.abstractmethod
    def find(self, frames, noise, particles: int, *, training: bool = False) -> dict:
        """Objects of frames `[R,H,W,C]`, `[M,N,...]`: at least `OBJECTS`, and what `weigh` needs.

        Args:
          frames: `[R,H,W,C]`.
          noise: `where [M,N,4]`, `what [M,N,A]` standard normal, `pres [M,N,1]` uniform; None for the most probable.
          particles: K.
          training: whether presences may be relaxed, to between 0 and 1.
        """

    @abc.abstractmethod
    def weigh(self, frames, found: dict, noise, particles: int) -> dict:
        """Terms of the importance weights `[R,K]` nats: `log_likelihood`, `kl` (a sample) and `discrete`.

        Args: see `find`, whose result `found` is; presences are 0 or 1.
        """

    @abc.abstractmethod
    def imagine(self, noise, rows) -> dict:
        """Scenes of the prior, `[R,N,...]` of `OBJECTS`; arguments as of `find`, with one particle; `rows`: R."""

    # ------------------------------------------------------------------------------------------------ the contract

    def initial_state(self, batch_size, crop_offset=None) -> dict:
        """See `VideoModel`; `crop_offset` makes no difference."""
        frame = tf.zeros([batch_size], tf.int32)
        return identities.nothing_seen(batch_size, self.num_slots) | {"frame": frame}

    def unroll(self, video, state=None, *, seed, training=False, rollout_from=None) -> tuple[dict, dict]:
        """See `VideoModel`. Objects also have a `confidence`, the probability of their presence."""
        size, frames = batch_size_of(video), video.shape[1]
        if state is None:
            state = self.initial_state(size)
        self.prepare_for(tuple(video.shape[2:]))
        is_noisy = seed is not None and (training or self.evaluation_noise)
        particles = self.evaluation_particles if is_noisy else 1  # without noise all would be the same
        rows, noise = merge_leading(video), None
        if is_noisy:
            noise = self.draw_noise(size, frames, particles, tf.reduce_max(state["frame"]), seed)
        found = self.find(rows, by_row(noise), particles, training=training)
        shown = {name: found[name] for name in OBJECTS}
        if particles > 1:
            weight = self.weigh(rows, found, by_row(noise), particles)
            shown = take(shown, drawn_by_weight(log_alpha(weight), size, frames, seed))
        linked = tf.ones([size, frames], tf.bool)
        if rollout_from is not None:
            linked = state["frame"][:, None] + tf.range(frames) < rollout_from
            first = None if noise is None else {name: value[:, :, :1] for name, value in noise.items()}
            imagined = self.imagine(by_row(first), size * frames)
            is_seen = tf.reshape(linked, [-1, 1, 1])
            shown = {name: tf.where(is_seen, shown[name], imagined[name]) for name in OBJECTS}
        return self.show(shown, tuple(video.shape[2:]), state, linked)

    def sprites(self, what):
        """See `VideoModel` and `outputs.sprites_of`."""
        return outputs.sprites_of(self.decoder, what)

    # ------------------------------------------------------------------------------------------- beyond the contract

    def bound(
        self,
        video,
        num_particles: int = 1000,
        *,
        seed,
        particles_per_chunk: int | None = None,
        object_count=None,
        frame_mask=None,
    ) -> dict:
        """Importance-weighted bound with many particles, see `objective.bound`: the sum of the frames' bounds.

        The results are those of SQAIR; every frame has particles of its own, so the effective sample size is a mean
        over frames.
        """
        size, frames = video.shape[:2]
        mask = tf.ones([size, frames]) if frame_mask is None else tf.cast(frame_mask, tf.float32)
        found = objective.bound(
            self,
            merge_leading(tf.convert_to_tensor(video))[:, None],
            num_particles,
            seed=seed,
            particles_per_chunk=particles_per_chunk or max(1, objective.ROWS_PER_CHUNK // size),
            object_count=None if object_count is None else tf.reshape(object_count, [-1, 1]),
            frame_mask=tf.reshape(mask, [-1, 1]),
        )
        share = mask / tf.maximum(tf.reduce_sum(mask, axis=1, keepdims=True), 1.0)
        averaged = ("effective_sample_size", "objects", "count_accuracy", "count_error")
        result = {}
        for name, value in found.items():
            factor = share if name.removeprefix("sample_") in averaged else mask
            result[name] = tf.reduce_sum(tf.reshape(value, [size, frames]) * factor, axis=1)
        return result

    def importance_weights(self, video, particles: int, *, seed, mask=None) -> dict:
        """K particles of every frame, and what they weigh; as `SQAIR` would of R clips of one frame.

        Args:
          video: `[B,T,H,W,C]`.
          particles: K.
          seed: `[2]` int32.
          mask: `[B,T]` float, 0 for padding frames; None for none.

        Returns:
          `log_weight`, `log_discrete` `[R,K]` nats per frame; `terms` `[R,K,1]`; `stages` `[M,1,N,...]`.
        """
        self.prepare_for(tuple(video.shape[2:]))
        rows, noise = merge_leading(video), self.draw_noise(batch_size_of(video), video.shape[1], particles, 0, seed)
        found = self.find(rows, by_row(noise), particles)
        terms = self.weigh(rows, found, by_row(noise), particles)
        terms["log_alpha"] = log_alpha(terms)
        counted = {name: terms[name] for name in ("log_alpha", "discrete")}
        if mask is not None:
            counted = {name: tf.where(tf.reshape(mask, [-1, 1]) > 0, value, 0.0) for name, value in counted.items()}
        return {
            "log_weight": counted["log_alpha"],
            "log_discrete": counted["discrete"],
            "terms": {name: value[..., None] for name, value in terms.items()},
            "stages": {part: {name: value[:, None] for name, value in found.items()} for part in (PART, "objects")},
        }

    # ---------------------------------------------------------------------------------------------- inside the room

    def draw_noise(self, batch_size, frames: int, particles: int, first_frame, seed) -> dict:
        """See `noise.noise_of_clips`: `where`, `what`, `pres` `[B,T,K,N,...]`."""
        sizes = (particles, self.num_slots, self.what_size)
        return noise_of_clips(batch_size, frames, *sizes, first_frame, seed, (PART,))[PART]

    def show(self, shown: dict, frame_shape, state: dict, linked) -> tuple[dict, dict]:
        """Outputs in contract form of `OBJECTS` `[R,N,...]`, and the state after them; `linked [B,T]`: see `follow`."""
        frames = linked.shape[1]
        shown = {name: tf.reshape(value, [-1, frames, *value.shape[1:]]) for name, value in shown.items()}
        centre, present = corner_aligned.box_of(shown["where"])[..., :2], shown["pres"][..., 0] > 0.5
        after, track_id, is_new = identities.follow_clip(state, centre, present, linked, self.distance_gate)
        result = outputs.outputs_of(
            self.decoder, {"objects": shown, "track_id": track_id, "is_new": is_new}, frame_shape
        )
        return result, after | {"frame": state["frame"] + frames}


def log_alpha(terms: dict) -> tf.Tensor:
    """Log-weights of `PerFrameModel.weigh`."""
    return terms["log_likelihood"] - terms["kl"]


def by_row(noise):
    """Noise `[B,T,K,N,...]` as `[M,N,...]`; None stays."""
    return None if noise is None else {n: tf.reshape(v, [-1, *v.shape[3:]]) for n, v in noise.items()}


def drawn_by_weight(log_weight, batch_size, frames: int, seed) -> tf.Tensor:
    """Numbers of particles `[R]` drawn by log-weights `[R,K]`, with one draw of Gumbel noise per video."""
    noise = tf.repeat(gumbel(batch_size, log_weight.shape[1], seed), frames, axis=0)
    chosen = tf.argmax(tf.stop_gradient(log_weight) + noise, axis=1, output_type=tf.int32)
    return tf.range(tf.shape(chosen)[0]) * log_weight.shape[1] + chosen


def take(values: dict, places) -> dict:
    """Rows `places [R]` of values `[M,...]`."""
    return {name: tf.gather(value, places) for name, value in values.items()}
