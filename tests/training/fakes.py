"""A data set in memory with the face that training needs, and helpers to build and run the baseline."""

import time

import gin
import keras
import numpy as np
import tensorflow as tf

from silot_tf.models.baselines.background_only import BackgroundOnly
from silot_tf.training.loop import TrainingLoop
from silot_tf.training.trainer import Trainer

FRAME = (6, 5, 3)
FRAMES = 4
OBJECTS = 2


def batch_number(index, batch_size, seed, poison=None):
    """Contract batch number `index`; all NaN when it is the poisoned one."""
    random = np.random.default_rng((seed, index))
    video = random.random((batch_size, FRAMES, *FRAME), np.float32)
    if index == poison:
        video[0, 0, 0, 0, 0] = np.nan
    present = np.ones((batch_size, FRAMES, OBJECTS), bool)
    return {
        "video": video,
        "frame_mask": np.ones((batch_size, FRAMES), bool),
        "boxes": np.full((batch_size, FRAMES, OBJECTS, 4), 0.3, np.float32),
        "present": present,
        "track_id": np.tile(np.arange(OBJECTS, dtype=np.int32), (batch_size, FRAMES, 1)),
        "crop_offset": np.zeros((batch_size, 2), np.int32),
    }


@gin.configurable(module="tests")
class MemoryDataset:
    """Endless random clips; batch n depends on the seed and n alone."""

    frame_shape = FRAME
    num_frames = FRAMES
    condition_label = "objects per frame"
    test_conditions = {"1 object": 1, "2 objects": 2}  # noqa: RUF012

    def __init__(self, poison=None, delay=0.0):
        self.poison, self.delay = poison, delay
        self.prepared = 0

    def prepare(self):
        self.prepared += 1

    def training_batches(self, batch_size, *, seed, start_batch=0):
        def generate():
            index = start_batch
            while True:
                time.sleep(self.delay)
                yield batch_number(index, batch_size, seed, self.poison)
                index += 1

        specification = tf.nest.map_structure(
            lambda array: tf.TensorSpec(array.shape, array.dtype), batch_number(0, batch_size, 0)
        )
        return tf.data.Dataset.from_generator(generate, output_signature=specification)

    def validation_batches(self, batch_size):
        return tf.data.Dataset.from_tensors(batch_number(0, batch_size, 12345))

    def test_batches(self, condition_name, batch_size):
        return tf.data.Dataset.from_tensors(batch_number(self.test_conditions[condition_name], batch_size, 777))

    validation_condition_batches = test_batches


def build_model(seed=0):
    keras.utils.set_random_seed(seed)
    model = BackgroundOnly()
    model.build_variables(FRAME)
    return model


def run_loop(run_dir, stages, *, dataset=None, seed=0, trainer=None, model=None, **settings):
    """Train the baseline in `run_dir`; return (model, progress)."""
    model = model or build_model(seed)
    hooks = {key: settings.pop(key) for key in ("evaluate", "examples", "on_first_update") if key in settings}
    settings = {"log_every": 1, "evaluate_every": 4, "checkpoint_every": 3} | settings
    loop = TrainingLoop(stages=stages, make_trainer=trainer or Trainer, **settings)
    return model, loop.run(model, dataset or MemoryDataset(), run_dir, seed=seed, **hooks)
