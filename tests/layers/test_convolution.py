"""Grid encoder (properties 1-3 of the specification, section 9) and convolutions on a grid."""

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.layers.convolution import ConvolutionStack, GridEncoder, grid_padding

# Frame size, cells, rows added before and after: specification 2.2.
PADDING = {
    48: (4, 9, 10),
    60: (5, 9, 10),
    72: (6, 9, 10),
    96: (8, 9, 10),
    160: (14, 9, 18),
    195: (17, 9, 19),
    210: (18, 9, 16),
}
NARROW = (2, 2, 2, 3, 3, 5)  # channels; the geometry does not depend on them


def correlate(image, kernel, bias):
    """VALID cross-correlation with stride 1 by its definition, `[H,W,C] -> [H',W',D]`."""
    height, width = kernel.shape[:2]
    rows, columns = image.shape[0] - height + 1, image.shape[1] - width + 1
    result = np.empty((rows, columns, kernel.shape[-1]))
    for r in range(rows):
        for c in range(columns):
            patch = image[r : r + height, c : c + width]
            result[r, c] = np.einsum("hwc,hwcd->d", patch, kernel) + bias
    return result


@pytest.fixture(scope="module")
def encoder():
    """A narrow encoder with nonzero biases."""
    layer = GridEncoder(channels=NARROW)
    layer(tf.zeros([1, 12, 12, 3]))
    rng = np.random.default_rng(0)
    for variable in layer.variables:
        variable.assign(rng.normal(0, 0.3, variable.shape))
    return layer


@pytest.mark.parametrize("size", PADDING)
def test_padding_is_that_of_the_specification(size):
    assert grid_padding(size, receptive_field=31, cell_size=12) == PADDING[size]


@pytest.mark.parametrize("size", [1, 11, 12, 13, 31, 53, 100])
def test_padded_frame_holds_exactly_the_fields_of_all_cells(size):
    cells, before, after = grid_padding(size, 31, 12)
    assert cells == -(-size // 12)
    assert before + size + after == 31 + 12 * (cells - 1)
    assert before >= 0 and after >= 0


def test_published_layers_have_a_field_of_31_pixels_and_cells_of_12():
    layer = GridEncoder()
    assert (layer.receptive_field, layer.cell_size) == (31, 12)
    layer(tf.zeros([1, 12, 12, 3]))
    assert sum(int(np.prod(v.shape)) for v in layer.trainable_variables) == 572_096  # appendix A


@pytest.mark.parametrize("size", [*((s, s) for s in PADDING), (195, 160), (53, 37)])
def test_one_feature_vector_per_cell(encoder, size):
    rows, columns = -(-size[0] // 12), -(-size[1] // 12)
    features = encoder(tf.zeros([2, *size, 3]))
    assert features.shape == (2, rows, columns, NARROW[-1])
    assert encoder.grid_shape((*size, 3)) == (rows, columns)


def test_a_cell_sees_exactly_its_31_rows_and_columns():
    layer = GridEncoder(channels=NARROW)
    frame = tf.ones([1, 60, 72, 3])
    layer(frame)
    for variable in layer.variables:  # all positive, so no unit is off and no gradients cancel
        variable.assign(np.full(variable.shape, 0.1))
    for row, column in ((0, 0), (2, 3), (4, 5), (1, 5)):
        with tf.GradientTape() as tape:
            tape.watch(frame)
            cell = tf.reduce_sum(layer(frame)[:, row, column])
        seen = np.abs(tape.gradient(cell, frame)[0]).sum(-1) > 0
        expected = np.zeros((60, 72), bool)
        top, left = max(0, 12 * row - 9), max(0, 12 * column - 9)
        expected[top : 12 * row + 22, left : 12 * column + 22] = True
        np.testing.assert_array_equal(seen, expected)


def test_shift_by_a_cell_shifts_the_features_by_a_cell(encoder):
    frame = np.random.default_rng(1).random((1, 84, 84, 3)).astype(np.float32)
    shifted = np.zeros_like(frame)
    shifted[:, 12:, 12:] = frame[:, :-12, :-12]
    features, moved = encoder(frame).numpy(), encoder(shifted).numpy()
    # Fields of cells 1..4 lie inside the frame, before and after the shift, and clear of the vacated rows.
    np.testing.assert_allclose(moved[:, 2:6, 2:6], features[:, 1:5, 1:5], atol=1e-6)
    assert np.max(np.abs(moved[:, 1:5, 1:5] - features[:, 1:5, 1:5])) > 1e-2


def test_last_layer_of_the_encoder_is_linear_and_the_others_are_not(encoder):
    assert [layer.activation.__name__ for layer in encoder.convolutions] == ["relu"] * 5 + ["linear"]


def test_layers_of_different_number_are_refused():
    with pytest.raises(ValueError, match="same length"):
        GridEncoder(kernels=(4, 4), strides=(3,), channels=(8, 8))


def test_stack_equals_convolutions_written_out():
    layer = ConvolutionStack((4, 2), kernel=3)
    rng = np.random.default_rng(2)
    grid = rng.normal(size=(1, 5, 4, 3)).astype(np.float32)
    layer(grid)
    for variable in layer.variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    first, first_bias, second, second_bias = (v.numpy() for v in layer.variables)
    border = ((1, 1), (1, 1), (0, 0))
    hidden = np.maximum(correlate(np.pad(grid[0], border), first, first_bias), 0)
    expected = correlate(np.pad(hidden, border), second, second_bias)
    assert expected.min() < 0  # the output is linear
    np.testing.assert_allclose(layer(grid)[0], expected, atol=1e-5)


def test_pointwise_stack_keeps_cells_independent():
    layer = ConvolutionStack((4, 2), kernel=1)
    grid = np.random.default_rng(3).normal(size=(1, 3, 3, 2)).astype(np.float32)
    other = grid.copy()
    other[0, 1, 1] += 1.0
    changed = np.any(layer(grid).numpy() != layer(other).numpy(), axis=-1)[0]
    np.testing.assert_array_equal(np.argwhere(changed), [[1, 1]])
