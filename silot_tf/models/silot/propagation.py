"""Propagation: where each known object goes, how it looks, and whether it stays, in the next frame.

The same module serves as main (posterior) propagation, which reads two glimpses per object from the frame, and as
learned prior, which never sees the frame.

Source: SILOT, section 3.3; specification 2.6 and 2.8.
"""

import gin
import keras
import tensorflow as tf

from silot_tf.layers.mlp import MLP
from silot_tf.layers.recurrent import GRUCell
from silot_tf.models.silot.objects import clip_logit, hold_back, squash, std_from_logit
from silot_tf.ops import distributions

GATE_LIMIT = 0.9999  # authors' code: gates never quite reach 1, so the appearance always keeps some new variance


@gin.register(module="silot")
class Propagation(keras.layers.Layer):
    """Updates of location, appearance, depth, presence and recurrent state of K objects."""

    def __init__(
        self,
        sees_frame: bool,
        crop=None,
        glimpse_shape=(14, 14),
        encoder_hidden=(256, 128),
        hidden=(100, 100),
        feature_size: int = 64,
        what_size: int = 64,
        state_size: int = 128,
        use_position: bool = True,
        stay_above: float = 1.0,
        name=None,
    ):
        """Args: `crop(frame, box)` reads glimpses `[B,K,rows,C,columns]`; needed where `sees_frame`.

        `use_position`: whether later heads and the recurrent cell see the absolute position (D5).
        `stay_above`: see `SILOT`.
        """
        super().__init__(name=name)
        self.stay_above = stay_above
        self.use_position = use_position
        self.sees_frame, self.crop = sees_frame, crop
        self.glimpse_shape, self.feature_size, self.what_size = tuple(glimpse_shape), feature_size, what_size
        if sees_frame:
            masks = 2 * glimpse_shape[0] * glimpse_shape[1]
            self.first_glimpse = MLP(hidden, 4 + masks, name="first_glimpse")
            self.first_encoder = MLP(encoder_hidden, feature_size, name="first_encoder")
            self.second_encoder = MLP(encoder_hidden, feature_size, name="second_encoder")
        self.where_head = MLP(hidden, 8, name="where")
        self.what_from_glimpse = MLP(hidden, 2 * what_size, name="what_from_glimpse")
        self.what_from_state = MLP(hidden, 5 * what_size, name="what_from_state")
        self.depth_head = MLP(hidden, 2, name="depth")
        self.pres_head = MLP(hidden, 1, name="pres")
        self.cell = GRUCell(state_size, name="cell")

    def call(self, objects, attended, noise, wheels=None, frame=None):
        """Propagated objects and the statistics that the losses need.

        Args:
          objects: records `[B,K,.]` at the previous frame (see `objects`).
          attended: `[B,K,64]` attention features.
          noise: dictionary `where [B,K,4]`, `what [B,K,64]`, `depth [B,K,1]` (standard normal), `pres [B,K,1]`
            (standard logistic); None for no noise (standard deviations count as 0).
          wheels: training wheels (see `hold_back`).
          frame: one frame of each clip, see `ops/glimpses.readable`, where the module sees frames.

        Returns:
          dictionary with the record fields that change (`hidden` is this module's own state) and, under `stage`, every
          intermediate result named by the paper: means and standard deviations of the latents among them.
        """
        slots = attended.shape[1]
        old = {name: tf.reshape(value, [-1, value.shape[-1]]) for name, value in objects.items()}
        quiet = noise is None
        if not quiet:
            noise = {name: tf.reshape(value, [-1, value.shape[-1]]) for name, value in noise.items()}
        flag = [1.0, 0.0] if self.sees_frame else [0.0, 1.0]
        attended = tf.reshape(attended, [-1, self.feature_size])
        base = tf.concat([attended, tf.broadcast_to(tf.constant([flag]), [tf.shape(attended)[0], 2])], -1)
        stage = {"attended": attended, "base": base}

        # First glimpse: near the old box, to see how the object moved.
        if self.sees_frame:
            glimpse_parameters = self.first_glimpse(base)
            pixels = self.glimpse_shape[0] * self.glimpse_shape[1]
            shift, first_mask, second_mask = tf.split(glimpse_parameters, [4, pixels, pixels], axis=-1)
            first_mask, second_mask = self._mask(first_mask), self._mask(second_mask)
            first_box = old["box"] + 0.1 * shift
            glimpse = self._read(frame, first_box, slots)
            first_code = self.first_encoder(glimpse * first_mask)
            stage |= {
                "first_box": first_box,
                "first_glimpse": glimpse,
                "first_mask": first_mask,
                "second_mask": second_mask,
                "first_code": first_code,
            }
        else:
            first_code = tf.zeros_like(attended)

        # Where.
        where_mean, where_logit = tf.split(self.where_head(tf.concat([base, first_code], -1)), 2, axis=-1)
        where_mean, where_std = hold_back(where_mean, wheels), hold_back(std_from_logit(where_logit), wheels)
        # Sizes are sampled as new logits around the old ones, shifts as changes.
        where_mean += tf.concat([tf.zeros_like(old["position"]), old["size_logit"]], -1)
        where = distributions.sample_normal(where_mean, where_std, None if quiet else noise["where"])
        shift_latent, size_logit = tf.split(where, 2, axis=-1)
        move, (old_centre, _) = tf.tanh(shift_latent), tf.split(old["box"], 2, axis=-1)
        box = tf.concat([old_centre + move, squash(size_logit)], -1)
        position = old["position"] + move
        # Conditioning vector of the later heads.
        moved = tf.concat([position if self.use_position else tf.zeros_like(position), where], -1)

        # What.
        if self.sees_frame:
            masked = self._read(frame, box, slots) * second_mask
            code = self.second_encoder(masked)
            from_glimpse = self.what_from_glimpse(code)
            stage |= {"second_glimpse": masked}
        else:
            code = tf.zeros_like(attended)
            # Its input is always zero, so the network is a trainable constant: one row serves all objects.
            from_glimpse = self.what_from_glimpse(tf.zeros([1, self.feature_size]))
        glimpse_mean, glimpse_logit = tf.split(from_glimpse, 2, axis=-1)
        from_state = self.what_from_state(tf.concat([base, moved, code], -1))
        state_mean, state_logit, gates = tf.split(
            from_state, [self.what_size, self.what_size, 3 * self.what_size], axis=-1
        )
        forget, take, keep = tf.split(GATE_LIMIT * tf.sigmoid(gates + 1.0), 3, axis=-1)
        new_what_mean = forget * old["what"] + (1.0 - take) * glimpse_mean + (1.0 - keep) * state_mean
        what_std = (1.0 - take) * std_from_logit(glimpse_logit) + (1.0 - keep) * std_from_logit(state_logit)
        what = distributions.sample_normal(new_what_mean, what_std, None if quiet else noise["what"])

        # Depth.
        depth_mean, depth_logit_std = tf.split(self.depth_head(tf.concat([base, moved, what, code], -1)), 2, axis=-1)
        depth_mean, depth_std = (
            hold_back(depth_mean, wheels),
            hold_back(std_from_logit(depth_logit_std), wheels),
        )
        depth_change = distributions.sample_normal(depth_mean, depth_std, None if quiet else noise["depth"])
        depth_logit = old["depth_logit"] + depth_change
        depth = squash(depth_logit)

        # Presence can only fall.
        log_odds = self.pres_head(tf.concat([base, moved, what, depth, code], -1))
        log_odds = clip_logit(hold_back(log_odds, wheels))
        pre_sigmoid = distributions.sample_logistic(log_odds, None if quiet else noise["pres"])
        stays = tf.sigmoid(pre_sigmoid)
        if self.stay_above < 1:
            stays = tf.where(stays > self.stay_above, 1.0, stays)
        pres = old["pres"] * stays

        hidden_name = "hidden" if self.sees_frame else "hidden_prior"
        hidden = self.cell(tf.concat([moved, what, depth, pres], -1), old[hidden_name])
        stage |= {
            "where_mean": where_mean,
            "where_std": where_std,
            "where": where,
            "code": code,
            "forget": forget,
            "take": take,
            "keep": keep,
            "what_change_mean": new_what_mean - old["what"],
            "what_std": what_std,
            "depth_change_mean": depth_mean,
            "depth_std": depth_std,
            "log_odds": log_odds,
            "pre_sigmoid": pre_sigmoid,
        }
        new = {
            "box": box,
            "position": position,
            "size_logit": size_logit,
            "what": what,
            "depth_logit": depth_logit,
            "depth": depth,
            "pres": pres,
            "hidden": hidden,
        }
        unflatten = lambda value: tf.reshape(value, [-1, slots, *value.shape[1:]])  # noqa: E731
        return {name: unflatten(v) for name, v in new.items()}, {name: unflatten(v) for name, v in stage.items()}

    def _mask(self, logits):
        """Glimpse masks `[B * K, rows, 1, columns]`, mostly open at first."""
        rows, columns = self.glimpse_shape
        return tf.reshape(tf.sigmoid(logits + 1.0), [-1, rows, 1, columns])

    def _read(self, frame, box, slots):
        """Glimpses `[B * K, rows, C, columns]` at anchor-unit boxes `[B * K, 4]`."""
        glimpses = self.crop(frame, tf.reshape(box, [-1, slots, 4]))
        return tf.reshape(glimpses, [-1, *glimpses.shape[2:]])
