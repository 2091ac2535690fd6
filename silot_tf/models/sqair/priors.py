"""Priors of propagated objects, and of boxes of discovered ones.

Source: Kosiorek et al. 2018, section 3 and appendix; release.
"""

import tensorflow as tf

from silot_tf.layers.elu import Composite, Linear
from silot_tf.layers.recurrent import GRUCell
from silot_tf.models.sqair import presence
from silot_tf.models.sqair.encoders import SMALLEST_STD

PROPAGATION_KINDS = ("rnn", "rw", "guided")
WHERE_KINDS = ("recurrent", "fixed")
GUIDANCE = 0.1  # how far the options `rw` and `guided` move from the latest posterior; release
CONTEXT = 128


class PropagationPrior(Composite):
    """What objects do next, seen from their latents alone; each slot by itself."""

    def __init__(self, kind: str, what_size: int, units: int, step_bias: float, name=None):
        """Args: `kind`: one of `PROPAGATION_KINDS`; `step_bias`: added to the log-odds to stay; others of `SQAIR`."""
        super().__init__(name=name)
        self.kind, self.what_size, self.step_bias = kind, what_size, step_bias
        self.cell = GRUCell(units, name="cell")
        self.head = Linear(1 + 2 * (4 + what_size), name="head")

    def advance(self, objects):
        """Next state `[M,N,U]` from `what`, `where` and the state `hidden_prior` of the frame before."""
        what, where, hidden = objects["what"], objects["where"], objects["hidden_prior"]
        flat = [tf.reshape(v, [-1, v.shape[-1]]) for v in (tf.concat([what, where], -1), hidden)]
        return tf.reshape(self.cell(*flat), [-1, *hidden.shape[1:]])

    def call(self, hidden, old):
        """Distributions of all slots.

        Args:
          hidden: `[R,N,U]`, of `advance`.
          old: `what`, `where`, `pres` and posterior `logit` of the frame before, `[R,N,...]`.

        Returns:
          logit `[R,N,1]` to stay (-88 where nothing was), and means and standard deviations of where and what.
        """
        slots = hidden.shape[1]
        raw = tf.reshape(self.head(tf.reshape(hidden, [-1, hidden.shape[-1]])), [-1, slots, self.head.units])
        sizes = [1, 4, self.what_size, 4, self.what_size]
        logit, where_mean, what_mean, where_raw, what_raw = tf.split(raw, sizes, axis=-1)
        logit = presence.masked_logit(old["pres"], logit + self.step_bias)
        if self.kind != "rnn":
            logit = old["logit"] + GUIDANCE * logit
        if self.kind == "rw":
            where_mean, what_mean = old["where"], old["what"]
        elif self.kind == "guided":
            where_mean = old["where"] + GUIDANCE * where_mean
            what_mean = old["what"] + GUIDANCE * what_mean
        return {
            "logit": logit,
            "where_mean": where_mean,
            "where_std": tf.math.softplus(where_raw) + SMALLEST_STD,
            "what_mean": what_mean,
            "what_std": tf.math.softplus(what_raw) + SMALLEST_STD,
        }


def expected_to_remain(logit) -> tf.Tensor:
    """Share of the slots that the prior expects to hold an old object, minus a half; `[R,N,1] -> [R,1]`."""
    return tf.reduce_mean(tf.sigmoid(logit) - 0.5, axis=1)


class FixedWherePrior(Composite):
    """Normal distribution of box logits: small boxes anywhere."""

    def __init__(self, scale_mean: float, name=None):
        """Args: `scale_mean`: mean of the logits of scales."""
        super().__init__(name=name)
        self.scale_mean = scale_mean

    def context(self, scene, expected):
        """Nothing to be known of the frame; `[R,1]` for the number of rows."""
        return expected

    def step(self, context, previous):
        """(mean, standard deviation), `[R,4]` each, of one object."""
        mean = tf.constant([self.scale_mean, self.scale_mean, 0.0, 0.0]) + tf.zeros_like(previous)
        return mean, tf.ones_like(previous)

    def first(self, rows):
        """`[rows,4]` in place of the object before the first."""
        return tf.zeros([rows, 4])

    def call(self, context, where):
        """(means, standard deviations), `[R,N,4]` each, of objects at `where [R,N,4]`, each given those before it."""
        rows, slots = tf.shape(where)[0], where.shape[1]
        previous = tf.concat([self.first(rows)[:, None], where[:, :-1]], axis=1)
        context = tf.repeat(context, slots, axis=0)
        mean, std = self.step(context, tf.reshape(previous, [-1, 4]))
        return tf.reshape(mean, [-1, slots, 4]), tf.reshape(std, [-1, slots, 4])


class RecurrentWherePrior(FixedWherePrior):
    """Learned distribution of box logits given the scene and the box before; its state stays as the scene sets it."""

    def __init__(self, scale_mean: float, name=None):
        super().__init__(scale_mean, name=name)
        self.initial = self.add_weight(shape=(1, 4), initializer="zeros", name="initial")
        self.first_where = self.add_weight(shape=(1, 4), initializer="glorot_uniform", name="first_where")
        self.scene_layer = Linear(CONTEXT, name="scene_layer")
        self.input_layer = Linear(4, name="input_layer")
        self.context_layer = Linear(4, name="context_layer")
        bias = [scale_mean, scale_mean, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
        self.head = Linear(8, bias, name="head")

    def context(self, scene, expected):
        """State `[R,128]` of scene features `[R,S]` and `expected [R,1]` (see `expected_to_remain`)."""
        initial = tf.tile(self.initial, [tf.shape(scene)[0], 1])
        return tf.nn.elu(self.scene_layer(tf.concat([initial, scene, expected], axis=-1)))

    def step(self, context, previous):
        """As `FixedWherePrior.step`, after an object at `previous [R,4]`."""
        hidden = tf.tanh(self.input_layer(previous) + self.context_layer(context))
        mean, raw = tf.split(self.head(hidden), 2, axis=-1)
        return mean, tf.math.softplus(raw) + SMALLEST_STD

    def first(self, rows):
        """The trainable box before the first."""
        return tf.tile(self.first_where, [rows, 1])


def make_where(kind: str, scale_mean: float, name=None):
    """The prior of boxes of one of `WHERE_KINDS`."""
    return (RecurrentWherePrior if kind == "recurrent" else FixedWherePrior)(scale_mean, name=name)
