"""Classical AIR: presences relaxed in training, and a prior that asks for fewer and fewer objects.

Source: Eslami, Heess, Weber, Tassa, Szepesvari, Kavukcuoglu, Hinton: Attend, Infer, Repeat (NeurIPS 2016), in the form
that SILOT's authors compare with (SQAIR specification 7.1).
"""

import math

import gin
import numpy as np
import tensorflow as tf

from silot_tf.layers.mlp import MLP
from silot_tf.models.sqair import presence, terms
from silot_tf.models.sqair.air.classical_networks import BernoulliDecoder, FrameLSTM
from silot_tf.models.sqair.air.options import check_tracking
from silot_tf.models.sqair.air.per_frame import OBJECTS, PerFrameModel, by_row
from silot_tf.models.sqair.encoders import reader
from silot_tf.models.sqair.options import NetworkChecks
from silot_tf.ops import distributions, glimpses, seeds
from silot_tf.ops.shapes import batch_size_of, merge_leading

ENOUGH = 0.99  # the network stops when presences have fallen short of 1 by so much, all together
LARGEST_LOGIT = 10.0  # of presences and means of boxes
SCALE_PRIOR = (-1.0, math.sqrt(0.05))  # mean and standard deviation of logits
SHIFT_PRIOR = (0.0, 3.0)
WHERE_MEAN, WHERE_STD = np.repeat(np.float32([SCALE_PRIOR, SHIFT_PRIOR]), 2, axis=0).T
ODDS = "presence_prior_log_odds"


