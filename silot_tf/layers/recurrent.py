"""Recurrent cells, and the one loop over time."""

import math

import gin
import keras
import tensorflow as tf

from silot_tf.layers.elu import Composite


@gin.register(module="layers")
class GRUCell(keras.layers.Layer):
    """Gated recurrent unit whose reset gate acts on the state *before* the recurrent product.

    `z = sig(x Wz + h Uz + bz)`, `r = sig(x Wr + h Ur + br)`, `n = tanh(x Wn + (r * h) Un + bn)`,
    `h' = (1 - z) h + z n`. Keras' GRUCell has the complementary update gate; biases start Glorot-uniform here, as in
    the authors' code.

    Source: SILOT specification 2.1.
    """

    def __init__(self, units: int, name=None):
        super().__init__(name=name)
        self.units = units

    def build(self, inputs_shape, state_shape):
        """Create the weights; columns are ordered update, reset, new."""
        features, units = inputs_shape[-1], self.units
        self.kernel = self.add_weight(
            shape=(features, 3 * units), initializer=_glorot_limit(features, units), name="kernel"
        )
        self.gate_kernel = self.add_weight(
            shape=(units, 2 * units), initializer=_glorot_limit(units, units), name="gate_kernel"
        )
        self.new_kernel = self.add_weight(
            shape=(units, units), initializer=_glorot_limit(units, units), name="new_kernel"
        )
        self.bias = self.add_weight(shape=(3 * units,), initializer=_glorot_limit(units, units), name="bias")

    def call(self, inputs, state):
        """Next state `[N, units]` from inputs `[N, F]` and the state `[N, units]`."""
        return self.advance(tf.matmul(inputs, self.kernel) + self.bias, state)

    def advance(self, driven, state):
        """Next state from what the inputs add to the gates, `[N, 3 * units]`, bias included."""
        units = self.units
        gates_driven, new_driven = tf.split(driven, [2 * units, units], axis=-1)
        update, reset = tf.split(tf.sigmoid(gates_driven + tf.matmul(state, self.gate_kernel)), 2, axis=-1)
        new = tf.tanh(new_driven + tf.matmul(reset * state, self.new_kernel))
        return state + update * (new - state)


class BlockGRU(Composite):
    """`GRUCell` with inputs in blocks, each multiplied where it is known, and its trainable initial state.

    The sum of all parts drives the cell.
    """

    def __init__(self, sizes, units: int, name=None):
        """Args: `sizes`: width of each block; `units`: of the state."""
        super().__init__(name=name)
        self._ends = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
        self.cell = GRUCell(units, name="cell")
        self.cell.build((None, sum(sizes)), (None, units))
        self.initial = self.add_weight(shape=(1, units), initializer="zeros", name="initial")

    def part(self, block: int, values):
        """What block number `block`, `[R, size]`, adds to the gates; the bias belongs to block 0."""
        product = tf.matmul(values, self.cell.kernel[self._ends[block] : self._ends[block + 1]])
        return product + self.cell.bias if block == 0 else product

    def initial_state(self, rows):
        """State `[rows, units]` before the first step."""
        return tf.tile(self.initial, [rows, 1])

    def call(self, driven, state):
        """Next state; `driven [R, 3 * units]` is the sum of the parts."""
        return self.cell.advance(driven, state)


def _glorot_limit(fan_in: int, fan_out: int):
    """Glorot-uniform initialiser of one block of a fused matrix."""
    limit = math.sqrt(6.0 / (fan_in + fan_out))
    return keras.initializers.RandomUniform(-limit, limit)


def unroll(step, state, inputs, frames: int):
    """Apply `step(state, inputs_t) -> (state, outputs_t)` to `frames` frames; unrolled statically.

    A graph-mode while loop with gradients can hang in TensorFlow's graph optimiser, so time is a Python loop.

    Args:
      step: function of the state and one frame's inputs.
      state: nested structure before the first frame.
      inputs: nested structure of `[B,T,...]` tensors.
      frames: T.

    Returns:
      outputs stacked to `[B,T,...]`, and the state after the last frame.
    """
    over_time = [tf.unstack(value, frames, axis=1) for value in tf.nest.flatten(inputs)]
    outputs = []
    for t in range(frames):
        frame_inputs = tf.nest.pack_sequence_as(inputs, [values[t] for values in over_time])
        state, frame_outputs = step(state, frame_inputs)
        outputs.append(frame_outputs)
    return tf.nest.map_structure(lambda *values: tf.stack(values, axis=1), *outputs), state
