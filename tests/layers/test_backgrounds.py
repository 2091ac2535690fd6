import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from silot_tf import configuration
from silot_tf.errors import UserError
from silot_tf.layers import backgrounds

COLOUR = (0.2, 0.4, 0.6)
BATCH, FRAMES, HEIGHT, WIDTH = 2, 4, 6, 8


def coloured_video(seed=0):
    """Clips in which every frame, also of one clip, has a mode and a median of its own."""
    rng = np.random.default_rng(seed)
    video = rng.integers(0, 3, (BATCH, FRAMES, HEIGHT, WIDTH, 3)) * 40 + rng.integers(0, 120, (BATCH, FRAMES, 1, 1, 3))
    return tf.cast(video, tf.float32) / 255.0


def call(layer, video, state=None, frame=0, crop_offset=((0, 0), (0, 0))):
    size = len(video)
    state = layer.initial_state(size) if state is None else state
    return layer.images(video, state, tf.fill([size], frame), tf.constant(crop_offset, tf.float32)[:size])


def image_of(rows, columns, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)


def recorded(folder, image):
    path = folder / "still.npy"
    np.save(path, image)
    return backgrounds.RecordedImage(str(path))


# ------------------------------------------------------------------------------------------------------ fixed colours


def test_fixed_colour_is_black_by_default_which_needs_no_images():
    images, state = call(backgrounds.FixedColour(), coloured_video())
    assert images is None and state == {}
    assert not np.any(backgrounds.FixedColour().of_clips(coloured_video()))


