"""Every model trains under a strategy with two replicas as on one device."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.conformance import cases


@pytest.fixture(scope="module")
def results():
    """See `two_replicas`; one process for all models."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.conformance.two_replicas"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", sorted(cases.model_files()))
def test_two_replicas_update_as_one_does(results, name):
    one, two = results[name]["one"], results[name]["two"]
    assert len(one["losses"]) == 1 and len(two["losses"]) == 2
    np.testing.assert_allclose(two["losses"], one["losses"] * 2, rtol=1e-5)
    np.testing.assert_allclose(two["weights"], one["weights"], rtol=1e-4, atol=1e-4)
