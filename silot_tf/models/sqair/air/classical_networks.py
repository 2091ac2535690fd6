"""Networks of classical AIR: a recurrent network that looks at the same frame again and again, and the decoder.

Source: Eslami et al., Attend, Infer, Repeat (NeurIPS 2016), in the form that SILOT's authors compare with (SQAIR
specification 7.1).
"""

import math

import keras
import tensorflow as tf

from silot_tf.errors import UserError
from silot_tf.layers.elu import Composite
from silot_tf.layers.mlp import MLP
from silot_tf.ops import corner_aligned

GUARD = 1e-9  # smallest argument of logarithms; not added: graphs may then compute (1 + 1e-9) - mean, which is 0


class FrameLSTM(Composite):
    """Outputs of an LSTM whose input is the flattened frame at every step, which is multiplied once."""

    def __init__(self, steps: int, units: int, name=None):
        """Args: `steps`: N; `units`: of the state."""
        super().__init__(name=name)
        self.steps, self.units, self.frame_shape = steps, units, None

    def build_for(self, frame_shape) -> None:
        """Create the weights for frames of (H, W, C), unless done; frames of another size are refused."""
        if self.frame_shape is None:
            shape = (math.prod(frame_shape), 4 * self.units)
            forget = keras.initializers.Constant([0.0] * self.units + [1.0] * self.units + [0.0] * 2 * self.units)
            self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="kernel")
            self.recurrent = self.add_weight(
                shape=(self.units, 4 * self.units), initializer="glorot_uniform", name="recurrent"
            )
            self.bias = self.add_weight(shape=(4 * self.units,), initializer=forget, name="bias")
            self.frame_shape = tuple(frame_shape)
        if tuple(frame_shape) != self.frame_shape:
            raise UserError(
                f"the network was built for frames of {self.frame_shape} (height, width, channels) and got "
                f"{tuple(frame_shape)}; it reads whole frames of one size: use the frame size of training"
            )

    def call(self, frames):
        """Outputs `[R,N,units]` of frames `[R,H,W,C]`; gates are ordered input, forget, new, output."""
        driven = tf.matmul(tf.reshape(frames, [-1, self.kernel.shape[0]]), self.kernel) + self.bias
        hidden, memory, outputs = tf.zeros_like(driven[:, : self.units]), tf.zeros_like(driven[:, : self.units]), []
        for _ in range(self.steps):
            take, keep, new, give = tf.split(driven + tf.matmul(hidden, self.recurrent), 4, axis=-1)
            memory = tf.sigmoid(keep) * memory + tf.sigmoid(take) * tf.tanh(new)
            hidden = tf.sigmoid(give) * tf.tanh(memory)
            outputs.append(hidden)
        return tf.stack(outputs, axis=1)


class BernoulliDecoder(Composite):
    """Frames as the sum of what objects paint, cut at 1, as probabilities of pixels."""

    def __init__(self, glimpse_shape, hidden, name=None):
        """Args: `glimpse_shape`: (rows, columns); `hidden`: widths."""
        super().__init__(name=name)
        self.glimpse_shape, self.hidden, self.network, self.channels = tuple(glimpse_shape), tuple(hidden), None, None

    def build_for(self, frame_shape) -> None:
        """Create what depends on the frame (H, W, C), unless done."""
        if self.network is None:
            self.channels = frame_shape[2]
            self.network = MLP(self.hidden, math.prod(self.glimpse_shape) * self.channels, "softplus", name="network")

    def glimpses(self, what):
        """Glimpses `[R,rows,C,columns]` in (0, 1) of `what [R,A]`, before their presence."""
        rows, columns = self.glimpse_shape
        return tf.reshape(tf.sigmoid(self.network(what)), [-1, rows, self.channels, columns])

    def call(self, what, where, pres, frame_shape) -> dict:
        """`mean [R,H,C,W]`, probabilities; arguments as of `AdditiveDecoder`."""
        glimpses = self.glimpses(tf.reshape(what, [-1, what.shape[-1]]))
        glimpses = tf.reshape(glimpses, [-1, what.shape[1], *glimpses.shape[1:]])
        painted, _ = corner_aligned.paint(glimpses, corner_aligned.box_of(where), pres[..., 0], frame_shape[:2])
        return {"mean": tf.clip_by_value(painted, 0.0, 1.0)}

    def log_likelihood(self, frames, mean):
        """Minus the Bernoulli cross entropy of real-valued pixels, summed over them; last axes are (H, C, W)."""
        on = frames * tf.math.log(tf.maximum(mean, GUARD))
        off = (1.0 - frames) * tf.math.log(tf.maximum(1.0 - mean, GUARD))
        return tf.reduce_sum(on + off, axis=[-3, -2, -1])
