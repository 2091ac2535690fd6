import numpy as np
import scipy.stats
import tensorflow as tf

from silot_tf.ops import seeds


def test_normal_numbers_agree_between_eager_graph_and_xla():
    def draw():
        return seeds.normal([1000], seeds.fold([1, 2], 3, 4))

    eager = draw().numpy()
    np.testing.assert_allclose(tf.function(draw)().numpy(), eager, atol=1e-6)
    np.testing.assert_allclose(tf.function(draw, jit_compile=True)().numpy(), eager, atol=1e-5)


def test_numbers_follow_their_distributions():
    uniform = seeds.uniform([20_000], tf.constant([5, 6])).numpy()
    assert uniform.min() > 0 and uniform.max() < 1
    assert scipy.stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert scipy.stats.kstest(seeds.normal([20_000], tf.constant([5, 7])).numpy(), "norm").pvalue > 1e-3
    assert scipy.stats.kstest(seeds.logistic(tf.constant(uniform)).numpy(), "logistic").pvalue > 1e-3


def test_folding_distinguishes_order_and_values():
    folded = {tuple(seeds.fold([0, 0], *values).numpy()) for values in ((1, 2), (2, 1), (1,), (1, 3))}
    assert len(folded) == 4
