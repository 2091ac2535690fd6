"""One model under test: built from its gin file at test size."""

import dataclasses
import functools
import importlib.resources
import pathlib
from collections.abc import Callable, Sequence

import gin
import keras
import numpy as np
import tensorflow as tf

from silot_tf import configuration

OVERLAYS = pathlib.Path(__file__).parent / "overlays"
SEED, OTHER_SEED = tf.constant([1, 2]), tf.constant([3, 4])
BATCH, FRAMES = 2, 3


@gin.configurable(module="conformance")
@dataclasses.dataclass(frozen=True)
class Case:
    """What the battery needs to know about a model; every field may be bound in the model's overlay.

    Args:
      model: called without arguments; the macro `MODEL` of the model's gin file.
      frame_shape: of the test clips, (H, W, C).
      without_gradient: paths of variables that never get a gradient other than 0, each with its reason in the overlay.
      quiet: bindings that take all noise from evaluation.
      random: whether results depend on the seed.
      learning_rate: of Adam, for a few updates that must lower the loss.
      backdrop: colour that the test clips' squares move over.
    """

    model: Callable
    frame_shape: Sequence[int] = (36, 36, 3)
    without_gradient: Sequence[str] = ()
    quiet: Sequence[str] = ()
    random: bool = True
    learning_rate: float = 1e-3
    backdrop: Sequence[float] = (0.0, 0.0, 0.0)


def model_files() -> dict[str, pathlib.Path]:
    """gin files of all models by name."""
    folder = pathlib.Path(str(importlib.resources.files("gin_configs"))) / "models"
    return {str(path.relative_to(folder).with_suffix("")): path for path in sorted(folder.rglob("*.gin"))}


def subjects() -> list[str]:
    """Names of all models, and of variants: an overlay `<model>+<variant>.gin` comes on top of the model's own."""
    return sorted([*model_files(), *(path.stem for path in OVERLAYS.glob("*+*.gin"))])


class ModelUnderTest:
    """A case with its models, built when first asked for."""

    def __init__(self, name: str):
        self.name = name
        model, _, variant = name.partition("+")
        overlays = [OVERLAYS / f"{part}.gin" for part in ([model, name] if variant else [model])]
        self._files = [str(path) for path in (model_files()[model], *overlays) if path.is_file()]
        self.case = self._load()
        gin.clear_config()

    def build(self, seed: int = 0, quiet: bool = False):
        """A new model whose weights are all moved a little from their initial values.

        Networks of zero biases can be dead (the gradient of ReLU at 0 is 0) in ways that mean nothing.
        """
        keras.utils.set_random_seed(seed)
        model = self._load(self.case.quiet if quiet else ()).model()
        gin.clear_config()
        model.build_variables(self.case.frame_shape)
        rng = np.random.default_rng(seed)
        for variable in model.trainable_variables:
            variable.assign_add(rng.normal(0, 0.02, variable.shape))
        return model

    @functools.cached_property
    def model(self):
        """A model for reading only."""
        return self.build()

    @functools.cached_property
    def quiet_model(self):
        """The same without noise at evaluation, for reading only."""
        return self.build(quiet=True) if self.case.quiet else self.model

    def video(self, batch: int = BATCH, frames: int = FRAMES, seed: int = 0) -> tf.Tensor:
        """Clips with a bright square that moves over the case's backdrop, black unless said otherwise."""
        height, width, channels = self.case.frame_shape
        rng = np.random.default_rng(seed)
        video = np.full((batch, frames, height, width, channels), self.case.backdrop, np.float32)
        for b in range(batch):
            texture, top, left = rng.uniform(0.5, 1, (8, 8, channels)), *rng.integers(0, min(height, width) - 10, 2)
            for t in range(frames):
                y, x = min(top + t, height - 8), min(left + 2 * t, width - 8)
                video[b, t, y : y + 8, x : x + 8] = texture
        return tf.constant(video)

    def loss(self, model, video, seed=SEED) -> tf.Tensor:
        """Sum of all loss terms."""
        terms, _ = model.loss_terms(batch_of(video), annealed(model), seed=seed)
        return tf.add_n([tf.reduce_sum(term) for term in terms.values()])

    def _load(self, bindings=()) -> Case:
        configuration.load(self._files, ["conformance.Case.model = %MODEL", *bindings])
        return configuration.build(Case)


def batch_of(video, objects: int | None = None) -> dict:
    """A contract batch; with `objects` also annotations of so many objects per frame."""
    batch, frames = video.shape[:2]
    result = {"video": video, "frame_mask": tf.ones([batch, frames], tf.bool)}
    if objects is not None:
        result["boxes"] = tf.fill([batch, frames, objects, 4], 0.25)
        result["present"] = tf.ones([batch, frames, objects], tf.bool)
        result["track_id"] = tf.tile(tf.range(objects)[None, None], [batch, frames, 1])
    return result


def annealed(model) -> dict:
    """The values at evaluation of everything that training may anneal."""
    return {name: tf.constant(value, tf.float32) for name, value in model.annealed_quantities.items()}


def frames_of(tree, frames) -> dict:
    """Outputs of some frames."""
    return keras.tree.map_structure(lambda value: value[:, frames], tree)


def assert_equal(found, expected, **tolerances) -> None:
    """Same structure; same values, floats within tolerances of `assert_allclose` where given."""
    tf.nest.assert_same_structure(found, expected)
    paths = ["/".join(map(str, path)) for path, _ in keras.tree.flatten_with_path(expected)]
    for path, a, b in zip(paths, tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        if tolerances and a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, err_msg=path, **tolerances)
        else:
            np.testing.assert_array_equal(a, b, err_msg=path)


def differ(found, expected) -> bool:
    """Whether any float of the two differs visibly."""
    pairs = zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True)
    return any(np.max(np.abs(np.asarray(a) - np.asarray(b)), initial=0) > 1e-4 for a, b in pairs if a.dtype.is_floating)
