import keras
import pytest


@pytest.fixture(autouse=True)
def _same_initial_weights_in_every_run():
    keras.utils.set_random_seed(1)
