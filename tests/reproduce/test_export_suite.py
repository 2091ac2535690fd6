import pytest
import tensorflow as tf

from reproduce import export_suite
from tests.export import fakes


@pytest.fixture
def suite():
    return export_suite.ExportedSteps(
        {"small": fakes.Wanderers}, {"small": fakes.FRAME_SHAPE}, {"small": 0.008}, "small", 60, warm_up_frames=20
    )


def test_every_signature_is_measured_and_the_stream_counts_as_growth(suite):
    assert [case["name"] for case in suite.cases(growth=False)] == [
        "export_small_step_uint8", "export_small_step", "export_small_step_with_reconstruction"
    ]  # fmt: skip
    assert suite.cases()[-1] == {
        "name": "export_stream", "kind": "stream", "model": "small", "batch": 1, "frames": 60
    }  # fmt: skip


def test_the_table_shows_milliseconds_beside_the_aim(suite):
    results = {case["name"]: case | {"seconds": 0.0061, "fastest_seconds": 0.005} for case in suite.cases()}
    text = suite.table({name: row for name, row in results.items() if name != "export_stream"})
    assert text.splitlines()[2].split() == ["20x30", "step_uint8", "6.10", "5.00", "8"]
    results["export_stream"] |= {"memory_mb_change": 1.25, "memory_mb_most": 2.5, "objects": 1234, "repeated": 0}
    assert "memory +1.2 MB after 20 frames (at most +2.5), 1,234 identities, 0 of them" in suite.table(results)


def test_a_small_case_of_each_kind_runs(suite):
    steps, *_, stream = suite.cases()
    result = suite.run(steps, 2)
    assert 0 < result["fastest_seconds"] <= result["seconds"]
    result = suite.run(stream, 2)
    assert result["objects"] > 3 and result["repeated"] == 0 and abs(result["memory_mb_change"]) < 200


def test_an_identity_that_comes_back_is_counted(suite):
    ids = iter([[0, -1], [0, 1], [1, -1], [1, 0], [2, 1]])

    def step(state):
        return {"ids": tf.constant([next(ids)])}, {}

    found = suite._follow(step, [], 5)
    assert found["objects"] == 4 and found["repeated"] == 1
