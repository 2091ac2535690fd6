"""AIR as the SQAIR paper's baseline: SQAIR's discovery and decoder, for each frame by itself.

Source: Kosiorek, Kim, Posner, Teh: Sequential Attend, Infer, Repeat (NeurIPS 2018), section 4 and appendix; SQAIR
specification 7.1.
"""

import gin
import tensorflow as tf

from silot_tf.models.sqair import counts, objective, priors, terms
from silot_tf.models.sqair.air.options import check_tracking
from silot_tf.models.sqair.air.per_frame import OBJECTS, PART, PerFrameModel, drawn_by_weight, take
from silot_tf.models.sqair.decoder import AdditiveDecoder
from silot_tf.models.sqair.discovery import CELLS, Discovery
from silot_tf.models.sqair.encoders import FrameEncoder, GlimpseEncoder, SharedConvolutions, reader
from silot_tf.models.sqair.options import NetworkChecks
from silot_tf.models.sqair.presence import OFF
from silot_tf.ops import glimpses
from silot_tf.ops.shapes import batch_size_of

COUNT_PRIORS = ("truncated_geometric", "geometric")


@gin.register(module="air")
class AIR(PerFrameModel):
    """Attend, Infer, Repeat with the networks, particles and bound of SQAIR."""

    def __init__(
        self,
        num_slots: int = 3,
        num_particles: int = 5,
        glimpse_shape=(20, 20),
        what_size: int = 50,
        units: int = 256,
        cell: str = "rnn",
        encoder: str = "mlp",
        decoder: str = "mlp",
        mean_image: bool = True,
        output_std: float = 0.3,
        output_scale: float = 0.25,
        discovery_bias: float = 1.0,
        box_std_bias: float = -3.0,
        scale_prior: float = -2.0,
        count_prior="truncated_geometric",
        count_success: float = 0.75,
        vimco: str = "exact",
        distance_gate: float = 0.3,
        evaluation_particles: int = 1,
        evaluation_noise: bool = True,
        name=None,
    ):
        """Build the network.

        Args:
          num_slots: N, most objects in a frame; at most 12, since identities are matched exactly.
          num_particles: K, samples per frame in training; 2 or more.
          glimpse_shape: (rows, columns) of glimpses, read and painted.
          what_size: length of the appearance vector.
          units: width of dense layers and the recurrent network.
          cell: of discovery: `"rnn"` (as SQAIR) or `"gru"`.
          encoder: of frames, see `SQAIR`.
          decoder: of glimpses, see `SQAIR`.
          mean_image: learn an image that is added where objects are painted.
          output_std: standard deviation of the pixels' likelihood.
          output_scale: initial factor on decoded glimpses.
          discovery_bias: initial log-odds of one more object.
          box_std_bias: initial offset of raw standard deviations of boxes.
          scale_prior: mean of the prior of scale logits, whose other parameters are those of N(0, 1); 0 for the
            paper's.
          count_prior: `"truncated_geometric"`, `"geometric"`, or N + 1 probabilities of 0 to N.
          count_success: rho of the geometric ones.
          vimco: gradient through presences: `"exact"` or `"release"`, see `ops.importance.vimco_surrogate`.
          distance_gate: how far an object moves at most between two frames, in fractions of the frame; beyond it, it
            gets a fresh identity.
          evaluation_particles: at evaluation, samples per frame of which one is drawn by weight.
          evaluation_noise: sample latents at evaluation; False: means, and the most probable presences.
        """
        super().__init__(name=name or "air")
        checks = NetworkChecks("air.AIR")
        checks.check_sizes(num_slots, glimpse_shape, units, evaluation_particles)
        check_tracking(checks, num_slots, distance_gate)
        checks.check_objective(num_particles, output_std, vimco)
        checks.check_networks(encoder, decoder, glimpse_shape)
        checks.check_choice("cell", cell, CELLS)
        checks.check_count_prior(count_prior, num_slots, count_success, COUNT_PRIORS)
        self._checks = checks
        self.num_slots, self.num_particles, self.what_size, self.units = num_slots, num_particles, what_size, units
        self.glimpse_shape, self.vimco, self.distance_gate = tuple(glimpse_shape), vimco, distance_gate
        self.evaluation_particles, self.evaluation_noise = evaluation_particles or 1, evaluation_noise
        self._discovery_options = {"step_bias": discovery_bias, "scale_bias": box_std_bias, "cell": cell}

        convolutions = SharedConvolutions(name="convolutions") if encoder == "convolution" else None
        self.frame_encoder = FrameEncoder(encoder, units, convolutions, name="frame_encoder")
        self.glimpse_encoder = GlimpseEncoder(
            glimpse_shape, what_size, units, masked=False, convolutions=convolutions, name="glimpse_encoder"
        )
        self.discovery = None  # built for the frames' size
        self.where_prior = priors.FixedWherePrior(scale_prior, name="where_prior")
        self.count_prior = counts.make(count_prior, num_slots, count_success, name="count_prior")
        self.decoder = AdditiveDecoder(
            decoder, glimpse_shape, units, output_scale, output_std, mean_image, name="decoder"
        )

    def loss_terms(self, batch, annealed: dict, *, seed) -> tuple[dict, dict]:
        """See `VideoModel`: `negative_bound` and `score_function` of each frame, which is a sequence of length 1.

        Outputs are those of a particle per frame, drawn by its weight.
        """
        video, mask = batch["video"], batch["frame_mask"]
        size, frames = batch_size_of(video), video.shape[1]
        results = self.importance_weights(video, self.num_particles, seed=seed, mask=tf.cast(mask, tf.float32))
        loss = objective.losses(results["log_weight"], results["log_discrete"], self.vimco)
        by_frame = lambda value: tf.reshape(value, [size, frames])  # noqa: E731
        flat = (
            {"present": tf.reshape(batch["present"], [-1, 1, batch["present"].shape[2]])} if "present" in batch else {}
        )
        diagnostics = objective.diagnostics(results, tf.reshape(tf.cast(mask, tf.float32), [-1, 1]), flat)
        chosen = drawn_by_weight(results["log_weight"], size, frames, seed)
        shown = take({name: results["stages"][PART][name][:, 0] for name in OBJECTS}, chosen)
        linked = tf.ones([size, frames], tf.bool)
        shown, _ = self.show(shown, tuple(video.shape[2:]), self.initial_state(size), linked)
        shown["diagnostics"] = tf.nest.map_structure(by_frame, diagnostics)
        return {name: tf.where(mask, by_frame(value), 0.0) for name, value in loss.items()}, shown

    def initialize_from_data(self, batches) -> None:
        """See `VideoModel`: the mean image, where there is one, starts as the mean of the frames."""
        self.decoder.initialize_from_data(batches)

    def prepare_for(self, frame_shape) -> None:
        """See `PerFrameModel`."""
        if self.discovery is None:
            self._checks.check_glimpses_fit(self.glimpse_shape, frame_shape)
            features, scene = self.frame_encoder.features(frame_shape), 0
            sizes = (self.num_slots, features, scene, self.what_size, self.units)
            self.discovery = Discovery(self.glimpse_encoder, *sizes, **self._discovery_options, name="discovery")
        self.decoder.build_for(frame_shape)

    def find(self, frames, noise, particles: int, *, training: bool = False) -> dict:
        """See `PerFrameModel`; the results of `Discovery`."""
        driven = tf.repeat(self.discovery.drive(self.frame_encoder(frames)), particles, axis=0)
        read = reader(glimpses.readable(frames), particles, self.glimpse_shape)
        return self.discovery(driven, read=read, noise=noise)

    def weigh(self, frames, found: dict, noise, particles: int) -> dict:
        """See `PerFrameModel`; also the sums of `terms.discovery_terms`."""
        what, unknown = found["what"], tf.zeros_like(found["pres"][:, 0])
        where_mean, where_std = self.where_prior(self.where_prior.context(None, unknown), found["where"])
        prior = {"where_mean": where_mean, "where_std": where_std, "count": self.count_prior(unknown, unknown)}
        prior |= {"what_mean": tf.zeros_like(what), "what_std": tf.ones_like(what)}
        weighed = terms.discovery_terms(found, prior, noise)
        weighed = {name: tf.reshape(v, [-1, particles]) for name, v in weighed.items() if v.shape.rank == 1}
        latents = {name: found[name] for name in ("what", "where", "pres")}
        mean = self.decoder(**latents, frame_shape=tuple(frames.shape[1:]))["mean"]
        target = tf.stack(tf.unstack(frames, axis=-1), axis=-2)[:, None]
        mean = tf.reshape(mean, [-1, particles, *mean.shape[1:]])
        weighed["log_likelihood"] = self.decoder.log_likelihood(target, mean)
        weighed["kl"] = weighed["discovery"] - weighed["discovery_prior"]
        weighed["discrete"] = weighed["count"]
        return weighed

    def imagine(self, noise, rows) -> dict:
        """See `PerFrameModel`. Without noise it is the most probable number of objects: by geometric priors none."""
        unknown = tf.zeros([rows, 1])
        number = counts.sample_count(self.count_prior(unknown, unknown), None if noise is None else noise["pres"][:, 0])
        pres = tf.cast(tf.range(1, self.num_slots + 1, dtype=tf.float32) <= number, tf.float32)[..., None]
        what, where = tf.zeros([rows, self.num_slots, self.what_size]), tf.zeros([rows, self.num_slots, 4])
        mean, std = self.where_prior(unknown, where)
        if noise is not None:
            what, where = noise["what"], std * noise["where"]
        return {"what": what, "where": mean + where, "pres": pres, "logit": OFF * (2.0 * pres - 1.0)}
