import pytest

from tests.models.silot import scenes


@pytest.fixture(scope="module")
def model():
    """A network with noise at evaluation, for reading only."""
    return scenes.shared()


@pytest.fixture(scope="module")
def quiet_model():
    """The same weights without noise at evaluation, for reading only."""
    return scenes.shared(evaluation_noise=False)


@pytest.fixture(scope="module")
def interacting_model():
    """The variant whose objects attend to each other, for reading only.

    Smaller random weights: kernel weights of up to 7 per neighbour would saturate every gate.
    """
    return scenes.shared(interacting=True, attention_std=0.15, noise=0.01)
