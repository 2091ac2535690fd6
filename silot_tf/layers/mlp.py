"""Fully connected networks."""

import gin
import keras


@gin.register(module="layers")
class MLP(keras.layers.Layer):
    """Dense layers with ReLU (or another activation) between them and a linear output; Glorot-uniform, zero biases.

    Inputs are `[N, F]`, or longer shapes whose trailing axes are flattened into F.

    Source: SILOT specification 2.1.
    """

    def __init__(self, hidden, units: int, activation: str = "relu", name=None):
        """Args: `hidden`: widths of the hidden layers; `units`: width of the output; `activation`: Keras' name."""
        super().__init__(name=name)
        widths = [*hidden, units]
        self.dense_layers = [
            keras.layers.Dense(width, activation=activation if i < len(hidden) else None, name=f"dense_{i}")
            for i, width in enumerate(widths)
        ]

    def call(self, inputs):
        """Output `[N, units]`."""
        if len(inputs.shape) > 2:
            inputs = keras.ops.reshape(inputs, (-1, _product(inputs.shape[1:])))
        for layer in self.dense_layers:
            inputs = layer(inputs)
        return inputs


def _product(dimensions) -> int:
    result = 1
    for dimension in dimensions:
        result *= dimension
    return result
