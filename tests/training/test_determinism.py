import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from silot_tf.training import determinism

PROGRAM = """
import hashlib, sys
import numpy as np, tensorflow as tf
from silot_tf.training import determinism

if sys.argv[1] == "deterministic":
    determinism.make_deterministic()
else:
    tf.config.experimental.enable_op_determinism()
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(2)
random = np.random.default_rng(0)
tables = [tf.constant(random.normal(size=(100, 100)).astype("f")) for _ in range(8)]


@tf.function(autograph=False)
def compute(scale):
    terms = [table * scale for table in tables]
    # Each term has a second reader, which may or may not be done with it when the sum starts.
    return sum(terms[1:], terms[0]), [tf.reduce_sum(tf.matmul(term, term)) for term in terms]


sums = {hashlib.md5(compute(tf.constant(1.0))[0].numpy().tobytes()).hexdigest() for _ in range(300)}
print(len(sums))
"""


def test_gradients_are_those_of_a_tape_with_zeros_where_there_is_no_path():
    x, y = tf.Variable([1.0, 2.0]), tf.Variable(3.0)

    @tf.function
    def compute():
        table = tf.gather(x, [0, 0, 1])
        return determinism.gradients(tf.reduce_sum(table**2 + x[1] * table), [x, y])

    by_x, by_y = compute()
    # 2 x0^2 + x1^2 + x1 (2 x0 + x1)
    np.testing.assert_allclose(by_x, [4 * 1 + 2 * 2, 2 * 2 + 2 * 1 + 2 * 2])
    assert float(by_y) == 0


def test_gradients_contain_no_sum_whose_order_could_matter():
    @tf.function(autograph=False)
    def compute(x):
        return determinism.gradients(tf.add_n([tf.sin(k * x) for k in range(1, 6)]), [x])

    def widest(function):
        graph = function.get_concrete_function(tf.TensorSpec([3])).graph
        return max(len(op.inputs) for op in graph.get_operations() if op.type == "AddN" and "gradient" in op.name)

    assert widest(compute) == 2


def run_program(setting):
    done = subprocess.run([sys.executable, "-c", PROGRAM, setting], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.slow
def test_sums_of_many_terms_repeat_bit_for_bit():
    # Op determinism alone gives two results or more on most tries (TensorFlow 2.21, two cores): its graph optimiser
    # turns the chain of additions into one AddN, which starts with whichever buffer is free.
    assert run_program("deterministic") == 1
