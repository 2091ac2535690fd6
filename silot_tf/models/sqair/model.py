"""The SQAIR network as a video model: what is drawn before the loop over time, the loop, and everything after it.

    frames -> frame encoder (all frames at once)
    loop over frames (see `step`): propagation slot by slot -> discovery step by step -> merging, identities
    decoder, likelihood, priors, importance weights (all frames at once)

Particles of a video are folded into the batch: inside, tensors are `[M,...]` with M = B * K.

Source: Kosiorek, Kim, Posner, Teh: Sequential Attend, Infer, Repeat (NeurIPS 2018), and its released code.
"""

import gin
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.layers.elu import EluMLP
from silot_tf.layers.recurrent import unroll as unroll_over_time
from silot_tf.models.base import VideoModel
from silot_tf.models.sqair import counts, objective, options, outputs, priors, weights
from silot_tf.models.sqair import state as states
from silot_tf.models.sqair.decoder import AdditiveDecoder
from silot_tf.models.sqair.discovery import Discovery
from silot_tf.models.sqair.encoders import FrameEncoder, GlimpseEncoder, SharedConvolutions
from silot_tf.models.sqair.noise import gumbel, noise_of_clips
from silot_tf.models.sqair.propagation import Propagation
from silot_tf.models.sqair.step import FrameStep
from silot_tf.ops import glimpses
from silot_tf.ops.shapes import batch_size_of, merge_leading


