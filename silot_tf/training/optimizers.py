"""Optimizers with the constants of the authors' framework, and gradient noise."""

import functools

import gin
import keras
import numpy as np
import tensorflow as tf
from scipy import special

from silot_tf.errors import UserError


@gin.register(module="training")
class Adam(keras.optimizers.Adam):
    """Adam, `variable -= lr_t * m / (sqrt(v) + epsilon)` with `lr_t = lr * sqrt(1 - beta_2^t) / (1 - beta_1^t)`.

    This is the formula of TensorFlow 1's AdamOptimizer, in which epsilon is added to the root of the *uncorrected*
    second moment. Keras 3 uses the same formula (tests compare both with NumPy) but another default epsilon, 1e-7.
    The update of one variable is one kernel here instead of a dozen, which halves the time it takes on a CPU.

    Args:
      learning_rate: set anew at every update by the trainer.
      beta_1: decay of the first moment.
      beta_2: decay of the second moment.
      epsilon: 1e-8, the default of TensorFlow 1.

    Source: SILOT specification 3.7.
    """

    def __init__(self, learning_rate=1e-4, beta_1=0.9, beta_2=0.999, epsilon=1e-8, name=None):
        super().__init__(learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, name=name or "adam")

    def update_step(self, gradient, variable, learning_rate):
        """Update one variable and its two moments in place."""
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=tf.cast(self.beta_1, variable.dtype),
            beta2=tf.cast(self.beta_2, variable.dtype),
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=gradient,
        )


@gin.register(module="training")
class RMSProp(keras.optimizers.Optimizer):
    """RMSProp with momentum and the constants of TensorFlow 1: `v <- rho v + (1 - rho) g^2`,
    `u <- momentum u + lr g / sqrt(v + epsilon)`, `variable -= u`.

    Keras has the same formula, but starts v at 0 where TensorFlow 1 starts it at 1. From 0 the first updates are
    three times as long as the learning rate says; from 1 they are as long as gradients are, far shorter where these
    are small, and the full length is reached once 1 is forgotten, after some fifty updates or more.

    Args:
      learning_rate: set anew at every update by the trainer.
      rho: decay of the second moment.
      momentum: decay of the running sum of updates.
      epsilon: 1e-10, the default of TensorFlow 1; inside of the root.
      initial_second_moment: of every entry; 1 as in TensorFlow 1.

    Raises:
      UserError: for a constant out of range.

    Source: SQAIR specification 3.4.
    """

    def __init__(self, learning_rate=1e-5, rho=0.9, momentum=0.9, epsilon=1e-10, initial_second_moment=1.0, name=None):
        for argument, value, fits, expected in (
            ("rho", rho, 0 <= rho < 1, "from 0 to below 1"),
            ("momentum", momentum, 0 <= momentum < 1, "from 0 to below 1"),
            ("epsilon", epsilon, epsilon > 0, "above 0"),
            ("initial_second_moment", initial_second_moment, initial_second_moment >= 0, "0 or more"),
        ):
            if not fits:
                raise UserError(f"training.RMSProp.{argument} is {value}; expected a number {expected}")
        super().__init__(learning_rate, name=name or "rmsprop")
        self.rho, self.momentum, self.epsilon = rho, momentum, epsilon
        self.initial_second_moment = initial_second_moment

    def build(self, variables):
        """Create the second moments and running sums; done once."""
        if self.built:
            return
        super().build(variables)
        start = keras.initializers.Constant(self.initial_second_moment)
        self._second_moments = self.add_optimizer_variables(variables, "second_moment", initializer=start)
        self._sums = self.add_optimizer_variables(variables, "sum")

    def update_step(self, gradient, variable, learning_rate):
        """Update one variable and its two moments in place, in one kernel."""
        index, number = self._get_variable_index(variable), functools.partial(tf.cast, dtype=variable.dtype)
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable.handle,
            ms=self._second_moments[index].value.handle,
            mom=self._sums[index].value.handle,
            lr=number(learning_rate),
            rho=number(self.rho),
            momentum=number(self.momentum),
            epsilon=number(self.epsilon),
            grad=gradient,
        )

    def reset(self) -> None:
        """Everything but the learning rate as after `build`."""
        _set_to_zero(self)
        for variable in self._second_moments:
            variable.assign(tf.fill(variable.shape, tf.constant(self.initial_second_moment, variable.dtype)))


def reset(optimizer) -> None:
    """Set moments and the update counter of a built optimizer back to where they start (learning rate untouched)."""
    getattr(optimizer, "reset", functools.partial(_set_to_zero, optimizer))()


def _set_to_zero(optimizer) -> None:
    for variable in optimizer.variables:
        if variable is not optimizer.learning_rate:
            variable.assign(tf.zeros_like(variable.value))


#: A standard deviation of gradient noise below which none is drawn: a hundredth of Adam's epsilon moves nothing.
NEGLIGIBLE_NOISE = 1e-10


def add_noise(gradients, std, seed) -> list:
    """Gradients plus truncated-normal(0, 1) noise (at most two deviations) times `std`, entry by entry.

    Args:
      gradients: list of tensors, already clipped.
      std: scalar float32; below `NEGLIGIBLE_NOISE` nothing is drawn, which saves a tenth of a short update.
      seed: `[2]` int32.

    Source: SILOT specification 3.7 (authors' code).
    """
    sizes = [gradient.shape.num_elements() for gradient in gradients]

    def noisy():
        parts = tf.split(std * truncated_normal(sum(sizes), seed), sizes)
        return [g + tf.reshape(part, g.shape) for g, part in zip(gradients, parts, strict=True)]

    return tf.cond(std > NEGLIGIBLE_NOISE, noisy, lambda: list(gradients))


def truncated_normal(size: int, seed) -> tf.Tensor:
    """`[size]` draws of a normal distribution cut at two standard deviations, in 65536 equally likely values.

    Reading a table with 16 random bits takes a third of the time of TensorFlow's own function, which for millions of
    gradients is noticeable, and gives the same numbers with and without XLA.
    """
    bits = tf.random.stateless_uniform([(size + 1) // 2], seed, minval=None, maxval=None, dtype=tf.int32)
    index = tf.reshape(tf.cast(tf.bitcast(bits, tf.uint16), tf.int32), [-1])[:size]
    return tf.gather(tf.constant(_truncated_normal_quantiles()), index)


@functools.cache
def _truncated_normal_quantiles() -> np.ndarray:
    """Midpoint quantiles, `[65536]` float32."""
    below = special.ndtr(-2.0)
    middle = (np.arange(65536) + 0.5) / 65536
    return special.ndtri(below + (1 - 2 * below) * middle).astype(np.float32)
