"""The still image behind the training frames of an experiment, for `layers.RecordedImage`.

  python -m reproduce.record_background --gin_file=FILE --output=background.png

then train with `--gin_param='layers.RecordedImage.path="background.png"'` and
`--gin_file=gin_configs/backgrounds/recorded_image.gin` after the experiment's file. For experiments on crops take
uncropped clips, as with `--gin_param='data.AtariClips.crop_shape=None'`, or very many.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags

from reproduce import progress, startup
from silot_tf import configuration
from silot_tf.errors import UserError

_GIN_FILE = flags.DEFINE_multi_string("gin_file", [], "Configuration of the experiment; may be repeated.")
_GIN_PARAM = flags.DEFINE_multi_string("gin_param", [], "Further bindings.")
_OUTPUT = flags.DEFINE_string("output", "background.png", "Image to write: a name that ends in .png or .npy.")
_CLIPS = flags.DEFINE_integer("clips", 256, "Training clips to look at.", lower_bound=1)
_STATISTIC = flags.DEFINE_enum("statistic", "median", ["median", "mode"], "Of each pixel and channel over time.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the order of clips.", lower_bound=0)


def main(_):
    """Read, count, write."""
    try:
        if not _GIN_FILE.value:
            raise UserError("--gin_file is missing; expected the configuration of an experiment")
        if not _OUTPUT.value.endswith((".png", ".npy")):
            raise UserError(f"--output={_OUTPUT.value}: expected a name that ends in .png or .npy")
        for name in _GIN_FILE.value:
            configuration.find(name)  # a wrong name is told at once, not after TensorFlow has started
        _record()
    except UserError as error:
        print(f"error: {configuration.one_line_if_from_gin(str(error))}", file=sys.stderr)
        sys.exit(2)


def _record() -> None:
    startup.start_tensorflow_quietly()
    import silot_tf.training  # noqa: F401  registers what configurations name before gin is locked
    from reproduce.experiment import Experiment
    from silot_tf.data import still_images

    configuration.load(_GIN_FILE.value, _GIN_PARAM.value)
    dataset = configuration.build(Experiment).dataset
    dataset.prepare()
    clips = dataset.training_batches(1, seed=_SEED.value).take(_CLIPS.value)
    bar = progress.bar(clips, desc="counting pixels", total=_CLIPS.value, unit=" clips")
    image = still_images.record(bar, _CLIPS.value, _STATISTIC.value)
    print(
        f"background: {still_images.write(_OUTPUT.value, image).resolve()} ({image.shape[0]}x{image.shape[1]} pixels)"
    )


if __name__ == "__main__":
    app.run(main)
