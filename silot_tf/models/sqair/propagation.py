"""Propagation: each known object is looked for near its last place, one object after the other.

Source: Kosiorek et al. 2018, section 3 and appendix; release.
"""

import keras
import numpy as np
import tensorflow as tf

from silot_tf.layers.elu import BlockLinear, BlockRNN, Composite, EluMLP, Linear
from silot_tf.layers.recurrent import GRUCell
from silot_tf.models.sqair import presence
from silot_tf.models.sqair.encoders import GlimpseEncoder, by_slot, split_normal

PROPOSAL_STEP, PROPOSAL_HIDDEN = 0.1, 128
LARGEST_GATE = 0.9999
_LOWER = np.tril_indices(4)
_PLACES = np.zeros((10, 16), np.float32)
_PLACES[np.arange(10), _LOWER[0] * 4 + _LOWER[1]] = 1.0  # where each of the 10 numbers stands in the 4x4 matrix


class Propagation(Composite):
    """Posterior of propagated objects; slots are handled in order, each told of the one before (relation network)."""

    def __init__(
        self,
        glimpse_encoder: GlimpseEncoder,
        what_size: int,
        units: int,
        step_bias: float,
        scale_bias: float,
        name=None,
    ):
        """Args: as of `Discovery`; `step_bias`: initial log-odds to stay."""
        super().__init__(name=name)
        self.what_size, self.units = what_size, units
        self._glimpse_encoder = glimpse_encoder
        record = what_size + 4 + 1
        self.proposal = EluMLP((PROPOSAL_HIDDEN,), 4, name="proposal")
        # Blocks: what is known of all slots before the first is handled; what was found in the slot before.
        self.relation = BlockRNN((what_size + record + units, record), units, name="relation")
        self.where_hidden = BlockLinear((4 + units, units), units, name="where_hidden")
        self.where_head = EluMLP((units,), 8, name="where_head")
        self.scale_offset = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(scale_bias), name="scale_offset"
        )
        glorot = float(np.sqrt(6.0 / 20.0))
        self.covariance = self.add_weight(
            shape=(10,), initializer=keras.initializers.RandomUniform(-glorot, glorot), name="covariance"
        )
        self.temporal = GRUCell(units, name="temporal")
        self.what_head = Linear(2 * what_size, name="what_head")
        self.gates = Linear(3 * what_size, 1.0, name="gates")
        self.presence_hidden = BlockLinear((units, units + what_size), units // 2, name="presence_hidden")
        self.presence_out = Linear(1, step_bias, name="presence_out")

    def covariance_factor(self):
        """`I + L` of the samples of `where`, lower triangular 4x4; row r is scaled by the standard deviation r."""
        return tf.eye(4) + tf.reshape(tf.linalg.matvec(_PLACES, self.covariance, transpose_a=True), [4, 4])

    def call(self, objects, *, read, noise=None, logits=None):
        """Propagate N slots of M particles by one frame.

        Args:
          objects: `what [M,N,A]`, `where [M,N,4]`, `pres [M,N,1]` of the frame before and temporal states
            `hidden [M,N,U]`.
          read, noise: as of `Discovery`.
          logits: `[M,N,1]` log-odds to stay in place of the network's where not NaN; None for the network's.

        Returns:
          `[M,N,...]` as `Discovery`, with the next temporal state as `hidden`, and `proposal`, `proposal_code`,
          `relation` for tests.
        """
        slots = objects["pres"].shape[1]
        together = _together(objects, slots)
        hidden = together["hidden"]
        known = {"mask": self._glimpse_encoder.mask(hidden)}
        known["proposal"] = together["where"] + PROPOSAL_STEP * self.proposal(hidden)
        glimpses = read(tf.reshape(known["proposal"], [-1, slots, 4]))
        known["proposal_code"] = self._glimpse_encoder(glimpses, known["mask"])[0]
        record = tf.concat([together[name] for name in ("what", "where", "pres")], axis=-1)
        known["relation"] = self.relation.inputs.part(0, tf.concat([known["proposal_code"], record, hidden], axis=-1))
        known["where"] = self.where_hidden.part(0, tf.concat([together["where"], hidden], axis=-1))
        known["presence"] = self.presence_hidden.part(0, hidden)
        if known["mask"] is None:
            del known["mask"]
        known = by_slot({name: _apart(value, slots) for name, value in known.items()}, slots)
        if noise is not None:
            noise = noise | {"where": tf.linalg.matmul(noise["where"], self.covariance_factor(), transpose_b=True)}

        rows = tf.shape(hidden)[0] // slots
        relation, previous = self.relation.initial_state(rows), tf.zeros([rows, record.shape[-1]])
        results = []
        for i, (old, seen, drawn) in enumerate(zip(by_slot(objects, slots), known, by_slot(noise, slots), strict=True)):
            fixed = None if logits is None else logits[:, i]
            relation = self.relation(seen["relation"] + self.relation.inputs.part(1, previous), relation)
            result = self._one_slot(old, seen, relation, read, drawn, fixed)
            previous = tf.concat([result["what"], result["where"], result["pres"]], axis=-1)
            results.append(result | {name: seen[name] for name in ("proposal", "proposal_code")})
        return {name: tf.stack([result[name] for result in results], axis=1) for name in results[0]}

    def _one_slot(self, old, known, relation, read, noise, logits) -> dict:
        """Posterior and sample of one slot of all particles, `[M,...]`."""
        raw = self.where_head(tf.nn.elu(known["where"] + self.where_hidden.part(1, relation)))
        change, std = split_normal(raw, self.scale_offset - 1.0)
        where_mean = old["where"] + change
        where = where_mean if noise is None else where_mean + std * noise["where"]
        seen_mean, seen_std = self._glimpse_encoder(read(where[:, None]), known.get("mask"))
        hidden = self.temporal(tf.concat([relation, where, seen_mean, seen_std], axis=-1), old["hidden"])
        expected_mean, expected_std = split_normal(self.what_head(hidden))
        keep, ignore_seen, ignore_expected = tf.split(LARGEST_GATE * tf.sigmoid(self.gates(hidden)), 3, axis=-1)
        see, expect = 1.0 - ignore_seen, 1.0 - ignore_expected
        what_mean = keep * old["what"] + see * seen_mean + expect * expected_mean
        what_std = see * seen_std + expect * expected_std
        what = what_mean if noise is None else what_mean + what_std * noise["what"]
        logit = self.presence_out(
            tf.nn.elu(known["presence"] + self.presence_hidden.part(1, tf.concat([relation, what], axis=-1)))
        )
        if logits is not None:
            logit = tf.where(tf.math.is_nan(logits), logit, logits)
        logit = presence.masked_logit(old["pres"], logit)
        return {
            "what": what,
            "what_mean": what_mean,
            "what_std": what_std,
            "where": where,
            "where_mean": where_mean,
            "where_std": std,
            "pres": presence.sample(old["pres"], logit, None if noise is None else noise["pres"]),
            "logit": logit,
            "hidden": hidden,
            "relation": relation,
        }


def _together(objects, slots) -> dict:
    """`[M,N,F]` as `[M * N,F]`."""
    return {name: tf.reshape(value, [-1, value.shape[-1]]) for name, value in objects.items()}


def _apart(values, slots):
    """`[M * N,...]` as `[M,N,...]`."""
    return tf.reshape(values, [-1, slots, *values.shape[1:]])
