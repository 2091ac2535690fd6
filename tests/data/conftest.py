import gzip
import struct

import numpy as np
import pytest

from silot_tf.data.digits import EmbeddedDigits
from silot_tf.data.scattered_mnist import ScatteredMnist


@pytest.fixture(scope="session")
def embedded():
    return EmbeddedDigits()


@pytest.fixture
def make_dataset(tmp_path, embedded):
    """A small dataset; keyword arguments replace its numbers."""

    def make(**changes):
        arguments = {
            "frame_shape": (30, 36),
            "num_frames": 3,
            "num_digits": (1, 3),
            "train_clips": 23,
            "validation_clips": 5,
            "test_clips": 4,
            "test_digit_counts": (1, 4),
            "source": embedded,
            "cache_dir": str(tmp_path / "cache"),
            "shuffle_buffer": 8,
        }
        return ScatteredMnist(**{**arguments, **changes})

    return make


@pytest.fixture
def write_mnist():
    """Writes idx files of random pictures, returns the pictures and labels."""

    def write(folder, count=40, zipped=False):
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 2
        opener, suffix = (gzip.open, ".gz") if zipped else (open, "")
        with opener(folder / f"train-images-idx3-ubyte{suffix}", "wb") as file:
            file.write(struct.pack(">4I", 2051, count, 28, 28) + images.tobytes())
        with opener(folder / f"train-labels-idx1-ubyte{suffix}", "wb") as file:
            file.write(struct.pack(">2I", 2049, count) + labels.tobytes())
        return images, labels

    return write
