"""Attention over objects with a Gaussian kernel of distance.

    out[l] = sum_k g(|d_kl|) MLP([features_k, d_kl, reference_l]),   d_kl = source_k - reference position_l

with `g` the two-dimensional normal density of standard deviation `kernel_std`. Weights are not normalised over the
sources. The first layer acts linearly on the concatenation, so it is computed once per source and once per reference
and only added per pair; the last layer is linear, so it is applied once, after the sum. Both are exact.

Source: SILOT, section 3.2 (spatial attention); specification 2.4.
"""

import math

import gin
import keras
import tensorflow as tf


def kernel_weights(displacement, kernel_std: float) -> tf.Tensor:
    """Normal density `[...]` of displacements `[..., 2]`; the peak is `1 / (2 pi kernel_std^2)`."""
    squared = tf.reduce_sum(tf.square(displacement), axis=-1)
    return tf.exp(-0.5 * squared / kernel_std**2) / (2 * math.pi * kernel_std**2)


@gin.register(module="layers")
class SpatialAttention(keras.layers.Layer):
    """Kernel-weighted sum over sources of a network of source, displacement and (optionally) reference features."""

    def __init__(self, kernel_std: float, hidden=(64, 64), units: int = 64, plain: bool = False, name=None):
        """Args: `kernel_std` in units of the positions; `hidden`: two widths; `plain`: pair by pair (test oracle)."""
        super().__init__(name=name)
        if len(hidden) != 2:
            raise ValueError(f"SpatialAttention: hidden must give two widths, found {hidden}")
        self.kernel_std, self.hidden, self.units, self.plain = kernel_std, tuple(hidden), units, plain

    def build(self, features_shape, positions_shape, references_shape, reference_features_shape=None):
        """Create the weights; the first kernel is kept in blocks but initialised as one Glorot-uniform matrix."""
        features = features_shape[-1]
        extra = reference_features_shape[-1] if reference_features_shape is not None else 0
        limit = math.sqrt(6.0 / (features + 2 + extra + self.hidden[0]))
        first = keras.initializers.RandomUniform(-limit, limit)
        self.source_kernel = self.add_weight(shape=(features, self.hidden[0]), initializer=first, name="source_kernel")
        self.displacement_kernel = self.add_weight(
            shape=(2, self.hidden[0]), initializer=first, name="displacement_kernel"
        )
        self.reference_kernel = (
            self.add_weight(shape=(extra, self.hidden[0]), initializer=first, name="reference_kernel")
            if extra
            else None
        )
        self.first_bias = self.add_weight(shape=(self.hidden[0],), initializer="zeros", name="first_bias")
        self.second = keras.layers.Dense(self.hidden[1], activation="relu", name="second")
        self.second.build((None, self.hidden[0]))
        self.last_kernel = self.add_weight(
            shape=(self.hidden[1], self.units), initializer="glorot_uniform", name="last_kernel"
        )
        self.last_bias = self.add_weight(shape=(self.units,), initializer="zeros", name="last_bias")

    def call(self, features, positions, references, reference_features=None, source_mask=None):
        """Attended features `[B,L,units]`.

        Args:
          features: `[B,K,F]` of the sources.
          positions: `[B,K,2]` of the sources.
          references: `[B,L,2]` or `[1,L,2]` positions of the references.
          reference_features: optional `[B,L,R]`.
          source_mask: optional `[B,K]` factors on the weights.
        """
        displacement = positions[:, None] - references[:, :, None]  # [B,L,K,2]
        weights = kernel_weights(displacement, self.kernel_std)
        if source_mask is not None:
            weights *= source_mask[:, None, :]
        if self.plain:
            return self._pairwise(features, displacement, weights, reference_features)
        per_source = (
            tf.matmul(features, self.source_kernel) + tf.matmul(positions, self.displacement_kernel) + self.first_bias
        )
        per_reference = tf.matmul(-references, self.displacement_kernel)
        if self.reference_kernel is not None:
            per_reference += tf.matmul(reference_features, self.reference_kernel)
        hidden = tf.nn.relu(per_source[:, None] + per_reference[:, :, None])  # [B,L,K,h]
        hidden = tf.reshape(
            self.second(tf.reshape(hidden, [-1, self.hidden[0]])),
            [-1, displacement.shape[1], displacement.shape[2], self.hidden[1]],
        )
        summed = tf.matmul(weights[:, :, None, :], hidden)[:, :, 0]  # [B,L,h]
        return tf.matmul(summed, self.last_kernel) + tf.reduce_sum(weights, -1)[..., None] * self.last_bias

    def _pairwise(self, features, displacement, weights, reference_features):
        """The definition, pair by pair."""
        references, sources = displacement.shape[1:3]
        parts = [tf.repeat(features[:, None], references, axis=1), displacement]
        kernels = [self.source_kernel, self.displacement_kernel]
        if self.reference_kernel is not None:
            parts.append(tf.repeat(reference_features[:, :, None], sources, axis=2))
            kernels.append(self.reference_kernel)
        hidden = tf.nn.relu(tf.matmul(tf.concat(parts, -1), tf.concat(kernels, 0)) + self.first_bias)
        values = tf.matmul(self.second(hidden), self.last_kernel) + self.last_bias
        return tf.reduce_sum(weights[..., None] * values, axis=2)
