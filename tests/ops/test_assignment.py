import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import linear_sum_assignment

from silot_tf.ops import assignment


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_assignment_is_the_cheapest(size):
    cost = np.random.default_rng(size).normal(size=(30, size, size)).astype(np.float32)
    expected = [linear_sum_assignment(matrix)[1] for matrix in cost]
    np.testing.assert_array_equal(assignment.cheapest(tf.constant(cost)), expected)


def test_equal_costs_still_give_every_column_once():
    columns = assignment.cheapest(tf.ones([2, 4, 4]))
    np.testing.assert_array_equal(np.sort(columns, axis=1), [[0, 1, 2, 3]] * 2)


def test_compiled_assignment_of_any_number_of_rows_is_the_same():
    cost = np.random.default_rng(0).random((6, 3, 3)).astype(np.float32)
    compiled = tf.function(assignment.cheapest, input_signature=[tf.TensorSpec([None, 3, 3])])
    np.testing.assert_array_equal(compiled(cost), assignment.cheapest(tf.constant(cost)))


@pytest.mark.parametrize("shape", [(1, 2, 3), (1, assignment.LARGEST + 1, assignment.LARGEST + 1)])
def test_other_matrices_are_refused(shape):
    with pytest.raises(ValueError, match="square"):
        assignment.cheapest(tf.zeros(shape))
