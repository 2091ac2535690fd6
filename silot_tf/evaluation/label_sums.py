"""Whether a frame's labels can be added up from what a model knows of it: a classifier on frozen features.

Source: SQAIR, section 4.1; SQAIR specification 6.2.
"""

from collections.abc import Iterable, Mapping

import gin
import keras
import numpy as np
import tensorflow as tf
from absl import logging

from silot_tf.errors import UserError
from silot_tf.evaluation import features, measures


@gin.configurable(module="evaluation")
class LabelSums(measures.Measure):
    """Accuracy of a network that tells from a model's features what the labels of a frame's objects add up to.

    The model is frozen: features of training and validation clips are written to disk once, the classifier is trained
    on the one and stopped by its accuracy on the other, and tested on features of test clips. Objects outside of the
    frame count, and a frame without objects has the sum 0.

    Args:
      hidden: widths of the classifier's hidden layers, ELU after each.
      largest_sum: of the labels; the classifier has one class more than that.
      training_clips, validation_clips: whose features are used; None for as many validation clips as there are.
      clips_per_batch: worked on at once by the model.
      frames_per_update: rows in an update of the classifier, which is trained by Adam with Keras' settings.
      patience: passes through the training features without a better validation accuracy, after which training ends.
        The best weights are used.
      most_passes: training ends after so many in any case.

    Raises:
      UserError: for numbers below 1; for clips without labels, or with a larger sum.
    """

    def __init__(
        self,
        hidden=(256, 256),
        largest_sum: int = 18,
        training_clips: int = 60_000,
        validation_clips: int | None = None,
        clips_per_batch: int = 32,
        frames_per_update: int = 256,
        patience: int = 10,
        most_passes: int = 500,
    ):
        for name, value in (
            ("largest_sum", largest_sum),
            ("training_clips", training_clips),
            ("validation_clips", validation_clips),
            ("clips_per_batch", clips_per_batch),
            ("frames_per_update", frames_per_update),
            ("patience", patience),
            ("most_passes", most_passes),
        ):
            if value is not None and value < 1:
                raise UserError(f"evaluation.LabelSums.{name} is {value}; expected a whole number of at least 1")
        self.hidden, self.largest_sum = tuple(hidden), largest_sum
        self.training_clips, self.validation_clips, self.clips_per_batch = (
            training_clips, validation_clips, clips_per_batch,
        )  # fmt: skip
        self.frames_per_update, self.patience, self.most_passes = frames_per_update, patience, most_passes
        self._classifier = self._read = None

    @property
    def protocol(self) -> dict[str, str]:
        """See `Measure`."""
        layers = " and ".join(map(str, self.hidden))
        return {
            "addition_accuracy": (
                f"Share of frames whose sum of labels (0 to {self.largest_sum}; 0 without objects, objects outside of "
                f"the frame included) is told by a classifier from the frozen model's features of that frame alone: "
                f"hidden layers of {layers} units, Adam, trained on {self.training_clips} training clips until the "
                f"accuracy on validation clips has not risen for {self.patience} passes."
            )
        }

    def fit(self, model, dataset, *, seed: int, folder, identity: Mapping) -> None:
        """See `Measure`; writes features to `folder` and trains the classifier."""
        read, size = features.reader(model), self.clips_per_batch
        stored = features.FeatureFiles(folder, identity)
        training = stored.get(
            "training",
            lambda: features.read_batches(
                read, dataset.training_batches(size, seed=seed), self.sums, seed=seed, clips=self.training_clips
            ),
        )
        validation = stored.get(
            "validation",
            lambda: features.read_batches(
                read, dataset.validation_batches(size), self.sums, seed=seed + 1, clips=self.validation_clips
            ),
        )
        self._read, self._classifier = read, self.train(training, validation, seed=seed)

    def evaluate(self, model, batches: Iterable[Mapping], *, seed: int) -> dict[str, float]:
        """See `Measure`; `fit` comes first."""
        if self._classifier is None:
            raise UserError("evaluation.LabelSums needs a trained classifier; it cannot be measured during training")
        right = total = 0
        for found, wanted in features.read_batches(self._read, batches, self.sums, seed=seed):
            counted = wanted != features.NO_TARGET
            right += int(np.sum(_told(self._classifier, found[counted]) == wanted[counted]))
            total += int(counted.sum())
        return {"addition_accuracy": right / max(total, 1)}

    def sums(self, batch: Mapping) -> np.ndarray:
        """Sums of the labels of all objects that exist, `[B,T]` int."""
        if "label" not in batch:
            raise UserError("evaluation.LabelSums needs clips with labels, these have none; leave it out")
        found = np.maximum(np.asarray(batch["label"]), 0).sum(axis=2)
        if found.max(initial=0) > self.largest_sum:
            raise UserError(
                f"evaluation.LabelSums.largest_sum is {self.largest_sum}, labels of a frame add up to {found.max()}; "
                f"expected at least that"
            )
        return found

    def train(self, training, validation, *, seed: int) -> keras.Model:
        """The classifier after training.

        Args:
          training, validation: features `[n,F]` and targets `[n]`.
          seed: of initial weights and order of the rows.
        """
        inputs, targets = training
        if not len(inputs) or not len(validation[0]):
            raise UserError("evaluation.LabelSums got no frames to learn from; expected training and validation clips")
        classifier = _network(inputs.shape[1], self.hidden, self.largest_sum + 1, seed)
        optimizer = keras.optimizers.Adam()
        optimizer.build(classifier.trainable_variables)
        update = _update_function(classifier, optimizer)
        random, size = np.random.default_rng(seed), min(self.frames_per_update, len(inputs))
        best, weights, since, passes = -1.0, None, 0, 0
        while passes < self.most_passes and since < self.patience:
            order = random.permutation(len(inputs))
            for start in range(0, len(order) - size + 1, size):
                rows = np.sort(order[start : start + size])  # in the order of the file
                update(tf.constant(inputs[rows]), tf.constant(targets[rows]))
            accuracy = float(np.mean(_told(classifier, validation[0]) == validation[1]))
            since, passes = since + 1, passes + 1
            if accuracy > best:
                best, weights, since = accuracy, classifier.get_weights(), 0
        classifier.set_weights(weights)
        logging.info("classifier of label sums: validation accuracy %.4f after %d passes", best, passes)
        return classifier


def _network(size: int, hidden, classes: int, seed: int) -> keras.Model:
    """Classifier with logits as outputs."""

    def start(layer: int):
        return keras.initializers.GlorotUniform(seed=seed + layer)

    layers = [keras.layers.Dense(n, "elu", kernel_initializer=start(i)) for i, n in enumerate(hidden)]
    network = keras.Sequential([*layers, keras.layers.Dense(classes, kernel_initializer=start(len(hidden)))])
    network.build((None, size))
    return network


def _update_function(classifier, optimizer):
    @tf.function(autograph=False, reduce_retracing=True)
    def update(inputs, targets):
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, classifier(inputs, training=True))
            loss = tf.reduce_mean(losses)
        variables = classifier.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return update


def _told(classifier, rows: np.ndarray, size: int = 8192) -> np.ndarray:
    """Most probable class of each row."""
    parts = [np.argmax(classifier(tf.constant(rows[i : i + size])), axis=-1) for i in range(0, len(rows), size)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
