import numpy as np
import pytest
import tensorflow as tf

from silot_tf.layers.recurrent import BlockGRU, GRUCell, unroll


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru_by_hand(x, h, cell):
    """Specification 2.1, with the nine tensors taken apart."""
    wz, wr, wn = np.split(cell.kernel.numpy(), 3, axis=1)
    uz, ur = np.split(cell.gate_kernel.numpy(), 2, axis=1)
    bz, br, bn = np.split(cell.bias.numpy(), 3)
    z = sigmoid(x @ wz + h @ uz + bz)
    r = sigmoid(x @ wr + h @ ur + br)
    n = np.tanh(x @ wn + (r * h) @ cell.new_kernel.numpy() + bn)
    return (1 - z) * h + z * n


def test_cell_follows_the_formula():
    rng = np.random.default_rng(0)
    cell, x, h = GRUCell(5), rng.normal(size=(4, 3)), rng.normal(size=(4, 5))
    x, h = x.astype(np.float32), h.astype(np.float32)
    cell(x, h)
    for variable in cell.variables:
        variable.assign(rng.normal(size=variable.shape))
    np.testing.assert_allclose(cell(x, h), gru_by_hand(x, h, cell), atol=1e-6)


def test_cell_has_the_published_number_of_parameters_and_glorot_uniform_blocks():
    cell = GRUCell(128)
    cell(tf.zeros([1, 72]), tf.zeros([1, 128]))
    assert sum(int(np.prod(v.shape)) for v in cell.trainable_variables) == 77_184  # appendix A
    # Every block is initialised by its own size; biases like a 128 x 128 matrix.
    limits = {"kernel": np.sqrt(6 / 200), "gate_kernel": 0.15309, "new_kernel": 0.15309, "bias": 0.15309}
    for name, limit in limits.items():
        values = np.abs(getattr(cell, name))
        assert 0.95 * limit < values.max() <= 1.0001 * limit, name
        assert abs(values.mean() / limit - 0.5) < 0.07, name


def test_cell_with_inputs_in_blocks_is_the_cell_of_all_of_them():
    rng = np.random.default_rng(1)
    blocks = [rng.normal(size=(4, size)).astype(np.float32) for size in (3, 2)]
    network = BlockGRU((3, 2), 5)
    network.initial.assign(rng.normal(size=(1, 5)))
    state = network.initial_state(4)
    driven = network.part(1, blocks[1]) + network.part(0, blocks[0])
    expected = gru_by_hand(np.concatenate(blocks, axis=1), np.asarray(state), network.cell)
    np.testing.assert_allclose(network(driven, state), expected, atol=1e-6)
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == 3 * (5 * 5 + 5 * 5 + 5) + 5


def test_state_stays_inside_the_range_of_tanh():
    cell, state = GRUCell(4), tf.zeros([2, 4])
    for t in range(20):
        state = cell(10.0 * tf.random.stateless_normal([2, 3], [t, 0]), state)
    assert np.max(np.abs(state)) <= 1


@pytest.mark.parametrize("graph", [False, True])
def test_unroll_equals_a_loop_over_frames(graph):
    inputs = {"a": np.arange(12.0).reshape(2, 3, 2), "b": {"c": np.ones((2, 3)) * [1, 10, 100]}}

    def step(state, now):
        total = state["total"] + tf.reduce_sum(now["a"], axis=-1) * now["b"]["c"]
        return {"total": total, "frames": state["frames"] + 1}, {"total": total, "a": now["a"]}

    def run():
        start = {"total": tf.zeros([2], tf.float64), "frames": tf.constant(0)}
        return unroll(step, start, tf.nest.map_structure(tf.constant, inputs), 3)

    outputs, state = tf.function(run)() if graph else run()
    total, expected = np.zeros(2), []
    for t in range(3):
        total = total + inputs["a"][:, t].sum(-1) * inputs["b"]["c"][:, t]
        expected.append(total)
    np.testing.assert_array_equal(outputs["total"], np.stack(expected, axis=1))
    np.testing.assert_array_equal(outputs["a"], inputs["a"])
    np.testing.assert_array_equal(state["total"], total)
    assert int(state["frames"]) == 3


def test_unroll_passes_gradients_back_through_all_frames():
    """`s_t = w s_{t-1} + x_t`, so `d s_2 / d x_0 = w^2` and `d s_2 / d w = 2 w x_0 + x_1`."""
    weight, inputs = tf.constant(3.0), tf.constant([[2.0, 5.0, 7.0]])
    with tf.GradientTape() as tape:
        tape.watch([weight, inputs])
        outputs, state = unroll(lambda s, x: (weight * s + x, weight * s + x), tf.zeros([1]), inputs, 3)
        last = tf.reduce_sum(state)
    np.testing.assert_array_equal(outputs, [[2.0, 11.0, 40.0]])
    to_weight, to_inputs = tape.gradient(last, [weight, inputs])
    assert float(to_weight) == 2 * 3 * 2 + 5
    np.testing.assert_array_equal(to_inputs, [[9.0, 3.0, 1.0]])


def test_unroll_in_pieces_equals_unroll_at_once():
    cell, inputs = GRUCell(3), tf.random.stateless_normal([2, 4, 5], [0, 1])

    def step(state, x):
        state = cell(x, state)
        return state, state

    whole, last = unroll(step, tf.zeros([2, 3]), inputs, 4)
    first, state = unroll(step, tf.zeros([2, 3]), inputs[:, :1], 1)
    rest, state = unroll(step, state, inputs[:, 1:], 3)
    np.testing.assert_array_equal(tf.concat([first, rest], axis=1), whole)
    np.testing.assert_array_equal(state, last)