@gin.register(module="air")
class ClassicalAIR(PerFrameModel):
    """Attend, Infer, Repeat as published in 2016, with relaxed presences in place of a score function."""

    #: Log-odds of the prior of one more object; at the end of the published schedule.
    annealed_quantities = {ODDS: math.log(1e-9)}  # noqa: RUF012

    def __init__(
        self,
        num_slots: int = 3,
        glimpse_shape=(14, 14),
        what_size: int = 50,
        units: int = 256,
        head_hidden=(128,),
        encoder_hidden=(512, 256),
        decoder_hidden=(256, 512),
        distance_gate: float = 0.3,
        evaluation_particles: int = 1,
        evaluation_noise: bool = True,
        name=None,
    ):
        """Build the network.

        Args:
          num_slots: N, most objects in a frame; at most 12, since identities are matched exactly.
          glimpse_shape: (rows, columns) of glimpses, read and painted.
          what_size: length of the appearance vector.
          units: of the LSTM.
          head_hidden: hidden widths from the LSTM to boxes and presences.
          encoder_hidden: hidden widths of the glimpse encoder.
          decoder_hidden: hidden widths of the glimpse decoder.
          distance_gate, evaluation_particles, evaluation_noise: see `AIR`.
        """
        super().__init__(name=name or "classical_air")
        self._checks = NetworkChecks("air.ClassicalAIR")
        self._checks.check_sizes(num_slots, glimpse_shape, units, evaluation_particles)
        check_tracking(self._checks, num_slots, distance_gate)
        self.num_slots, self.what_size, self.distance_gate = num_slots, what_size, distance_gate
        self.glimpse_shape = tuple(glimpse_shape)
        self.evaluation_particles, self.evaluation_noise = evaluation_particles or 1, evaluation_noise
        self.recurrent = FrameLSTM(num_slots, units, name="recurrent")
        self.head = MLP(head_hidden, 9, name="head")
        self.glimpse_encoder = MLP(encoder_hidden, 2 * what_size, "softplus", name="glimpse_encoder")
        self.decoder = BernoulliDecoder(glimpse_shape, decoder_hidden, name="decoder")

    def loss_terms(self, batch, annealed: dict, *, seed) -> tuple[dict, dict]:
        """See `VideoModel`: `reconstruction`, `presence_kl`, `scale_kl`, `shift_kl`, `what_kl` of each frame.

        Presences are relaxed, with one sample per frame. A presence costs something at every step that the network
        still takes, box and appearance where the step adds to the frame.
        """
        video, mask = batch["video"], batch["frame_mask"]
        size, frames = batch_size_of(video), video.shape[1]
        self.prepare_for(tuple(video.shape[2:]))
        rows, noise = merge_leading(video), by_row(self.draw_noise(size, frames, 1, 0, seed))
        found = self.find(rows, noise, 1, training=True)
        kl = distributions.relaxed_bernoulli_kl_sample(found["logit"], annealed[ODDS], found["pre_sigmoid"])
        loss = {
            "reconstruction": -self._log_likelihood(rows, found, 1)[:, 0],
            "presence_kl": tf.reduce_sum(found["is_taken"] * kl, axis=[1, 2]),
        }
        for name, value in self._latent_kls(found).items():
            loss[f"{name}_kl"] = tf.reduce_sum(found["adds"] * value, axis=[1, 2])
        linked = tf.ones([size, frames], tf.bool)
        shown = {name: found[name] for name in OBJECTS}
        shown, _ = self.show(shown, tuple(video.shape[2:]), self.initial_state(size), linked)
        if "present" in batch:
            number = tf.reduce_sum(tf.cast(shown["objects"]["pres"] > 0.5, tf.float32), axis=[2, 3])
            truth = tf.reduce_sum(tf.cast(batch["present"], tf.float32), axis=2)
            shown["diagnostics"] = {"count_accuracy": tf.cast(tf.abs(number - truth) < 0.5, tf.float32)}
        return {name: tf.where(mask, tf.reshape(value, [size, frames]), 0.0) for name, value in loss.items()}, shown

    def prepare_for(self, frame_shape) -> None:
        """See `PerFrameModel`."""
        self._checks.check_glimpses_fit(self.glimpse_shape, frame_shape)
        self.recurrent.build_for(frame_shape)
        self.decoder.build_for(frame_shape)

    def find(self, frames, noise, particles: int, *, training: bool = False) -> dict:
        """See `PerFrameModel`.

        Returns:
          `[M,N,...]`: what, where, their `_mean` and `_std`, `logit` of presence and `pre_sigmoid`, its relaxed sample
          before the logistic function; `is_taken`: whether the network takes the step; `adds`: whether what it finds
          then counts; `pres`: 0 where it does not.
        """
        outputs = self.recurrent(frames)
        raw = tf.reshape(self.head(tf.reshape(outputs, [-1, outputs.shape[-1]])), [-1, self.num_slots, 9])
        raw = tf.repeat(raw, particles, axis=0)
        scale_mean, scale_raw, shift_mean, shift_raw, logit = tf.split(raw, [2, 2, 2, 2, 1], axis=-1)
        where_mean = _bounded(tf.concat([scale_mean, shift_mean], axis=-1))
        where_std = tf.exp(tf.concat([scale_raw, shift_raw], axis=-1))
        logit, noise = _bounded(logit), noise or {}
        where = distributions.sample_normal(where_mean, where_std, noise.get("where"))
        glimpse = reader(glimpses.readable(frames), particles, self.glimpse_shape)(where)
        what_mean, what_raw = tf.split(self.glimpse_encoder(glimpse), 2, axis=-1)
        what_mean, what_std = (
            tf.reshape(v, [-1, self.num_slots, self.what_size]) for v in (what_mean, tf.exp(what_raw))
        )
        what = distributions.sample_normal(what_mean, what_std, noise.get("what"))
        drawn = seeds.logistic(noise["pres"]) if noise else None
        pre_sigmoid = distributions.sample_logistic(logit, drawn)
        pres = tf.sigmoid(pre_sigmoid) if training else tf.cast(pre_sigmoid > 0.0, tf.float32)
        is_taken, adds = steps_taken(pres)
        return {
            "what": what,
            "what_mean": what_mean,
            "what_std": what_std,
            "where": where,
            "where_mean": where_mean,
            "where_std": where_std,
            "logit": logit,
            "pre_sigmoid": pre_sigmoid,
            "pres": pres * adds,
            "is_taken": is_taken,
            "adds": adds,
        }

    def weigh(self, frames, found: dict, noise, particles: int) -> dict:
        """See `PerFrameModel`. Rounded relaxed samples are Bernoulli samples of the same log-odds."""
        prior = {"where_mean": WHERE_MEAN, "where_std": WHERE_STD, "what_mean": 0.0, "what_std": 1.0}
        latent = terms.latent_terms("found", found, prior, noise)
        pres, logit = found["pres"][..., 0], found["logit"][..., 0]
        prior_logit = tf.zeros_like(logit) + self.annealed_quantities[ODDS]
        weighed = {"count": presence.log_count(pres, logit), "count_prior": presence.log_count(pres, prior_logit)}
        sums = {end: tf.add_n([latent[f"found_{name}{end}"] for name in ("what", "where")]) for end in ("", "_prior")}
        weighed["kl"] = weighed["count"] - weighed["count_prior"] + tf.reduce_sum(sums[""] - sums["_prior"], axis=-1)
        weighed["discrete"] = weighed["count"]
        weighed = {name: tf.reshape(value, [-1, particles]) for name, value in weighed.items()}
        return weighed | {"log_likelihood": self._log_likelihood(frames, found, particles)}

    def imagine(self, noise, rows) -> dict:
        """See `PerFrameModel`. With the published schedule's last odds, scenes are as good as always empty."""
        logit = tf.fill([rows, self.num_slots, 1], self.annealed_quantities[ODDS])
        previous, pres = tf.ones([rows, 1]), []
        for j in range(self.num_slots):
            previous = presence.sample(previous, logit[:, j], None if noise is None else noise["pres"][:, j])
            pres.append(previous)
        where, what = tf.zeros([rows, self.num_slots, 4]), tf.zeros([rows, self.num_slots, self.what_size])
        if noise is not None:
            where, what = WHERE_STD * noise["where"], noise["what"]
        return {"what": what, "where": WHERE_MEAN + where, "pres": tf.stack(pres, axis=1), "logit": logit}

    def _log_likelihood(self, frames, found, particles: int):
        """`[R,K]` nats per frame."""
        latents = {name: found[name] for name in ("what", "where", "pres")}
        mean = self.decoder(**latents, frame_shape=tuple(frames.shape[1:]))["mean"]
        target = tf.stack(tf.unstack(frames, axis=-1), axis=-2)[:, None]
        return self.decoder.log_likelihood(target, tf.reshape(mean, [-1, particles, *mean.shape[1:]]))

    def _latent_kls(self, found) -> dict:
        """Divergences from the priors, element by element: scale and shift `[M,N,2]`, what `[M,N,A]` nats."""
        scale_mean, shift_mean = tf.split(found["where_mean"], 2, axis=-1)
        scale_std, shift_std = tf.split(found["where_std"], 2, axis=-1)
        posteriors = {
            "scale": (scale_mean, scale_std, SCALE_PRIOR),
            "shift": (shift_mean, shift_std, SHIFT_PRIOR),
            "what": (found["what_mean"], found["what_std"], (0.0, 1.0)),
        }
        return {
            name: distributions.normal_kl(distributions.normal(mean, std), distributions.normal(*prior))
            for name, (mean, std, prior) in posteriors.items()
        }


def steps_taken(pres) -> tuple[tf.Tensor, tf.Tensor]:
    """Which steps the network takes, and which of them add to the frame, `[M,N,1]` of 0 and 1.

    It stops as soon as presences `[M,N,1]` have fallen short of 1 by `ENOUGH`, all together; the step at which it does
    is taken, but what it finds does not count.
    """
    missing = tf.cumsum(1.0 - tf.stop_gradient(pres), axis=1)
    before = tf.concat([tf.zeros_like(missing[:, :1]), missing[:, :-1]], axis=1)
    return tf.cast(before < ENOUGH, pres.dtype), tf.cast(missing < ENOUGH, pres.dtype)


def _bounded(logits):
    return tf.clip_by_value(logits, -LARGEST_LOGIT, LARGEST_LOGIT)
