"""An export of a tiny model, made once per process."""

import numpy as np
import pytest
import tensorflow as tf

from tests.export import fakes


@pytest.fixture(scope="session")
def model():
    """The live model; not to be changed."""
    return fakes.build()


@pytest.fixture(scope="session")
def folder(model, tmp_path_factory):
    """Its export; not to be changed."""
    return fakes.export(tmp_path_factory.mktemp("exports") / "noisy", model)


@pytest.fixture(scope="session")
def quiet_folder(model, tmp_path_factory):
    """Its export without noise; not to be changed."""
    return fakes.export(tmp_path_factory.mktemp("exports") / "quiet", model, deterministic=True)


@pytest.fixture(scope="session")
def loaded(folder):
    """The SavedModel of the export, loaded without any help of ours."""
    return tf.saved_model.load(str(folder))


@pytest.fixture(scope="session")
def video():
    """Frames of bytes, `[3,T,H,W,C]`."""
    return np.random.default_rng(0).integers(0, 256, (3, 8, *fakes.FRAME_SHAPE), np.uint8)
