import numpy as np
import pytest
import tensorflow as tf

from silot_tf.ops import glimpses, spatial_transformer

SHAPE = (5, 4)


def boxes(seed, batch=2, slots=12):
    """Boxes inside, over the border, larger than the frame, far outside and of size 0."""
    rng = np.random.default_rng(seed)
    centre, size = rng.uniform(-0.2, 1.2, (batch, slots, 2)), rng.uniform(0.02, 1.3, (batch, slots, 2))
    size[:, 0], centre[:, 1], centre[:, 2] = 0, 5, -40
    size[:, 2] = 7
    return tf.constant(np.concatenate([centre, size], -1).astype(np.float32))


def frames(seed=0, frame_shape=(19, 23)):
    return tf.constant(np.random.default_rng(seed).random((2, *frame_shape, 3), np.float32))


def forms(video):
    rows = spatial_transformer.rows_channels_columns(video)
    return glimpses.Pixels(video), glimpses.Rows(rows), glimpses.RowsByDefinition(rows)


@pytest.mark.parametrize("align_corners", [False, True])
def test_all_forms_read_the_same_glimpses(align_corners):
    for seed in range(3):
        pixels, rows, by_definition = (form.read(boxes(seed), SHAPE, align_corners) for form in forms(frames(seed)))
        assert pixels.shape == (2, 12, 5, 3, 4)
        np.testing.assert_allclose(pixels, rows, atol=2e-5)
        np.testing.assert_allclose(pixels, by_definition, atol=2e-5)


def test_all_forms_have_the_same_gradients():
    weights = np.random.default_rng(4).normal(size=(2, 12, 5, 3, 4)).astype(np.float32)
    results = []
    for kind in range(3):
        video, where = frames(), boxes(1)
        with tf.GradientTape() as tape:
            tape.watch([video, where])
            loss = tf.reduce_sum(forms(video)[kind].read(where, SHAPE) * weights)
        results.append([tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, [video, where])])
    for found, rows, by_definition in zip(*results, strict=True):
        scale = np.max(np.abs(rows))
        np.testing.assert_allclose(found, rows, atol=2e-5 * scale)
        np.testing.assert_allclose(found, by_definition, atol=2e-4 * scale)


def test_gathered_glimpses_of_an_unknown_batch_and_compiled():
    read = lambda video, where: glimpses.Pixels(video).read(where, SHAPE)  # noqa: E731
    expected = read(frames(), boxes(2))
    specs = [tf.TensorSpec([None, 19, 23, 3]), tf.TensorSpec([None, 12, 4])]
    unknown = tf.function(read, input_signature=specs, autograph=False)
    compiled = tf.function(read, jit_compile=True, autograph=False)
    for function in (unknown, compiled):
        np.testing.assert_allclose(function(frames(), boxes(2)), expected, atol=1e-5)


def test_boxes_that_are_no_numbers_give_glimpses_that_are_none():
    where = tf.where(tf.range(12)[:, None] == 7, float("nan"), boxes(0))
    read = glimpses.Pixels(frames()).read(where, SHAPE).numpy()
    assert np.all(np.isnan(read[:, 7])) and np.all(np.isfinite(read[:, 8]))


@pytest.mark.parametrize(
    ("frame_shape", "by_definition", "kind"),
    [
        ((48, 48), False, glimpses.Rows),
        ((210, 160), False, glimpses.Pixels),
        ((210, 160), True, glimpses.RowsByDefinition),
    ],
)
def test_layout_depends_on_the_size_of_frames(frame_shape, by_definition, kind):
    video = tf.zeros([1, 2, *frame_shape, 3])
    readable = glimpses.readable(video, by_definition)
    assert type(readable) is kind and readable.frame_shape == frame_shape
    # Time steps keep the kind, as `layers.recurrent.unroll` takes them apart and together.
    (second,) = (tf.unstack(value, axis=1)[1] for value in tf.nest.flatten(readable))
    assert type(tf.nest.pack_sequence_as(readable, [second])) is kind
