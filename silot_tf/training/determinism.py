"""Having TensorFlow repeat its results bit for bit."""

import tensorflow as tf


def make_deterministic() -> None:
    """From now on this process computes the same bits from the same inputs, whatever its threads do.

    Two switches are needed. Op determinism leaves out kernels that sum in the order in which threads finish. It does
    not cover AddN with three or more terms, which starts its sum with whichever term's buffer is free to be reused at
    that moment; such sums differ by a rounding from call to call. TensorFlow's gradients contain them unless asked for
    sums in pairs (see `gradients`), and the arithmetic stage of its graph optimiser puts chains of additions back
    together into them, so this stage is turned off. The price is a few percent of an update.

    Must be called before the functions in question are traced. Random operations without a seed raise afterwards.
    """
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})


def gradients(objective, tensors) -> list:
    """Gradients of a scalar, zeros where there is no path; only sums of two terms, which have no order.

    Must be called inside of a `tf.function`.

    Args:
      objective: scalar tensor.
      tensors: list of variables or tensors.
    """
    found = tf.gradients(
        objective,
        tensors,
        aggregation_method=tf.AggregationMethod.EXPERIMENTAL_TREE,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return [tf.convert_to_tensor(gradient) for gradient in found]
