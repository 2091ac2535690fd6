"""Networks of exponential linear units, with kernels drawn from a truncated normal by fan-in.

Source: Kosiorek et al. 2018, released code.
"""

import math

import keras
import tensorflow as tf

# Keras corrects the standard deviation for the truncation; the release does not.
_CORRECTION = 0.87962566103423978


def fan_in_normal() -> keras.initializers.Initializer:
    """Normal cut at two standard deviations, of standard deviation `1 / sqrt(fan_in)` before the cut."""
    return keras.initializers.VarianceScaling(_CORRECTION**2, "fan_in", "truncated_normal")


class Composite(keras.layers.Layer):
    """A layer that is called many times per frame, made of others which build themselves when they are called first."""

    def build(self, input_shape):
        """Nothing to do; without this method Keras runs `call` once more, symbolically, to find out."""

    def __call__(self, *arguments, **named):
        """Straight to `call` once built: what Keras does around it takes longer than a small layer itself."""
        return self.call(*arguments, **named) if self.built else super().__call__(*arguments, **named)


class Linear(Composite):
    """Linear layer of inputs `[R, F]`."""

    def __init__(self, units: int, bias=0.0, name=None):
        """Args: `units`: of the output; `bias`: initial value, a number or one per unit."""
        super().__init__(name=name)
        self.units, self._initial_bias = units, bias

    def build(self, input_shape):
        """Create the weights."""
        initial = keras.initializers.Constant(self._initial_bias)
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), initializer=fan_in_normal(), name="kernel")
        self.bias = self.add_weight(shape=(self.units,), initializer=initial, name="bias")

    def call(self, inputs):
        """Output `[R, units]`."""
        return tf.matmul(inputs, self.kernel) + self.bias


class EluMLP(Composite):
    """Hidden layers with ELU after each, and optionally a linear output."""

    def __init__(self, hidden, units: int | None = None, bias=0.0, name=None):
        """Args: `hidden`: widths; `units`: of the linear output, None for none; `bias`: its initial value."""
        super().__init__(name=name)
        self.hidden = [Linear(width, name=f"hidden_{i}") for i, width in enumerate(hidden)]
        self.out = None if units is None else Linear(units, bias, name="out")

    def call(self, inputs):
        """Output `[R, units]` (or of the last hidden layer) of inputs `[R, F]`."""
        for layer in self.hidden:
            inputs = tf.nn.elu(layer(inputs))
        return inputs if self.out is None else self.out(inputs)


class BlockLinear(Composite):
    """Linear layer whose inputs come in blocks with a kernel each, so that each is multiplied where it is known.

    The sum of all parts is the layer of the concatenated blocks.
    """

    def __init__(self, sizes, units: int, name=None):
        """Args: `sizes`: width of each block; `units`: of the output."""
        super().__init__(name=name)
        initial = keras.initializers.TruncatedNormal(stddev=1.0 / math.sqrt(sum(sizes)))
        self.kernels = [
            self.add_weight(shape=(size, units), initializer=_fresh(initial), name=f"kernel_{i}")
            for i, size in enumerate(sizes)
        ]
        self.bias = self.add_weight(shape=(units,), initializer="zeros", name="bias")

    def part(self, block: int, values):
        """What block number `block`, `[R, size]`, adds to the output; the bias belongs to block 0."""
        product = tf.matmul(values, self.kernels[block])
        return product + self.bias if block == 0 else product

    def call(self, *blocks):
        """Output `[R, units]` of all blocks."""
        return tf.add_n([self.part(i, block) for i, block in enumerate(blocks)])


class BlockRNN(Composite):
    """Plain recurrent network `h' = tanh(W x + b + V h + c)` with inputs in blocks, and its trainable initial state."""

    def __init__(self, sizes, units: int, name=None):
        """Args: see `BlockLinear`."""
        super().__init__(name=name)
        self.inputs = BlockLinear(sizes, units, name="inputs")
        self.recurrent = Linear(units, name="recurrent")
        self.initial = self.add_weight(shape=(1, units), initializer="zeros", name="initial")

    def part(self, block: int, values):
        """See `BlockLinear.part`."""
        return self.inputs.part(block, values)

    def initial_state(self, rows):
        """State `[rows, units]` before the first step."""
        return tf.tile(self.initial, [rows, 1])

    def call(self, driven, state):
        """Next state; `driven [R, units]` is the sum of the parts of `inputs`."""
        return tf.tanh(driven + self.recurrent(state))


def _fresh(initializer):
    """A copy with a seed of its own: a Keras initialiser object repeats its numbers."""
    return initializer.__class__.from_config(initializer.get_config() | {"seed": None})
