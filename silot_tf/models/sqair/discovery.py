"""Discovery: objects of a frame, found one after the other until the network stops (attend, infer, repeat).

It can be told of the scene already explained (SQAIR), or not (AIR).

Source: Kosiorek et al. 2018, section 3 and appendix; release.
"""

import keras
import tensorflow as tf

from silot_tf.layers.elu import BlockLinear, BlockRNN, Composite, EluMLP, Linear
from silot_tf.layers.recurrent import BlockGRU
from silot_tf.models.sqair import presence
from silot_tf.models.sqair.encoders import GlimpseEncoder, by_slot, split_normal

#: Recurrent networks by name; SQAIR's is the plain one.
CELLS = {"rnn": BlockRNN, "gru": BlockGRU}


class Discovery(Composite):
    """N steps of a recurrent network; each proposes a box, looks there and decides whether there is one more object."""

    def __init__(
        self,
        glimpse_encoder: GlimpseEncoder,
        num_slots: int,
        frame_features: int,
        scene_features: int,
        what_size: int,
        units: int,
        step_bias: float,
        scale_bias: float,
        cell: str = "rnn",
        name=None,
    ):
        """Build the network.

        Args:
          glimpse_encoder: may be shared.
          num_slots: N steps.
          frame_features: width of the frame's features.
          scene_features: width of the features of what is known of the scene; 0 for none.
          what_size: A.
          units: U, width of layers.
          step_bias: initial log-odds of one more object.
          scale_bias: initial offset of raw standard deviations of boxes.
          cell: one of `CELLS`.
        """
        super().__init__(name=name)
        self.num_slots, self.what_size = num_slots, what_size
        self._glimpse_encoder = glimpse_encoder
        found = what_size + 4 + 1
        blocks = (frame_features, found, scene_features) if scene_features else (frame_features, found)
        self.recurrent = CELLS[cell](blocks, units, name="recurrent")
        self.where_head = EluMLP((units, units), 8, name="where_head")
        self.scale_offset = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(scale_bias), name="scale_offset"
        )
        self.presence_hidden = BlockLinear((units + what_size,), units // 2, name="presence_hidden")
        self.presence_out = Linear(1, step_bias, name="presence_out")

    def drive(self, frame_code):
        """What frames add to the recurrent network at each step, `[R,F] -> [R,D]`; the same for all particles."""
        return self.recurrent.part(0, frame_code)

    def call(self, driven, *, read, scene=None, noise=None, logits=None, allowed=None):
        """Find the objects of M frames.

        Args:
          driven: `[M,D]`, see `drive`.
          read: function of where logits `[M,S,4]` -> glimpses `[M * S,rows,C,columns]`.
          scene: `[M,S]` features of what is known, or None.
          noise: `where [M,N,4]`, `what [M,N,A]` standard normal and `pres [M,N,1]` uniform; None for the most probable.
          logits: `[M,N,1]` log-odds in place of the network's where not NaN; None for the network's.
          allowed: `[M,N,1]` 0 where a step may find nothing; None for everywhere.

        Returns:
          `[M,N,...]`: what, what_mean, what_std, where, where_mean, where_std, pres, logit and `hidden`.
        """
        if scene is not None:
            driven = driven + self.recurrent.part(2, scene)
        rows = tf.shape(driven)[0]
        hidden = self.recurrent.initial_state(rows)
        what, where = tf.zeros([rows, self.what_size]), tf.zeros([rows, 4])
        pres = tf.ones([rows, 1])
        noises = by_slot(noise, self.num_slots)
        steps = []
        for j, drawn in enumerate(noises):
            found = tf.concat([what, where, pres], axis=-1)
            hidden = self.recurrent(driven + self.recurrent.part(1, found), hidden)
            where_mean, where_std = split_normal(self.where_head(hidden), self.scale_offset)
            where = where_mean if drawn is None else where_mean + where_std * drawn["where"]
            what_mean, what_std = self._glimpse_encoder(read(where[:, None]))
            what = what_mean if drawn is None else what_mean + what_std * drawn["what"]
            logit = self.presence_out(tf.nn.elu(self.presence_hidden.part(0, tf.concat([hidden, what], axis=-1))))
            if logits is not None:
                logit = tf.where(tf.math.is_nan(logits[:, j]), logit, logits[:, j])
            possible = pres if allowed is None else pres * allowed[:, j]
            logit = presence.masked_logit(possible, logit)
            pres = presence.sample(possible, logit, None if drawn is None else drawn["pres"])
            steps.append(
                {
                    "what": what,
                    "what_mean": what_mean,
                    "what_std": what_std,
                    "where": where,
                    "where_mean": where_mean,
                    "where_std": where_std,
                    "pres": pres,
                    "logit": logit,
                    "hidden": hidden,
                }
            )
        return {name: tf.stack([step[name] for step in steps], axis=1) for name in steps[0]}
