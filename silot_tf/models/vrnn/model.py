"""Variational recurrent network of whole frames: one latent vector per frame, no objects.

    o_t, state = LSTM([psi_x(x_{t-1}), psi_z(z_{t-1})], state)
    p(z_t) = Normal(MLP(o_t)),   q(z_t) = Normal(MLP([o_t, psi_x(x_t)]))
    p(x_t) = Normal(psi_dec([psi_z(z_t), o_t]), std)

Frames are encoded once, for all particles. What does not feed back into the loop over time (the decoder, unless
particles are resampled or frames are made up) is computed for all frames at once.

Sources: Chung et al., A Recurrent Latent Variable Model for Sequential Data (2015); SQAIR specification 7.2.
"""

import math

import gin
import keras
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.layers.recurrent import unroll as unroll_over_time
from silot_tf.models.base import VideoModel
from silot_tf.models.vrnn.networks import DenseStack, FrameCoder, FrameDecoder
from silot_tf.ops import importance, particle_filter, seeds

BOUNDS = ("iwae", "fivo")
_RESAMPLING, _SHOWN = 1, 2  # streams of random numbers beside the latents' own
ROWS_PER_CHUNK = 1024  # videos times particles worked on at once in `bound`


@gin.register(module="vrnn")
class VRNN(VideoModel):
    """A video model without objects, trained on an importance-weighted bound or on a filtering one."""

    def __init__(
        self,
        latent_size: int = 165,
        state_size: int = 256,
        feature_hidden=(256, 256),
        head_hidden=(256,),
        decoder_hidden=(256,),
        channels=(),
        strides=(),
        seed_channels: int = 16,
        particles: int = 5,
        bound: str = "iwae",
        resample_below: float = 0.5,
        likelihood_std: float = 0.3,
        std_offset: float = 0.25,
        smallest_std: float = 1e-4,
        add_prior_mean: bool = True,
        evaluation_noise: bool = True,
        name=None,
    ):
        """Build the network.

        Args:
          latent_size: length of z.
          state_size: units of the LSTM.
          feature_hidden: widths of psi_x (after convolutions, if any) and psi_z, ELU after each.
          head_hidden: hidden widths of prior and posterior.
          decoder_hidden: hidden widths of the decoder, before transposed convolutions, if any.
          channels, strides: of the 3x3 convolutions of psi_x, mirrored in the decoder; empty for none.
          seed_channels: maps that the transposed convolutions start from.
          particles: K in training.
          bound: "iwae", or "fivo" with resampling between frames; in training. `VRNN.bound` is always the former.
          resample_below: sequences are resampled where the effective sample size is below this share of K ("fivo").
          likelihood_std: standard deviation of pixels.
          std_offset: added to the raw standard deviations of latents, before softplus.
          smallest_std: least standard deviation of latents.
          add_prior_mean: the posterior's network gives the difference of its mean from the prior's.
          evaluation_noise: sample latents in `unroll`, too; else take their means.
        """
        super().__init__(name=name or "vrnn")
        for argument, value, expected, fits in (
            ("particles", particles, "a whole number of at least 1", particles >= 1),
            ("bound", bound, f"one of {', '.join(BOUNDS)}", bound in BOUNDS),
            ("strides", strides, f"one per entry of channels, {tuple(channels)}", len(strides) == len(channels)),
            ("latent_size", latent_size, "at least 1", latent_size >= 1),
            ("likelihood_std", likelihood_std, "a number above 0", likelihood_std > 0),
        ):
            if not fits:
                raise UserError(f"vrnn.VRNN.{argument} = {value}: expected {expected}")
        self.latent_size, self.state_size, self.code_size = latent_size, state_size, feature_hidden[-1]
        self.particles, self.objective, self.resample_below = particles, bound, resample_below
        self.likelihood_std, self.std_offset, self.smallest_std = likelihood_std, std_offset, smallest_std
        self.add_prior_mean, self.evaluation_noise = add_prior_mean, evaluation_noise
        self.frame_coder = FrameCoder(feature_hidden, channels, strides, name="frame_coder")
        self.latent_coder = DenseStack(feature_hidden, name="latent_coder")
        self.cell = keras.layers.LSTMCell(state_size, recurrent_initializer="glorot_uniform", name="cell")
        self.prior = DenseStack(head_hidden, 2 * latent_size, name="prior")
        self.posterior = DenseStack(head_hidden, 2 * latent_size, name="posterior")
        self.decoder = FrameDecoder(decoder_hidden, channels, strides, seed_channels, name="decoder")
        self._chunks = {}

    # ------------------------------------------------------------------------------------------------ the contract

    def initial_state(self, batch_size, crop_offset=None) -> dict:
        """See `VideoModel`; `crop_offset` means nothing here."""
        return {
            "output": tf.zeros([batch_size, self.state_size]),
            "cell": tf.zeros([batch_size, self.state_size]),
            "latent_code": tf.zeros([batch_size, self.code_size]),
            "frame_code": tf.zeros([batch_size, self.code_size]),  # of the frame before; of a black one at frame 0
            "frame": tf.zeros([batch_size], tf.int32),
        }

    def unroll(self, video, state=None, *, seed, training=False, rollout_from=None) -> tuple[dict, dict]:
        """See `VideoModel`, with one particle.

        From `rollout_from` on latents come from the prior, and the network's own mean frame stands for the frame seen.
        """
        if state is None:
            state = self.initial_state(tf.shape(video)[0])
        codes, black = self._codes(video)
        inputs = {"code": codes}
        if seed is not None and (training or self.evaluation_noise):
            inputs["noise"] = self._noise(tf.shape(video)[0], video.shape[1], tf.reduce_max(state["frame"]), seed)

        def step(state, inputs):
            rolling = None if rollout_from is None else state["frame"] >= rollout_from
            stage, after = self._advance(state, inputs["code"], inputs.get("noise"), black, rolling)
            if rolling is not None:
                stage["mean"] = self.decoder(stage["code"])
                imagined = self.frame_coder(tf.clip_by_value(stage["mean"], 0.0, 1.0))
                after["frame_code"] = tf.where(rolling[:, None], imagined, after["frame_code"])
            return after, stage

        stages, state = unroll_over_time(step, state, inputs, video.shape[1])
        means = stages.get("mean")
        return self._outputs(self._decode(stages["code"]) if means is None else means, stages["latent"]), state

    def loss_terms(self, batch, annealed: dict, *, seed) -> tuple[dict, dict]:
        """See `VideoModel`: `negative_bound`, the same in every frame of a sequence.

        The outputs are those of one particle, drawn by weight.
        """
        video, mask = batch["video"], tf.cast(batch["frame_mask"], tf.float32)
        resample = self.objective == "fivo"
        run = self._run_particles(video, mask, self.particles, seed, frame_by_frame=resample, resample=resample)
        per_frame = run["bound"] / tf.maximum(tf.reduce_sum(mask, axis=1), 1.0)
        outputs = self._outputs(*self._drawn_particle(run, seed))
        omega = importance.normalised_weights(run["log_weights"])
        outputs["diagnostics"] = {
            "log_likelihood": tf.reduce_sum(omega * run["log_likelihood"], axis=-1),
            "kl": tf.reduce_sum(omega * run["kl"], axis=-1),
            "effective_sample_size": importance.effective_sample_size(run["log_weights"]),
        }
        return {"negative_bound": -per_frame[:, None] * mask}, outputs

    # ---------------------------------------------------------------------------------------------- its own methods

    def bound(
        self,
        video,
        num_particles: int = 1000,
        *,
        seed,
        particles_per_chunk: int | None = None,
        frame_mask=None,
        object_count=None,
    ) -> dict:
        """Importance-weighted bound of clips with any number of particles, in chunks of bounded memory; eager only.

        Args:
          video: `[B,T,H,W,C]`.
          num_particles: K.
          seed: `[2]` int32.
          particles_per_chunk: None for what makes `ROWS_PER_CHUNK`.
          frame_mask: `[B,T]` bool; None for all frames.
          object_count: makes no difference.

        Returns:
          `[B]` each, nats per clip: `bound`; `effective_sample_size`; averages by weight `log_likelihood`, log p(x|z),
          and `kl`, log q(z|x) - log p(z); plain averages over particles `elbo`, `sample_log_likelihood`, `sample_kl`.

        Raises:
          UserError: for no particles.
        """
        if num_particles < 1:
            raise UserError(f"num_particles of the bound is {num_particles}; expected at least 1")
        video = tf.convert_to_tensor(video)
        mask = tf.ones(video.shape[:2]) if frame_mask is None else tf.cast(frame_mask, tf.float32)
        chunk = min(particles_per_chunk or max(1, ROWS_PER_CHUNK // video.shape[0]), num_particles)
        running, plain = importance.no_particles(video.shape[0], ("log_likelihood", "kl")), {}
        for done in range(0, num_particles, chunk):
            compute = self._chunk(min(chunk, num_particles - done))
            log_weights, values = compute(video, mask, seeds.fold(seed, done))
            running = importance.add_particles(running, log_weights, values)
            sums = {"elbo": log_weights} | {f"sample_{name}": value for name, value in values.items()}
            plain = {name: plain.get(name, 0.0) + tf.reduce_sum(value, axis=1) for name, value in sums.items()}
        return importance.bound_of(running) | {name: value / num_particles for name, value in plain.items()}

    # ---------------------------------------------------------------------------------------------- inside the room

    def _chunk(self, particles: int):
        """Compiled function of video, mask and seed: log-weights `[B,K]`, and sums over frames to average."""
        if particles not in self._chunks:

            def run_chunk(video, mask, seed):
                run = self._run_particles(video, mask, particles, seed, frame_by_frame=True, keep_frames=False)
                summed = {name: tf.reduce_sum(run[name], axis=1) for name in ("log_likelihood", "kl")}
                return tf.reduce_sum(run["log_alpha"], axis=1), summed

            self._chunks[particles] = tf.function(run_chunk, autograph=False)
        return self._chunks[particles]

    def _run_particles(
        self, video, mask, particles: int, seed, *, frame_by_frame, resample: bool = False, keep_frames: bool = True
    ) -> dict:
        """K particles over whole clips: terms of the log-weights, and the bound.

        Args:
          video: `[B,T,H,W,C]`.
          mask: `[B,T]` float, 0 for frames that do not count.
          particles: K.
          seed: `[2]` int32.
          frame_by_frame: decode inside the loop over time, which takes less memory and more operations.
          resample: between frames; needs the above.
          keep_frames: return mean frames.

        Returns:
          `log_likelihood`, `kl`, `log_alpha` and normalised `log_weights`, each `[B,T,K]` (the latter before
          resampling); `bound [B]`; `latent [B,T,K,Z]` and, where asked for, `mean [B,T,K,H,W,C]`.
        """
        size, frames = tf.shape(video)[0], video.shape[1]
        codes, black = self._codes(video)
        inputs = {
            "code": tf.repeat(codes, particles, axis=0),
            "noise": self._noise(size * particles, frames, 0, seed),
            "video": video,
            "mask": mask,
        }
        if resample:
            draws = [seeds.uniform([size, particles], seeds.fold(seed, t, _RESAMPLING)) for t in range(frames)]
            inputs["draw"] = tf.stack(draws, axis=1)

        def weigh(stage, mean, frame, counted):
            mean = tf.reshape(mean, [-1, particles, *frame.shape[1:]])
            counted = counted[:, None]
            weighed = {
                "log_likelihood": counted * self._log_likelihood(frame[:, None], mean),
                "kl": counted * tf.reshape(stage["kl"], [-1, particles]),
                "latent": tf.reshape(stage["latent"], [-1, particles, self.latent_size]),
            }
            weighed["log_alpha"] = weighed["log_likelihood"] - weighed["kl"]
            return weighed | ({"mean": mean} if keep_frames else {})

        def step(carry, inputs):
            state, log_weights = carry
            stage, state = self._advance(state, inputs["code"], inputs["noise"], black)
            if not frame_by_frame:
                return (state, log_weights), stage
            weighed = weigh(stage, self.decoder(stage["code"]), inputs["video"], inputs["mask"])
            weighed["increment"], log_weights = particle_filter.advance(log_weights, weighed["log_alpha"])
            weighed["log_weights"] = log_weights
            if resample:
                ancestor, resampled = particle_filter.ancestors(log_weights, inputs["draw"], self.resample_below)
                state = particle_filter.continue_from(ancestor, state)
                log_weights = particle_filter.after_resampling(log_weights, resampled)
            return (state, log_weights), weighed

        carry = self.initial_state(size * particles), particle_filter.initial_log_weights(size, particles)
        stages, _ = unroll_over_time(step, carry, inputs, frames)
        if not frame_by_frame:
            over_time = [
                tf.nest.map_structure(lambda value, t=t: value[:, t], (stages, self._decode(stages["code"])))
                for t in range(frames)
            ]
            weighed = [weigh(*over_time[t], video[:, t], mask[:, t]) for t in range(frames)]
            stages = tf.nest.map_structure(lambda *values: tf.stack(values, axis=1), *weighed)
            total = tf.reduce_sum(stages["log_alpha"], axis=1)
            bound = importance.iwae_bound(total)
            final = tf.nn.log_softmax(total, axis=-1)[:, None]
            return stages | {"bound": bound, "log_weights": tf.repeat(final, frames, axis=1)}
        return stages | {"bound": tf.reduce_sum(stages["increment"], axis=1)}

    def _advance(self, state, code, noise, black, rolling=None) -> tuple[dict, dict]:
        """One frame: results, and the next state.

        Args:
          state: see `initial_state`, N rows.
          code: `[N,H]` of this frame.
          noise: `[N,Z]` standard normal, None for means.
          black: `[1,H]` code of a black frame.
          rolling: None, or `[N]` bool where the latent comes from the prior.
        """
        before = tf.where((state["frame"] == 0)[:, None], black, state["frame_code"])
        driven = tf.concat([before, state["latent_code"]], axis=-1)
        output, (_, cell) = self.cell(driven, [state["output"], state["cell"]])
        prior_mean, prior_std = self._normal(self.prior(output))
        mean, std = self._normal(self.posterior(tf.concat([output, code], axis=-1)))
        if self.add_prior_mean:
            mean += prior_mean
        if rolling is not None:
            mean = tf.where(rolling[:, None], prior_mean, mean)
            std = tf.where(rolling[:, None], prior_std, std)
        noise = tf.zeros_like(mean) if noise is None else noise
        latent = mean + std * noise
        # log q - log p of the sample; the constants of both densities are the same.
        kl = 0.5 * tf.square((latent - prior_mean) / prior_std) - 0.5 * tf.square(noise) + tf.math.log(prior_std / std)
        latent_code = self.latent_coder(latent)
        stage = {
            "latent": latent,
            "kl": tf.reduce_sum(kl, axis=-1),
            "code": tf.concat([latent_code, output], axis=-1),  # what the decoder sees
        }
        return stage, {
            "output": output,
            "cell": cell,
            "latent_code": latent_code,
            "frame_code": code,
            "frame": state["frame"] + 1,
        }

    def _normal(self, raw) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and standard deviation."""
        mean, raw_std = tf.split(raw, 2, axis=-1)
        return mean, tf.maximum(tf.nn.softplus(raw_std + self.std_offset), self.smallest_std)

    def _codes(self, video) -> tuple[tf.Tensor, tf.Tensor]:
        """Codes `[B,T,H]` of all frames, and `[1,H]` of a black one."""
        if len(video.shape) != 5 or None in video.shape[1:]:
            raise UserError(
                f"VRNN got clips of shape {tuple(video.shape)}; expected [batch, frames, height, width, channels]"
            )
        frame_shape = video.shape[2:]
        self.decoder.prepare(frame_shape)
        rows = tf.concat([tf.reshape(video, [-1, *frame_shape]), tf.zeros([1, *frame_shape])], axis=0)
        codes = self.frame_coder(rows)
        return tf.reshape(codes[:-1], [-1, video.shape[1], self.code_size]), codes[-1:]

    def _decode(self, codes) -> tf.Tensor:
        """Mean frames `[N,T,H,W,C]` from `[N,T,F]`."""
        means = self.decoder(tf.reshape(codes, [-1, codes.shape[-1]]))
        return tf.reshape(means, [-1, codes.shape[1], *means.shape[1:]])

    def _noise(self, rows, frames: int, first_frame, seed) -> tf.Tensor:
        """Standard normal `[rows,T,Z]`; number of the frame and seed alone decide the noise of a frame."""
        draws = [seeds.normal([rows, self.latent_size], seeds.fold(seed, first_frame + t)) for t in range(frames)]
        return tf.stack(draws, axis=1)

    def _log_likelihood(self, frame, mean) -> tf.Tensor:
        """log Normal(frame; mean, likelihood_std), summed over pixels and channels."""
        per_value = -math.log(self.likelihood_std) - 0.5 * math.log(2 * math.pi)
        squares = tf.reduce_sum(tf.square(frame - mean), axis=[-3, -2, -1])
        return mean.shape[-3] * mean.shape[-2] * mean.shape[-1] * per_value - 0.5 * squares / self.likelihood_std**2

    def _drawn_particle(self, run, seed) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean frames `[B,T,H,W,C]` and latents `[B,T,Z]` of a particle drawn by weight, with one draw per sequence."""
        log_weights = run["log_weights"]
        draw = seeds.uniform([tf.shape(log_weights)[0], 1, 1], seeds.fold(seed, 0, _SHOWN))
        cumulative = tf.cumsum(importance.normalised_weights(log_weights), axis=-1)
        chosen = tf.reduce_sum(tf.cast(cumulative < draw * cumulative[..., -1:], tf.int32), axis=-1)
        return tuple(tf.gather(run[name], chosen, axis=2, batch_dims=2) for name in ("mean", "latent"))

    def _outputs(self, means, latent) -> dict:
        """Outputs in contract form; the only slot of objects is always empty."""
        size, frames = tf.shape(means)[0], means.shape[1]
        objects = {
            "where": tf.zeros([size, frames, 1, 4]),
            "what": tf.zeros([size, frames, 1, 1]),
            "depth": tf.zeros([size, frames, 1, 1]),
            "pres": tf.zeros([size, frames, 1, 1]),
            "track_id": tf.fill([size, frames, 1], -1),
            "is_new": tf.zeros([size, frames, 1], tf.bool),
        }
        return {"reconstruction": tf.clip_by_value(means, 0.0, 1.0), "objects": objects, "features": latent}
