"""The SILOT network: one step per frame, and everything that needs no recurrence before or after the loop over time.

    frames -> backbone (all frames at once)
    loop over frames: attention -> propagation and learned prior -> discovery -> selection -> identities
    rendering and losses (all frames at once)

Source: SILOT (AAAI 2020), section 3; specification 2.14.
"""

import functools

import gin
import numpy as np
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.layers.backgrounds import Background
from silot_tf.layers.convolution import ConvolutionStack, GridEncoder, cell_indices
from silot_tf.layers.mlp import MLP
from silot_tf.layers.recurrent import unroll as unroll_over_time
from silot_tf.layers.spatial_attention import SpatialAttention
from silot_tf.models.base import VideoModel
from silot_tf.models.silot import losses
from silot_tf.models.silot.discovery import Discovery
from silot_tf.models.silot.noise import noise_of_clips
from silot_tf.models.silot.objects import empty_objects, feature_vector
from silot_tf.models.silot.propagation import Propagation
from silot_tf.models.silot.rendering import Renderer
from silot_tf.models.silot.selection import identities, select
from silot_tf.ops import glimpses
from silot_tf.ops.shapes import batch_size_of, merge_leading


@gin.register(module="silot")
class SILOT(VideoModel):
    """Spatially invariant, label-free object tracking."""

    editable_state = True
    has_sprites = True

    annealed_quantities = {"training_wheels": 0.0, "count_log_odds": float(np.log(0.0125))}  # noqa: RUF012

    def __init__(
        self,
        num_slots: int = 16,
        anchor=(48, 48),
        glimpse_shape=(14, 14),
        what_size: int = 64,
        state_size: int = 128,
        encoder_hidden=(256, 128),
        decoder_hidden=(128, 256),
        attention_std: float = 0.1,
        interacting: bool = False,
        colour_scale: float = 2.0,
        alpha_scale: float = 0.1,
        alpha_shift: float = 5.0,
        importance_temperature: float = 0.25,
        importance: str = "linear",
        discovery_keep_probability: float = 0.6225,
        presence_threshold: float = 0.5,
        release_below: float = 0.0,
        stay_above: float = 1.0,
        evaluation_noise: bool = True,
        align_corners: bool = False,
        attend_empty_slots: bool = False,
        use_position: bool = True,
        fusion_kernel: int = 3,
        size_prior=losses.SIZE_PRIOR,
        size_prior_on_change: bool = False,
        background=None,
        rendering: str = "auto",
        plain: bool = False,
        name=None,
    ):
        """Build the network.

        Args:
          num_slots: K, objects kept from frame to frame; may differ between training and use.
          anchor: (height, width) of the anchor box, pixels; the largest object.
          glimpse_shape: (rows, columns) of glimpses and sprites.
          what_size: length of the appearance vector.
          state_size: length of the recurrent state.
          encoder_hidden: hidden widths of the glimpse encoders.
          decoder_hidden: hidden widths of the appearance decoder.
          attention_std: standard deviation of the attention kernel, anchor units.
          interacting: propagation attends to neighbouring objects (Shapes) or to the object alone (MNIST, Atari).
          colour_scale: factor on colour logits (specification 2.12).
          alpha_scale: factor on transparency logits.
          alpha_shift: added to transparency logits.
          importance_temperature: lambda of the importance.
          importance: `"linear"` (authors' code) or `"softmax"` (the paper's text), D12.
          discovery_keep_probability: discovery of a frame t > 0 is kept with this probability in training (D43).
          presence_threshold: objects above it get an identity.
          release_below: an object whose presence has fallen to this or below is no longer attended to, so that what it
            was can be discovered anew; 0, the authors', keeps it in everybody's way for as long as it has its slot.
          stay_above: an object that stays from one frame to the next with more than this probability loses no presence;
            with 1, the authors', presences shrink a little in every frame, and in long streams to nothing. Not for
            training, where it would take the gradient away.
          evaluation_noise: sample latents at evaluation too (D29).
          align_corners: glimpse sampling of the authors' code (D30).
          attend_empty_slots: let empty slots take part in attention, as in the authors' code (D13).
          use_position: feed absolute positions to attention and heads' features (D5).
          fusion_kernel: side of the fusion convolutions; 1 gives the paper's independent cells (D3).
          size_prior: (mean, standard deviation) of the static prior on size logits; the mean depends on the anchor.
          size_prior_on_change: static size prior of the paper's table (D10).
          background: None for black, or a layer of `silot_tf.layers.backgrounds`.
          rendering: `"auto"`, `"image"` or `"window"`, see `Renderer`; changes cost only.
          plain: use the plain form of every optimised kernel (gathers, pairwise attention, count recursion).
        """
        super().__init__(name=name or "silot")
        if num_slots < 1 or min(anchor) <= 0 or min(glimpse_shape) < 2:
            raise UserError(
                f"SILOT has num_slots {num_slots}, anchor {tuple(anchor)} and glimpse_shape {tuple(glimpse_shape)}; "
                "expected at least 1 slot, a positive anchor in pixels and glimpses of at least 2x2 samples"
            )
        if background is not None and not isinstance(background, Background):
            raise UserError(
                f"silot.SILOT.background = {background!r}: expected None for black, or a layer of "
                "silot_tf.layers.backgrounds such as @layers.ModeColour() (with brackets)"
            )
        self.num_slots, self.what_size, self.state_size = num_slots, what_size, state_size
        self.anchor = np.asarray(anchor, np.float32)
        self.glimpse_shape = tuple(glimpse_shape)
        self.discovery_keep_probability = discovery_keep_probability
        self.presence_threshold, self.evaluation_noise = presence_threshold, evaluation_noise
        self.release_below = release_below
        self.align_corners, self.attend_empty_slots = align_corners, attend_empty_slots
        self.use_position, self.plain = use_position, plain
        self.size_prior, self.size_prior_on_change = tuple(size_prior), size_prior_on_change
        self.interacting, self.background = interacting, background

        self.backbone = GridEncoder(name="backbone")
        parts = {"encoder_hidden": encoder_hidden, "what_size": what_size}
        recurrent = parts | {"state_size": state_size, "use_position": use_position, "stay_above": stay_above}
        self.propagation = Propagation(True, self._crop, glimpse_shape, name="propagation", **recurrent)
        self.prior = Propagation(False, name="prior", **recurrent)
        cell_in_anchors = self.backbone.cell_size / self.anchor
        self.discovery = Discovery(self._crop, cell_in_anchors, name="discovery", **parts)
        self.discovery_attention = SpatialAttention(attention_std, plain=plain, name="discovery_attention")
        self.object_network = MLP((64, 64), 64, name="object_network")
        self.neighbour_attention = (
            SpatialAttention(attention_std, plain=plain, name="neighbour_attention") if interacting else None
        )
        self.fusion = ConvolutionStack((128, 64), fusion_kernel, name="fusion")
        self.renderer = Renderer(
            glimpse_shape,
            decoder_hidden,
            colour_scale,
            alpha_scale,
            alpha_shift,
            importance_temperature,
            importance,
            plain,
            rendering,
            largest_box=anchor,
            name="renderer",
        )
        self.initial_hidden = self.add_weight(shape=(state_size,), initializer="zeros", name="initial_hidden")

    # ------------------------------------------------------------------------------------------------ the contract

    def initial_state(self, batch_size, crop_offset=None) -> dict:
        """See `VideoModel`: empty slots, no identities given out; `background` only where it carries something."""
        offset = tf.zeros([batch_size, 2]) if crop_offset is None else tf.cast(crop_offset, tf.float32)
        behind = {} if self.background is None else self.background.initial_state(batch_size)
        return ({"background": behind} if behind else {}) | {
            "objects": empty_objects(batch_size, self.num_slots, self.what_size, self.state_size),
            "track_id": tf.fill([batch_size, self.num_slots], -1),
            "next_id": tf.zeros([batch_size], tf.int32),
            "frame": tf.zeros([batch_size], tf.int32),
            "crop_offset": offset,
        }

    def unroll(self, video, state=None, *, seed, training=False, rollout_from=None) -> tuple[dict, dict]:
        """See `VideoModel`."""
        if state is None:
            state = self.initial_state(batch_size_of(video))
        if training and seed is None:
            raise ValueError("unroll(training=True) needs a seed: discovery dropout is drawn from it")
        is_noisy = training or (self.evaluation_noise and seed is not None)
        noise = self.draw_noise(video, state, seed) if is_noisy else None
        stages, state = self.unroll_stages(video, state, noise, training=training, rollout_from=rollout_from)
        return self.outputs(video, stages), state

    def loss_terms(self, batch, annealed: dict, *, seed) -> tuple[dict, dict]:
        """See `VideoModel`; the terms are those of specification 3.1."""
        video = batch["video"]
        state = self.initial_state(batch_size_of(video), batch.get("crop_offset"))
        noise = self.draw_noise(video, state, seed)
        stages, _ = self.unroll_stages(video, state, noise, training=True, wheels=annealed["training_wheels"])
        outputs = self.outputs(video, stages)
        terms = self.terms(video, stages, outputs["reconstruction"], annealed["count_log_odds"])
        mask = tf.cast(batch["frame_mask"], tf.float32)
        return {name: value * mask for name, value in terms.items()}, outputs

    def edit_state(self, state, frame_shape, *, remove, shift) -> dict:
        """See `VideoModel`; a removed object leaves a slot that never held one."""
        shift = shift * (np.asarray(frame_shape[:2], np.float32) / self.anchor)
        objects = state["objects"]
        moved = {
            "box": objects["box"] + tf.pad(shift, [[0, 0], [0, 0], [0, 2]]),
            "position": objects["position"] + shift,
        }
        left = {name: tf.where(remove[..., None], 0.0, value) for name, value in (objects | moved).items()}
        return state | {"objects": left, "track_id": tf.where(remove, -1, state["track_id"])}

    def sprites(self, what):
        """See `VideoModel`; of the renderer's decoder."""
        what = tf.convert_to_tensor(what)
        colour, opacity = self.renderer.decode(tf.reshape(what, [-1, 1, what.shape[-1]]))
        sprites = tf.concat([colour, opacity[..., None]], axis=-1)[:, 0]
        return tf.reshape(sprites, tf.concat([tf.shape(what)[:-1], sprites.shape[1:]], axis=0))

    # ---------------------------------------------------------------------------------------------- inside the room

    def draw_noise(self, video, state, seed) -> dict:
        """All random numbers of a clip: standard normal and logistic noise per latent, uniform draws for dropout.

        Frame number and seed alone decide the noise of a frame, so chunks of a clip see the noise of the whole.
        """
        batch, frames = batch_size_of(video), video.shape[1]
        cells = int(np.prod(self.backbone.grid_shape(video.shape[2:])))
        counts = {"propagation": self.num_slots, "prior": self.num_slots, "discovery": cells}
        first_frame = tf.reduce_max(state["frame"])
        return noise_of_clips(batch, frames, counts, self.what_size, first_frame, seed)

    def unroll_stages(
        self, video, state, noise, *, training=False, wheels=None, rollout_from=None
    ) -> tuple[dict, dict]:
        """Every intermediate result `[B,T,...]` of a clip by part of the network, and the next state.

        Args:
          video, state, training, rollout_from: see `VideoModel.unroll`.
          noise: see `draw_noise`; None for no noise.
          wheels: training wheels in {0, 1}; None for none.
        """
        self._check_frames(video.shape)
        frames = video.shape[1]
        grid = self.backbone(tf.reshape(video, [-1, *video.shape[2:]]))
        # Every glimpse of every frame reads the same layout, so it is made once.
        inputs = {
            "frame": glimpses.readable(video, by_definition=self.plain),
            "grid": tf.reshape(grid, [-1, frames, *grid.shape[1:]]),
        }
        if noise is not None:
            inputs["noise"] = noise
        step = functools.partial(self._advance, training=training, wheels=wheels, rollout_from=rollout_from)
        images, carried = self._background_of(video, state)
        stages, state = unroll_over_time(step, state, inputs, frames)
        return stages | {"grid": inputs["grid"]} | images, state | carried

    def _background_of(self, video, state) -> tuple[dict, dict]:
        """What the background adds to the stages (images broadcastable to `[B,T,H,W,3]`) and to the next state."""
        if self.background is None:
            return {}, {}
        carried = state.get("background", {})
        images, carried = self.background.images(video, carried, state["frame"], state["crop_offset"])
        return {} if images is None else {"background": images}, {"background": carried} if carried else {}

    def _check_frames(self, shape) -> None:
        """Raise UserError unless clips of this shape fit the grid."""
        cell = self.backbone.cell_size
        if len(shape) != 5 or None in shape[1:] or shape[-1] != 3 or min(shape[2:4]) < cell:
            raise UserError(
                f"SILOT got clips of shape {tuple(shape)}; expected [batch, frames, height, width, 3] with at least "
                f"one grid cell of {cell}x{cell} pixels: use larger RGB frames, or another data.*.frame_shape"
            )

    def _advance(self, state, inputs, *, training, wheels, rollout_from):
        """One frame without rendering: next state, and all intermediate results (specification 2.14)."""
        frame, noise = inputs["frame"], inputs.get("noise", {})
        objects = state["objects"]
        attended, prior_attended = self._attend_to_objects(objects)
        posterior, posterior_stage = self.propagation(objects, attended, noise.get("propagation"), wheels, frame=frame)
        prior, prior_stage = self.prior(objects, prior_attended, noise.get("prior"), wheels)

        propagated = dict(posterior)
        open_to_discovery = tf.ones_like(state["frame"], tf.float32)
        if rollout_from is not None:
            rolling = state["frame"] >= rollout_from
            propagated = {name: tf.where(rolling[:, None, None], prior[name], posterior[name]) for name in posterior}
            open_to_discovery = tf.where(rolling, 0.0, open_to_discovery)
        if training:
            dropped = (inputs["noise"]["dropout"] >= self.discovery_keep_probability) & (state["frame"] > 0)
            open_to_discovery = tf.where(dropped, 0.0, open_to_discovery)
        is_kept = tf.cast(propagated["pres"] > self.release_below, tf.float32) if self.release_below > 0 else 1.0
        # The posterior cell is always fed by the posterior branch, the prior cell by the prior branch.
        hidden = {"hidden": posterior["hidden"], "hidden_prior": prior["hidden"]}
        propagated |= hidden | {"exists": objects["exists"] * is_kept}

        offset = state["crop_offset"] / self.anchor
        known = self._attend_from_cells(propagated, inputs["grid"])
        fused = self.fusion(tf.concat([known, inputs["grid"]], axis=-1))
        discovered, discovery_stage = self.discovery(fused, frame, offset, noise.get("discovery"), wheels)
        discovered["pres"] *= open_to_discovery[:, None, None]

        selected, index, is_new = select(propagated, discovered, self.initial_hidden)
        is_shown = selected["pres"][..., 0] > self.presence_threshold
        track_id, shown_id, next_id = identities(state["track_id"], state["next_id"], is_new, is_shown)

        next_state = {
            "objects": selected,
            "track_id": track_id,
            "next_id": next_id,
            "frame": state["frame"] + 1,
            "crop_offset": state["crop_offset"],
        }
        stages = {
            "attention": {"known": known, "fused": fused},
            "propagation": posterior_stage,
            "posterior": posterior,
            "prior": prior_stage,
            "prior_objects": prior,
            "propagated": {"pres": posterior["pres"], "old_size_logit": objects["size_logit"]},
            "discovery": discovery_stage,
            "discovered": discovered,
            "selected": selected,
            "selection": {"index": index, "is_new": is_new, "track_id": shown_id},
        }
        return next_state, stages

    def _attend_to_objects(self, objects):
        """Attention features `[B,K,64]` for posterior and prior propagation; both share the networks (2.4)."""
        slots = objects["pres"].shape[1]
        both = tf.concat(
            [feature_vector(objects, hidden, self.use_position) for hidden in ("hidden", "hidden_prior")],
            axis=0,
        )
        alone = tf.reshape(self.object_network(tf.reshape(both, [-1, both.shape[-1]])), [-1, slots, 64])
        if self.interacting:
            centre = tf.tile(objects["box"][..., :2], [2, 1, 1])
            mask = None if self.attend_empty_slots else tf.tile(objects["exists"][..., 0], [2, 1])
            alone += self.neighbour_attention(both, centre, centre, alone, mask)
        return tf.split(alone, 2, axis=0)

    def _attend_from_cells(self, objects, grid):
        """What is already known around each cell, `[B,rows,columns,64]` (2.4)."""
        rows, columns = grid.shape[1:3]
        centres = (cell_indices(rows, columns)[None] + 0.5) * self.backbone.cell_size / self.anchor
        mask = None if self.attend_empty_slots else objects["exists"][..., 0]
        known = self.discovery_attention(
            feature_vector(objects, "hidden", self.use_position),
            objects["box"][..., :2],
            tf.constant(centres),
            source_mask=mask,
        )
        return tf.reshape(known, [-1, rows, columns, known.shape[-1]])

    def _crop(self, frame, box):
        """Glimpses at anchor-unit boxes."""
        where = box * self._anchor_in_frames(frame.frame_shape)
        return frame.read(where, self.glimpse_shape, self.align_corners)

    def _anchor_in_frames(self, frame_shape) -> np.ndarray:
        """Factors from anchor units to fractions of the frame, for (y, x, height, width)."""
        return np.tile(self.anchor / np.asarray(frame_shape, np.float32), 2)

    def outputs(self, video, stages) -> dict:
        """Outputs in contract form, rendering all frames at once."""
        frame_shape = tuple(video.shape[2:4])
        selected = stages["selected"]
        where = selected["box"] * self._anchor_in_frames(frame_shape)
        flat = {name: merge_leading(selected[name]) for name in ("what", "pres", "depth")}
        background = stages.get("background")
        if background is not None:  # one per frame; what is constant over rows and columns stays so
            background = tf.broadcast_to(background, [*tf.unstack(tf.shape(video)[:2]), *background.shape[2:]])
            background = merge_leading(background)
        frames, sprites = self.renderer(
            **flat, where=merge_leading(where), frame_shape=frame_shape, background=background
        )
        if background is not None:  # rounding may lead out of the range, which logarithms do not survive
            frames = tf.clip_by_value(frames, 0.0, 1.0)
        outputs = {
            "reconstruction": tf.reshape(frames, [-1, video.shape[1], *frames.shape[1:]]),
            "objects": {
                "where": where,
                "what": selected["what"],
                "depth": selected["depth"],
                "pres": selected["pres"],
                "track_id": stages["selection"]["track_id"],
                "is_new": stages["selection"]["is_new"],
            },
        }
        stages["sprites"] = sprites
        return outputs

    def terms(self, video, stages, reconstruction, count_log_odds) -> dict:
        """Loss terms `[B,T]`, nats per frame (specification 3.1)."""
        return losses.loss_terms(
            video,
            stages,
            reconstruction,
            count_log_odds,
            size_prior=self.size_prior,
            size_prior_on_change=self.size_prior_on_change,
            by_recursion=self.plain,
        )