@gin.register(module="sqair")
class SQAIR(VideoModel):
    """Sequential Attend, Infer, Repeat."""

    has_sprites = True

    def __init__(
        self,
        num_slots: int = 3,
        num_particles: int = 5,
        glimpse_shape=(20, 20),
        what_size: int = 50,
        units: int = 256,
        encoder: str = "mlp",
        decoder: str = "mlp",
        glimpse_mask: bool = True,
        mean_image: bool = True,
        output_std: float = 0.3,
        output_scale: float = 0.25,
        discovery_bias: float = 1.0,
        propagation_bias: float = 5.0,
        propagation_prior_bias: float = 10.0,
        box_std_bias: float = -3.0,
        scale_prior: float = -2.0,
        count_prior="categorical",
        count_success: float = 0.75,
        where_prior: str = "recurrent",
        propagation_prior: str = "rnn",
        cap_discovery: bool = False,
        vimco: str = "exact",
        forced_count=None,
        told_from: int = 0,
        particle_choice: str = "single",
        evaluation_particles: int | None = None,
        evaluation_noise: bool = True,
        rollout_discovery: bool = False,
        name=None,
    ):
        """Build the network.

        Args:
          num_slots: N, most objects in a frame, and most that are found in a frame.
          num_particles: K, samples per clip in training; 2 or more.
          glimpse_shape: (rows, columns) of glimpses, read and painted.
          what_size: length of the appearance vector.
          units: width of dense layers and recurrent networks.
          encoder: of frames: `"mlp"`, `"convolution"` (CONV-SQAIR; its convolutions read glimpses too) or `"strided"`
            (what SILOT's comparison calls conv_sqair).
          decoder: of glimpses: `"mlp"` or `"convolution"` (CONV-SQAIR).
          glimpse_mask: an object's state may darken parts of the glimpses that look for it.
          mean_image: learn an image that is added where objects are painted.
          output_std: standard deviation of the pixels' likelihood.
          output_scale: initial factor on decoded glimpses.
          discovery_bias: initial log-odds of one more new object.
          propagation_bias: initial log-odds that an object stays.
          propagation_prior_bias: the same of the prior.
          box_std_bias: initial offset of raw standard deviations of boxes.
          scale_prior: mean of the prior of new boxes' scale logits; sigmoid gives the share of the frame's side.
          count_prior: of newly discovered objects: `"categorical"` (learned), `"truncated_geometric"`, `"geometric"`,
            or N + 1 probabilities of 0 to N.
          count_success: rho of the geometric ones.
          where_prior: of new boxes: `"recurrent"` (learned) or `"fixed"`.
          propagation_prior: `"rnn"`, `"rw"` (random walk) or `"guided"` (steps from the last place).
          cap_discovery: let at most as many objects be found as slots are free; otherwise those found last are lost.
          vimco: gradient through presences: `"exact"` or `"release"`, see `ops.importance.vimco_surrogate`.
          forced_count: None; a number of objects found in the first frame, which stay (SILOT's fixed_sqair: num_slots);
            or `"told"`: as many as evaluation tells the model, clip by clip.
          told_from: numbers below it are not told (0: all are told); for `forced_count = "told"`.
          particle_choice: which particle of a clip is shown: `"single"`: only one is sampled; `"running"`: at each
            frame one drawn by the weights up to it; `"clip"`: one for all frames, drawn by the weights of the whole
            clip (the paper's protocol; not causal, so clips go through whole).
          evaluation_particles: K at evaluation for the latter two; None for `num_particles`.
          evaluation_noise: sample latents at evaluation; False: means, and the most probable presences.
          rollout_discovery: objects enter in prior roll-outs too; the paper's have none.
        """
        super().__init__(name=name or "sqair")
        checks = options.NetworkChecks("sqair.SQAIR")
        checks.check_sizes(num_slots, glimpse_shape, units, evaluation_particles)
        checks.check_objective(num_particles, output_std, vimco)
        checks.check_networks(encoder, decoder, glimpse_shape)
        checks.check_count_prior(count_prior, num_slots, count_success)
        checks.check_choice("where_prior", where_prior, priors.WHERE_KINDS)
        checks.check_choice("propagation_prior", propagation_prior, priors.PROPAGATION_KINDS)
        checks.check_choice("particle_choice", particle_choice, options.PARTICLE_CHOICES)
        checks.check_forced_count(forced_count, num_slots)
        self._checks = checks
        self.num_slots, self.num_particles, self.what_size, self.units = num_slots, num_particles, what_size, units
        self.glimpse_shape, self.cap_discovery, self.vimco = tuple(glimpse_shape), cap_discovery, vimco
        self.forced_count, self.told_from = forced_count, told_from
        self.is_told_count, self.forces_count = forced_count == options.TOLD, forced_count is not None
        self.causal, self.particle_choice = particle_choice != "clip", particle_choice
        self.editable_state = particle_choice == "single"  # otherwise slots of what is shown are not those of the state
        self.evaluation_particles = 1 if particle_choice == "single" else evaluation_particles or num_particles
        self.evaluation_noise, self.rollout_discovery = evaluation_noise, rollout_discovery
        self._discovery_biases = {"step_bias": discovery_bias, "scale_bias": box_std_bias}

        convolutions = SharedConvolutions(name="convolutions") if encoder == "convolution" else None
        self.frame_encoder = FrameEncoder(encoder, units, convolutions, name="frame_encoder")
        self.glimpse_encoder = GlimpseEncoder(
            glimpse_shape, what_size, units, glimpse_mask, convolutions, name="glimpse_encoder"
        )
        self.discovery = None  # built for the frames' size
        self.propagation = Propagation(
            self.glimpse_encoder, what_size, units, propagation_bias, box_std_bias, name="propagation"
        )
        self.latent_encoder = EluMLP((units, units), name="latent_encoder")
        self.propagation_prior = priors.PropagationPrior(
            propagation_prior, what_size, units, propagation_prior_bias, name="propagation_prior"
        )
        self.where_prior = priors.make_where(where_prior, scale_prior, name="where_prior")
        self.count_prior = counts.make(count_prior, num_slots, count_success, name="count_prior")
        self.decoder = AdditiveDecoder(
            decoder, glimpse_shape, units, output_scale, output_std, mean_image, name="decoder"
        )
        self.initial_temporal = self.add_weight(shape=(1, units), initializer="zeros", name="initial_temporal")
        self.initial_prior = self.add_weight(shape=(1, units), initializer="zeros", name="initial_prior")

    # ------------------------------------------------------------------------------------------------ the contract

    def initial_state(self, batch_size, crop_offset=None, object_count=None) -> dict:
        """See `VideoModel`; `[B,K,...]` with particles K of evaluation.

        Args:
          batch_size: B.
          crop_offset: makes no difference.
          object_count: `[B]` numbers of objects, for models that are told them (`is_told_count`).

        Raises:
          UserError: if more objects are told than there are slots.
        """
        state = self.particles_before(batch_size, self.evaluation_particles)
        return state if object_count is None else self._tell(state, object_count)

    def unroll(self, video, state=None, *, seed, training=False, rollout_from=None) -> tuple[dict, dict]:
        """See `VideoModel`. Objects also have a `confidence`, the probability of their presence."""
        batch, is_first = batch_size_of(video), state is None
        if is_first:
            state = self.initial_state(batch)
        noise = None
        if training or (self.evaluation_noise and seed is not None):
            noise = self.draw_noise(video, self.evaluation_particles, state["frame"], seed)
        stages, next_state = self.unroll_stages(video, state, noise, is_first=is_first, rollout_from=rollout_from)
        chosen = None
        if self.evaluation_particles > 1:
            chosen, log_weight = weights.choose(self, video, state, stages, noise, seed, rollout_from)
            next_state["log_weight"] = log_weight
        return self.outputs(video, stages, chosen), states.without_absent(next_state, self._initial_rows())

    def loss_terms(self, batch, annealed: dict, *, seed) -> tuple[dict, dict]:
        """See `VideoModel`: `negative_bound` and `score_function`, the bound's gradient through presences.

        Both are the clip's, divided by its frames, so that the mean over videos and frames is the published loss.
        Outputs are those of a particle drawn by its weight.
        """
        video, mask = batch["video"], tf.cast(batch["frame_mask"], tf.float32)
        size = batch_size_of(video)
        results = self.importance_weights(video, self.num_particles, seed=seed, mask=mask)
        log_w, log_q = results["log_weight"], results["log_discrete"]
        share = mask / tf.maximum(tf.reduce_sum(mask, axis=1, keepdims=True), 1.0)
        loss = {name: value[:, None] * share for name, value in objective.losses(log_w, log_q, self.vimco).items()}
        chosen = tf.argmax(tf.stop_gradient(log_w) + gumbel(size, self.num_particles, seed), 1, output_type=tf.int32)
        shown = self.outputs(video, results["stages"], tf.repeat(chosen[:, None], video.shape[1], axis=1))
        shown["diagnostics"] = objective.diagnostics(results, mask, batch)
        # The sum of a masked row is exact only where the mask is applied last.
        return {name: tf.where(batch["frame_mask"], value, 0.0) for name, value in loss.items()}, shown

    def edit_state(self, state, frame_shape, *, remove, shift) -> dict:
        """See `VideoModel`; offered with `particle_choice` "single"."""
        return states.edited(state, remove, shift, self._initial_rows())

    def sprites(self, what):
        """See `VideoModel` and `outputs.sprites_of`."""
        return outputs.sprites_of(self.decoder, what)

    def initialize_from_data(self, batches) -> None:
        """See `VideoModel`: the mean image starts as the mean of the frames."""
        self.decoder.initialize_from_data(batches)

    # ------------------------------------------------------------------------------------------- beyond the contract

    def generate(self, batch_size, frames: int, frame_shape, *, seed) -> dict:
        """Outputs of clips drawn from the prior: first frame and all that follow, with discovery.

        Args:
          batch_size: B.
          frames: T.
          frame_shape: (H, W, C) as in training.
          seed: `[2]` int32.
        """
        video = tf.zeros([batch_size, frames, *frame_shape])
        state = self.particles_before(batch_size, 1)
        noise = self.draw_noise(video, 1, state["frame"], seed)
        stages, _ = self.unroll_stages(video, state, noise, rollout_from=0, rollout_discovery=True)
        return self.outputs(video, stages)

    def bound(self, video, num_particles: int = 1000, *, seed, **settings) -> dict:
        """Importance-weighted bound with many particles; see `objective.bound`."""
        return objective.bound(self, video, num_particles, seed=seed, **settings)

    def importance_weights(self, video, particles: int, *, seed, mask=None) -> dict:
        """K particles of clips from their first frame on, and what they weigh.

        Args:
          video: `[B,T,H,W,C]`.
          particles: K.
          seed: `[2]` int32.
          mask: `[B,T]` float, 0 for padding frames; None for none.

        Returns:
          `log_weight`, `log_discrete` `[B,K]` nats per clip; `terms` `[B,K,T]` (see `weights.weights_of`); `stages`.
        """
        state = self.particles_before(batch_size_of(video), particles)
        noise = self.draw_noise(video, particles, state["frame"], seed)
        stages, _ = self.unroll_stages(video, state, noise, is_first=True)
        found = weights.weights_of(self, video, stages, noise, particles)
        mask = tf.ones(tf.shape(video)[:2]) if mask is None else mask
        counted = {name: tf.where(mask[:, None] > 0, found[name], 0.0) for name in ("log_alpha", "discrete")}
        return {
            "log_weight": tf.reduce_sum(counted["log_alpha"], axis=-1),
            "log_discrete": tf.reduce_sum(counted["discrete"], axis=-1),
            "terms": found,
            "stages": stages,
        }

    # ---------------------------------------------------------------------------------------------- inside the room

    def particles_before(self, batch_size, particles: int) -> dict:
        """State before the first frame, `[B,K,...]`."""
        forced = self.forced_count if isinstance(self.forced_count, int) else -1
        sizes = (particles, self.num_slots, self.what_size)
        return states.particles_before(batch_size, *sizes, self._initial_rows(), forced)

    def _initial_rows(self) -> dict:
        return {"hidden": self.initial_temporal, "hidden_prior": self.initial_prior}

    def draw_noise(self, video, particles: int, frame, seed) -> dict:
        """All random numbers of a clip, see `noise`; `frame`: numbers of the first frame."""
        sizes = (particles, self.num_slots, self.what_size)
        return noise_of_clips(batch_size_of(video), video.shape[1], *sizes, tf.reduce_max(frame), seed)

    def unroll_stages(
        self, video, state, noise, *, is_first=False, rollout_from=None, rollout_discovery=None
    ) -> tuple[dict, dict]:
        """Every intermediate result of a clip, `[M,T,...]` with the particles of a video together, and the next state.

        Args:
          video, state, rollout_from: see `VideoModel.unroll`.
          noise: see `noise.noise_of_clips`; None for means.
          is_first: leave out propagation into the first frame of the clip, since nothing was there.
          rollout_discovery: None for the model's.
        """
        self.prepare_for(tuple(video.shape[2:]))
        frames, particles = video.shape[1], state["log_weight"].shape[1]
        codes = self.frame_encoder(tf.reshape(video, [-1, *video.shape[2:]]))
        inputs = {
            "frame": glimpses.readable(video),
            "driven": tf.reshape(self.discovery.drive(codes), [-1, frames, self.units]),
        }
        if noise is not None:
            inputs["noise"] = noise
        per_particle = ("objects", "track_id", "last_id")
        inner = {name: tf.nest.map_structure(merge_leading, state[name]) for name in per_particle}
        inner |= {name: tf.repeat(state[name], particles) for name in ("frame", "forced")}
        discovery = self.rollout_discovery if rollout_discovery is None else rollout_discovery
        step = FrameStep(self, particles, is_first, rollout_from, discovery)
        stages, inner = unroll_over_time(step, inner, inputs, frames)
        unfold = lambda value: tf.reshape(value, [-1, particles, *value.shape[1:]])  # noqa: E731
        following = {name: tf.nest.map_structure(unfold, inner[name]) for name in per_particle}
        following |= {"frame": state["frame"] + frames, "forced": state["forced"], "log_weight": state["log_weight"]}
        return stages, following

    def prepare_for(self, frame_shape) -> None:
        """Create what depends on the frames' shape (H, W, C), unless done."""
        if self.discovery is None:
            self._checks.check_glimpses_fit(self.glimpse_shape, frame_shape)
            self.discovery = Discovery(
                self.glimpse_encoder,
                self.num_slots,
                self.frame_encoder.features(frame_shape),
                self.units,
                self.what_size,
                self.units,
                **self._discovery_biases,
                name="discovery",
            )
        self.decoder.build_for(frame_shape)

    def outputs(self, video, stages, chosen=None) -> dict:
        """Outputs in contract form of one particle per video and frame, `chosen [B,T]`; None if there is one."""
        shown = outputs.chosen_particle(stages, chosen, batch_size_of(video), video.shape[1])
        return outputs.outputs_of(self.decoder, shown, tuple(video.shape[2:]))

    def _tell(self, state, object_count) -> dict:
        """The state with numbers of objects `[B]` told, as far as they are of interest."""
        if not self.is_told_count:
            raise UserError("sqair.SQAIR.forced_count must be 'told' for a model that is told numbers of objects")
        told = tf.cast(object_count, tf.int32)
        static = tf.get_static_value(told)
        if static is not None and static.size and static.max() > self.num_slots:
            raise UserError(
                f"a clip has {static.max()} objects and sqair.SQAIR.num_slots is {self.num_slots}; raise num_slots"
            )
        return state | {"forced": tf.where(told >= self.told_from, told, -1)}