def test_fixed_colour_is_the_same_everywhere():
    images, state = call(backgrounds.FixedColour(COLOUR), coloured_video())
    shape = (BATCH, FRAMES, HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(np.broadcast_to(images, shape), np.broadcast_to(COLOUR, shape))
    assert state == {}


@pytest.mark.parametrize("colour", [(1.0, 0.0), (0, 128, 0), (0.0, -0.1, 0.0), (0.0, float("nan"), 0.0)])
def test_colours_that_are_none_are_refused(colour):
    with pytest.raises(UserError, match=r"FixedColour\.colour = .*expected"):
        backgrounds.FixedColour(colour)


# ------------------------------------------------------------------------------------------- colours of the first frame


@pytest.mark.parametrize("layer", [backgrounds.ModeColour(), backgrounds.MedianColour()], ids=["mode", "median"])
class TestColourOfFirstFrame:
    def test_every_video_has_the_colour_of_its_first_frame(self, layer):
        video = coloured_video()
        images, state = call(layer, video)
        assert images.shape == (BATCH, 1, 1, 1, 3) and state["colour"].shape == (BATCH, 3)
        for b, frame in enumerate(np.asarray(video)[:, 0].reshape(BATCH, -1, 3)):
            colours, counts = np.unique(frame, axis=0, return_counts=True)
            mode = isinstance(layer, backgrounds.ModeColour)
            expected = colours[counts.argmax()] if mode else np.median(frame, axis=0)
            np.testing.assert_allclose(images[b, 0, 0, 0], expected, atol=1e-7)

    def test_later_pieces_keep_it(self, layer):
        video = coloured_video()
        whole, _ = call(layer, video)
        state = None
        for start, stop in ((0, 1), (1, 3), (3, 4)):
            images, state = call(layer, video[:, start:stop], state, frame=start)
            np.testing.assert_array_equal(images, whole)

    def test_videos_may_begin_at_different_times(self, layer):
        """One row of a batch is started anew, as after the reset of one environment of several."""
        video, state = coloured_video(), {"colour": tf.fill([BATCH, 3], 0.9)}
        images, _ = layer.images(video, state, tf.constant([5, 0]), tf.zeros([BATCH, 2]))
        np.testing.assert_allclose(images[0, 0, 0, 0], [0.9] * 3)
        np.testing.assert_array_equal(images[1], call(layer, video)[0][1])

    def test_compiled_for_any_batch_size_it_is_the_same(self, layer):
        signature = [tf.TensorSpec([None, FRAMES, HEIGHT, WIDTH, 3])]
        compiled = tf.function(lambda video: layer.of_clips(video), input_signature=signature)
        video = coloured_video()
        for size in (1, BATCH):
            np.testing.assert_array_equal(compiled(video[:size]), layer.of_clips(video[:size]))
        fast = tf.function(lambda: layer.of_clips(video), jit_compile=True)
        np.testing.assert_allclose(fast(), layer.of_clips(video), atol=1e-6)


@pytest.mark.parametrize("levels", [1, 257])
def test_impossible_levels_are_refused(levels):
    with pytest.raises(UserError, match=r"ModeColour\.levels"):
        backgrounds.ModeColour(levels)


# ------------------------------------------------------------------------------------------------------ recorded images


def test_recorded_image_is_shown_as_it_is(tmp_path):
    """8-bit values come out exactly as a data pipeline makes them."""
    image = image_of(HEIGHT, WIDTH)
    images = recorded(tmp_path, image).of_clips(coloured_video())
    np.testing.assert_array_equal(images[0, 0], tf.cast(image, tf.float32) / 255.0)


def test_image_files_and_arrays_of_floats_are_read(tmp_path):
    image = image_of(HEIGHT, WIDTH)
    Image.fromarray(image).save(tmp_path / "still.png")
    np.save(tmp_path / "floats.npy", image / 255.0)
    video = coloured_video()
    expected = recorded(tmp_path, image).of_clips(video)
    for name in ("still.png", "floats.npy"):
        found = backgrounds.RecordedImage(str(tmp_path / name)).of_clips(video)
        np.testing.assert_allclose(found, expected, atol=1e-7)


def test_crops_show_their_part_of_the_recorded_image(tmp_path):
    image, offset = image_of(HEIGHT + 5, WIDTH + 7), [[5, 2], [1, 7]]
    images, state = call(recorded(tmp_path, image), coloured_video(), crop_offset=offset)
    assert images.shape == (BATCH, 1, HEIGHT, WIDTH, 3) and state == {}
    for b, (y, x) in enumerate(offset):
        np.testing.assert_allclose(images[b, 0], image[y : y + HEIGHT, x : x + WIDTH] / 255.0, atol=1e-7)


def test_crop_of_the_full_background_is_the_background_of_the_crop(tmp_path):
    layer = recorded(tmp_path, image_of(HEIGHT + 5, WIDTH + 7))
    full = layer.of_clips(tf.zeros([1, 1, HEIGHT + 5, WIDTH + 7, 3]))
    crop = layer.of_clips(tf.zeros([1, 1, HEIGHT, WIDTH, 3]), [[3, 4]])
    np.testing.assert_array_equal(crop[0, 0], full[0, 0, 3 : 3 + HEIGHT, 4 : 4 + WIDTH])


def test_recorded_image_is_saved_but_not_trained(tmp_path):
    image = image_of(HEIGHT, WIDTH)
    layer = recorded(tmp_path, image)
    assert not layer.trainable_variables
    np.testing.assert_allclose(layer.variables[0], image / 255.0, atol=1e-7)


def test_frames_larger_than_the_recorded_image_are_refused(tmp_path):
    layer = recorded(tmp_path, image_of(HEIGHT - 1, WIDTH))
    with pytest.raises(UserError, match=r"5x8 pixels, the frames 6x8.*RecordedImage") as caught:
        layer.of_clips(coloured_video())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("extra", [0, 2])
@pytest.mark.parametrize("compiled", [False, True])
def test_crop_that_leaves_the_recorded_image_is_an_error(tmp_path, extra, compiled):
    layer = recorded(tmp_path, image_of(HEIGHT + extra, WIDTH + extra))
    show = lambda offset: layer.of_clips(tf.zeros([1, 1, HEIGHT, WIDTH, 3]), offset)  # noqa: E731
    show = tf.function(show) if compiled else show
    show(tf.constant([[extra, extra]]))
    for offset in ([extra + 1, 0], [0, extra + 1], [-1, 0]):
        with pytest.raises(tf.errors.InvalidArgumentError, match="ends outside the background image"):
            show(tf.constant([offset]))


def no_file(path):
    pass


def text(path):
    path.write_text("this is no picture")


def one_channel(path):
    np.save(path, np.zeros((4, 5), np.uint8))


def pickled(path):
    np.save(path, np.array([{}], object), allow_pickle=True)


def too_bright(path):
    np.save(path, np.full((4, 5, 3), 128.0))


@pytest.mark.parametrize(
    ("write", "name", "complaint"),
    [
        (no_file, "still.npy", "does not exist.*record_background"),
        (no_file, "still.png", "does not exist.*record_background"),
        (text, "still.png", "cannot be read"),
        (text, "still.npy", "cannot be read"),
        (pickled, "still.npy", "cannot be read"),
        (one_channel, "still.npy", r"shape \(4, 5\); expected \[rows, columns, 3\]"),
        (too_bright, "still.npy", r"outside \[0, 1\].*divide by 255"),
    ],
)
def test_files_that_hold_no_image_are_told_in_one_line(tmp_path, write, name, complaint):
    write(tmp_path / name)
    with pytest.raises(UserError, match=complaint) as caught:
        backgrounds.RecordedImage(str(tmp_path / name))
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_a_path_that_is_not_bound_is_told():
    with pytest.raises(UserError, match=r"RecordedImage\.path is not bound.*record_background"):
        backgrounds.RecordedImage()


# ------------------------------------------------------------------------------------------------------ learned ones


def test_learned_colour_is_that_of_the_authors_code():
    layer = backgrounds.LearnedColour()
    assert [tuple(v.shape) for v in layer.trainable_variables] == [(3,)]
    np.testing.assert_allclose(np.ravel(layer.of_clips(coloured_video())), 0.5)
    layer.logits.assign([0.1, 0.0, -0.2])
    expected = 1 / (1 + np.exp([-1.0, 0.0, 2.0]))
    np.testing.assert_allclose(np.ravel(layer.of_clips(coloured_video())), expected, rtol=1e-6)


def test_learned_image_has_the_size_of_the_frames_or_of_uncropped_ones():
    video = coloured_video()
    for frame_shape, expected in ((None, (HEIGHT, WIDTH, 3)), ((9, 10), (9, 10, 3)), ((9, 10, 3), (9, 10, 3))):
        layer = backgrounds.LearnedImage(frame_shape)
        np.testing.assert_allclose(layer.of_clips(video), np.full((*layer.of_clips(video).shape,), 0.5))
        assert [tuple(v.shape) for v in layer.trainable_variables] == [expected]


def test_crops_teach_their_part_of_the_learned_image():
    layer, offset = backgrounds.LearnedImage((HEIGHT + 2, WIDTH + 3), scale=2.0), [[2, 1], [1, 3]]
    video = coloured_video()
    call(layer, video)  # built
    with tf.GradientTape() as tape:
        images, _ = call(layer, video, crop_offset=offset)
        total = tf.reduce_sum(images)
    expected = np.zeros((HEIGHT + 2, WIDTH + 3, 3))
    for y, x in offset:
        expected[y : y + HEIGHT, x : x + WIDTH] += 2.0 * 0.25  # derivative of the logistic function at 0, times scale
    np.testing.assert_allclose(tape.gradient(total, layer.logits.value), expected, rtol=1e-6)


def test_learned_images_find_the_mean_of_the_frames():
    """The Bernoulli cross entropy is stationary where the image is the mean."""
    layer, video = backgrounds.LearnedImage(), coloured_video()
    layer.of_clips(video)
    mean = np.asarray(video).mean((0, 1))
    layer.logits.assign(np.log(mean / (1 - mean)) / layer.scale)
    with tf.GradientTape() as tape:
        images = layer.of_clips(video)
        nats = -tf.reduce_sum(video * tf.math.log(images) + (1 - video) * tf.math.log(1 - images))
    np.testing.assert_allclose(tape.gradient(nats, layer.logits.value), 0, atol=2e-4)


def test_frames_larger_than_the_learned_image_are_refused():
    layer = backgrounds.LearnedImage()
    layer.of_clips(coloured_video())
    with pytest.raises(UserError, match=r"6x8 pixels, the frames 7x8.*LearnedImage\.frame_shape"):
        layer.of_clips(tf.zeros([1, 1, HEIGHT + 1, WIDTH, 3]))


def test_nonsense_is_refused():
    for make in (lambda: backgrounds.LearnedColour(0.0), lambda: backgrounds.LearnedImage(None, -1.0)):
        with pytest.raises(UserError, match="scale"):
            make()
    for frame_shape in ((4,), (0, 4)):
        with pytest.raises(UserError, match="frame_shape"):
            backgrounds.LearnedImage(frame_shape)


# ------------------------------------------------------------------------------------------------------ hook and gin


def test_black_is_the_base_of_all():
    layer = backgrounds.Background()
    assert call(layer, coloured_video()) == (None, {})
    assert not np.any(layer.of_clips(coloured_video()))


def test_a_background_of_ones_own_needs_one_method():
    class Stripes(backgrounds.Background):
        def images(self, video, state, frame, crop_offset):
            stripe = tf.cast((frame[:, None] + tf.range(video.shape[1])) % 2, tf.float32)
            return tf.tile(stripe[:, :, None, None, None], [1, 1, 1, 1, 3]), state

    np.testing.assert_array_equal(Stripes().of_clips(coloured_video())[0, :, 0, 0, 0], [0, 1, 0, 1])


@pytest.mark.parametrize(
    "name", ["fixed_colour", "mode_colour", "median_colour", "learned_colour", "learned_image", "recorded_image"]
)
def test_gin_file_gives_every_model_a_layer_of_its_own(name, tmp_path):
    import gin

    from silot_tf.models.silot import SILOT

    np.save(tmp_path / "still.npy", image_of(36, 36))
    try:
        configuration.load(
            ["gin_configs/models/silot.gin", f"gin_configs/backgrounds/{name}.gin"],
            [f"layers.RecordedImage.path = '{tmp_path / 'still.npy'}'"],
        )
        make = gin.get_configurable(SILOT)
        first, second = make(), make()
    finally:
        gin.clear_config()
    expected = getattr(backgrounds, "".join(part.capitalize() for part in name.split("_")))
    assert type(first.background) is type(second.background) is expected
    assert first.background is not second.background
    assert isinstance(first.background, keras.layers.Layer)
