"""Attention by a Gaussian kernel of distance (specification 2.4, property 7)."""

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.layers.spatial_attention import SpatialAttention, kernel_weights

STD = 0.15
B, K, L, F, R = 2, 5, 4, 6, 3


def scene(seed=0, sources=K, references=L):
    """Features, positions, reference positions, reference features."""
    rng = np.random.default_rng(seed)
    shapes = [(B, sources, F), (B, sources, 2), (B, references, 2), (B, references, R)]
    features, positions, reference_positions, extra = (rng.normal(size=s).astype(np.float32) for s in shapes)
    return [tf.constant(x) for x in (features, 0.3 * positions, 0.3 * reference_positions, extra)]


def attention(with_reference_features, seed=1, **options):
    """A layer with random weights, biases among them."""
    layer = SpatialAttention(STD, hidden=(8, 7), units=5, **options)
    inputs = scene()
    layer(*(inputs if with_reference_features else inputs[:3]))
    rng = np.random.default_rng(seed)
    for variable in layer.variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    return layer


def attend_by_loops(layer, features, positions, references, extra=None):
    """The definition, one pair at a time, float64."""
    get = lambda value: np.asarray(value, np.float64)  # noqa: E731
    kernels = [layer.source_kernel, layer.displacement_kernel]
    kernels += [] if extra is None else [layer.reference_kernel]
    first = np.concatenate([get(kernel) for kernel in kernels])
    features, positions, references = get(features), get(positions), get(references)
    result = np.zeros((len(features), references.shape[1], layer.units))
    for b, l, k in np.ndindex(len(features), references.shape[1], features.shape[1]):  # noqa: E741
        d = positions[b, k] - references[b, l]
        pair = np.concatenate([features[b, k], d, *([] if extra is None else [get(extra)[b, l]])])
        hidden = np.maximum(pair @ first + get(layer.first_bias), 0)
        hidden = np.maximum(hidden @ get(layer.second.kernel) + get(layer.second.bias), 0)
        value = hidden @ get(layer.last_kernel) + get(layer.last_bias)
        result[b, l] += np.exp(-0.5 * (d @ d) / STD**2) / (2 * np.pi * STD**2) * value
    return result


@pytest.mark.parametrize(("std", "peak"), [(0.1, 15.92), (0.15, 7.07)])
def test_kernel_peak_is_that_of_a_normal_density(std, peak):
    assert float(kernel_weights(tf.zeros([2]), std)) == pytest.approx(peak, abs=0.005)


@pytest.mark.parametrize(
    ("std", "cell", "weight"),
    [(0.1, (6, 6), 3.34), (0.1, (6, 18), 0.0064), (0.15, (6, 6), 3.53), (0.15, (18, 6), 0.22)],
)
def test_kernel_at_cell_centres_seen_from_the_corner(std, cell, weight):
    """Weights quoted in specification 2.14, 48-pixel anchor."""
    assert float(kernel_weights(tf.constant(cell, tf.float32) / 48, std)) == pytest.approx(weight, rel=0.01)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("with_reference_features", [False, True])
def test_attention_equals_the_definition_pair_by_pair(with_reference_features, plain):
    layer = attention(with_reference_features, plain=plain)
    inputs = scene()[: 4 if with_reference_features else 3]
    np.testing.assert_allclose(layer(*inputs), attend_by_loops(layer, *inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("with_reference_features", [False, True])
def test_factorised_form_has_the_values_and_gradients_of_the_plain_form(with_reference_features, masked):
    results = []
    for plain in (False, True):
        layer = attention(with_reference_features, plain=plain)
        inputs = scene(seed=2)[: 4 if with_reference_features else 3]
        mask = tf.constant([[1.0, 0.0, 0.5, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0, 1.0]]) if masked else None
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            attended = layer(*inputs, source_mask=mask)
            loss = tf.reduce_sum(tf.sin(attended))
        gradients = tape.gradient(loss, [*inputs, *layer.trainable_variables])
        results.append([attended, *gradients])
    for fast, plain in zip(*results, strict=True):
        assert np.max(np.abs(plain)) > 0
        np.testing.assert_allclose(fast, plain, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("with_reference_features", [False, True])
def test_order_of_the_sources_does_not_matter(with_reference_features):
    layer = attention(with_reference_features)
    features, positions, *others = scene()[: 4 if with_reference_features else 3]
    order = [3, 0, 4, 1, 2]
    permuted = layer(tf.gather(features, order, axis=1), tf.gather(positions, order, axis=1), *others)
    np.testing.assert_allclose(permuted, layer(features, positions, *others), rtol=1e-5, atol=1e-5)


def test_masked_sources_do_as_if_they_were_not_there():
    layer = attention(with_reference_features=False)
    features, positions, references, _ = scene()
    mask = tf.constant([[1.0, 1.0, 0.0, 1.0, 0.0]] * B)
    kept = [0, 1, 3]
    expected = layer(tf.gather(features, kept, axis=1), tf.gather(positions, kept, axis=1), references)
    np.testing.assert_allclose(layer(features, positions, references, source_mask=mask), expected, atol=1e-5)
    np.testing.assert_array_equal(layer(features, positions, references, source_mask=tf.zeros([B, K])), 0.0)


def test_objects_farther_than_six_deviations_do_not_count():
    layer = SpatialAttention(STD, hidden=(8, 7), units=5)
    references = tf.zeros([1, 1, 2])
    features = tf.random.stateless_uniform([1, 40, F], [0, 1], -1.0, 1.0)
    angles = np.linspace(0, 2 * np.pi, 40)
    circle = np.stack([np.sin(angles), np.cos(angles)], -1)[None].astype(np.float32)
    layer(features, circle, references)
    alone = [layer(features[:, k : k + 1], 6.01 * STD * circle[:, k : k + 1], references).numpy() for k in range(40)]
    assert np.max(np.abs(alone)) < 1e-6
    near = layer(features, 1.0 * STD * circle, references)
    assert np.max(np.abs(near)) > 1e-2


def test_one_set_of_references_serves_the_whole_batch():
    layer = attention(with_reference_features=False)
    features, positions, references, _ = scene()
    shared = references[:1]
    repeated = tf.repeat(shared, B, axis=0)
    np.testing.assert_allclose(
        layer(features, positions, shared), layer(features, positions, repeated), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(("inputs", "parameters"), [((198, None), 21_184), ((198, 64), 25_280)])
def test_number_of_parameters_is_that_of_the_paper(inputs, parameters):
    """Appendix A; 25,280 and the network of the object itself (21,056) are the interacting variant (46,336)."""
    features, extra = inputs
    layer = SpatialAttention(0.1)
    layer.build((1, 2, features), (1, 2, 2), (1, 3, 2), None if extra is None else (1, 3, extra))
    assert sum(int(np.prod(v.shape)) for v in layer.trainable_variables) == parameters


def test_blocks_of_the_first_kernel_begin_as_one_glorot_uniform_matrix():
    layer = SpatialAttention(0.1)
    layer.build((1, 2, 198), (1, 2, 2), (1, 3, 2), (1, 3, 64))
    limit = np.sqrt(6 / (198 + 2 + 64 + 64))
    for kernel in (layer.source_kernel, layer.displacement_kernel, layer.reference_kernel):
        assert 0.9 * limit < np.max(np.abs(kernel)) <= limit


def test_other_than_two_hidden_layers_are_refused():
    with pytest.raises(ValueError, match="two widths"):
        SpatialAttention(0.1, hidden=(64,))
