"""One update of a model: loss terms, weighted sum, gradients, clipping, noise, optimizer; compiled once per length."""

import time
from collections.abc import Callable, Mapping

import gin
import keras
import numpy as np
import tensorflow as tf
from absl import logging

from silot_tf import contracts
from silot_tf.errors import UserError
from silot_tf.ops import seeds
from silot_tf.training import determinism, optimizers

_MODEL_STREAM, _NOISE_STREAM = 0, 1  # what the seed of an update is split into
_TERM, _NORM = "term/", "gradient_norm"
OBJECT_PRESENCE = 0.5  # an object counts as switched on above it, diagnostics only


@gin.configurable(module="training")
class Trainer:
    """Updates of one model.

    The objective is the weighted sum of the model's loss terms, each summed over time and averaged over the batch
    (padding frames left out). Every random number of an update comes from (run seed, stage, step), so that a resumed
    run repeats what the interrupted one would have done.

    Args:
      model: a built `VideoModel`.
      make_optimizer: called without arguments; returns a Keras optimizer.
      loss_weights: name of a loss term -> weight; terms without one weigh 1.
      clip_norm: largest global norm of the gradients, None for no clipping.
      mean_over_time: divide the objective by the number of frames, so that gradients do not grow with the clip.
      jit_compile: compile the update with XLA; pays on a GPU, not on a CPU.

    Source: SILOT specification 3.1 and 3.7.
    """

    def __init__(
        self,
        model,
        make_optimizer: Callable = optimizers.Adam,
        loss_weights: Mapping[str, float] | None = None,
        clip_norm: float | None = 10.0,
        mean_over_time: bool = False,
        jit_compile: bool = False,
    ):
        self.model = model
        self.optimizer = make_optimizer()
        self.optimizer.build(model.trainable_variables)
        self._loss_weights = dict(loss_weights or {})
        self._clip_norm = clip_norm
        self._mean_over_time = mean_over_time
        self._modules = variables_by_module(model)
        self._annealed_names = sorted(model.annealed_quantities)
        self._compiled = {}
        self._names: list[str] = []
        self._jit_compile = jit_compile

    def update(
        self,
        batch: Mapping,
        *,
        frames: int,
        seed: int,
        stage: int,
        step: int,
        learning_rate: float,
        gradient_noise: float,
        annealed: Mapping[str, float],
    ) -> dict[str, float]:
        """Change the model's weights once; return what the log wants to know about this update.

        Args:
          batch: see `silot_tf.contracts`.
          frames: how many frames of each clip, from the first, are used.
          seed: of the run.
          stage: number of the stage.
          step: updates done in the stage before this one.
          learning_rate: of this update.
          gradient_noise: standard deviation of the noise added to every entry of the gradients.
          annealed: values of exactly the model's `annealed_quantities`.

        Returns:
          `loss` (the objective per frame, nats), `term/<name>` (nats per frame, unweighted), `objects_on` and
          `objects_pres` (objects per frame with presence above 1/2, and the sum of presences), `gradient_norm` and
          `gradient_norm/<module>` before clipping; a model may add `outputs["diagnostics"]`, name -> `[B,T]`.
        """
        if sorted(annealed) != self._annealed_names:
            raise ValueError(f"annealed names {sorted(annealed)}, the model has {self._annealed_names}")
        controls = [learning_rate, gradient_noise, *(annealed[name] for name in self._annealed_names)]
        function = self._compiled.get(frames)
        is_new = function is None
        if is_new:
            started = time.monotonic()
            # Without AutoGraph: models have no Python control flow on tensors, and errors keep their class and text.
            function = tf.function(
                lambda *arguments: self._update(*arguments, frames),
                autograph=False,
                jit_compile=self._jit_compile,
            )
            self._compiled[frames] = function
        values = function(batch, tf.constant(controls, tf.float32), tf.constant((seed, stage, step), tf.int32)).numpy()
        if is_new:
            logging.debug("compiled the update for %d frames in %.1f s", frames, time.monotonic() - started)
        return dict(zip(self._names, values.tolist(), strict=True))

    def traced(self, batch: Mapping, frames: int):
        """The traced update for clips cut to `frames` frames, which must have been updated on before."""
        controls = tf.TensorSpec([2 + len(self._annealed_names)], tf.float32)
        return self._compiled[frames].get_concrete_function(batch, controls, tf.TensorSpec([3], tf.int32))

    def _update(self, batch, controls, position, frames):
        """Scalars named by `self._names`, after one change of the weights; traced once per number of frames."""
        batch = first_frames(batch, frames)
        annealed = {name: controls[2 + i] for i, name in enumerate(self._annealed_names)}
        seed = seeds.fold(tf.stack([position[0], 0]), position[1], position[2])
        variables = self.model.trainable_variables
        terms, outputs = self.model.loss_terms(batch, annealed, seed=seeds.fold(seed, _MODEL_STREAM))
        objective, per_frame = self._objective(terms, batch["frame_mask"])
        scalars = {"loss": objective / frames, **per_frame, **_diagnostics(outputs, batch["frame_mask"])}
        if self._mean_over_time:
            objective = objective / frames
        # What a clip of this length does not reach (for example the first state of a chain) still has a gradient: 0.
        gradients = determinism.gradients(objective, [variable.value for variable in variables])
        squares = tf.stack([tf.reduce_sum(tf.square(gradient)) for gradient in gradients])
        norm = tf.sqrt(tf.reduce_sum(squares))
        scalars[_NORM] = norm
        for module, indices in self._modules.items():
            scalars[f"{_NORM}/{module}"] = tf.sqrt(tf.reduce_sum(tf.gather(squares, indices)))
        if self._clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self._clip_norm, use_norm=norm)
        gradients = optimizers.add_noise(gradients, controls[1], seeds.fold(seed, _NOISE_STREAM))
        self.optimizer.learning_rate.assign(controls[0])
        self.optimizer.apply(gradients, variables)
        self._names = list(scalars)
        return tf.stack([tf.cast(value, tf.float32) for value in scalars.values()])

    def _objective(self, terms, frame_mask):
        """The scalar to minimise, and unweighted terms per frame."""
        try:
            contracts.check_loss_terms(terms, self._loss_weights)
        except ValueError as error:
            raise UserError(f"Trainer.loss_weights: {error}") from error
        mask = tf.cast(frame_mask, tf.float32)
        count = tf.maximum(tf.reduce_sum(mask), 1.0)
        objective = 0.0
        per_frame = {}
        for name, value in terms.items():
            value = tf.where(frame_mask, value, 0.0)
            objective += self._loss_weights.get(name, 1.0) * tf.reduce_mean(tf.reduce_sum(value, axis=1))
            per_frame[_TERM + name] = tf.reduce_sum(value) / count
        return objective, per_frame


def non_finite(scalars: Mapping[str, float]) -> list[str]:
    """What is not a finite number in the result of an update, in words: guilty terms first, then gradients."""
    wrong = [name for name, value in scalars.items() if not np.isfinite(value)]
    terms = [f"loss term '{name.removeprefix(_TERM)}'" for name in wrong if name.startswith(_TERM)]
    modules = [f"gradient of '{name.split('/', 1)[1]}'" for name in wrong if name.startswith(_NORM + "/")]
    totals = [{"loss": "loss", _NORM: "gradient norm"}[name] for name in wrong if name in ("loss", _NORM)]
    return terms or modules or totals


def first_frames(batch: Mapping, frames: int) -> dict:
    """The batch with only the first `frames` frames of each clip."""
    available = batch["video"].shape[1]
    if available < frames:
        raise UserError(
            f"training.Stage.frames asks for {frames} frames, the clips have {available}; ask for fewer frames"
        )
    return {key: value if key == "crop_offset" else value[:, :frames] for key, value in batch.items()}


def variables_by_module(model) -> dict[str, list[int]]:
    """Positions in `model.trainable_variables` by the attribute that holds the layer; `model` for the model's own.

    A layer that is reachable twice counts where it is found first, so the lists are disjoint and complete.
    """
    remaining = {id(variable): index for index, variable in enumerate(model.trainable_variables)}
    modules = {}
    for name, layer in vars(model).items():
        if isinstance(layer, keras.Layer) and not name.startswith("_"):
            owned = [remaining.pop(id(v)) for v in layer.trainable_variables if id(v) in remaining]
            if owned:
                modules[name] = owned
    if remaining:
        modules["model"] = list(remaining.values())
    return modules


def _diagnostics(outputs, frame_mask) -> dict:
    """Scalars per frame about the outputs, padding frames left out."""
    pres = outputs["objects"]["pres"][..., 0]
    per_frame = {
        "objects_on": tf.reduce_sum(tf.cast(pres > OBJECT_PRESENCE, tf.float32), axis=-1),
        "objects_pres": tf.reduce_sum(pres, axis=-1),
        **outputs.get("diagnostics", {}),
    }
    mask = tf.cast(frame_mask, tf.float32)
    count = tf.maximum(tf.reduce_sum(mask), 1.0)
    return {name: tf.reduce_sum(tf.where(frame_mask, v, 0.0)) / count for name, v in per_frame.items()}
