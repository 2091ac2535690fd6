import tensorflow as tf

from reproduce import measure


def test_operations_of_products_and_convolutions_are_counted_forward_and_backward():
    kernel = tf.Variable(tf.ones([3, 3, 2, 5]))
    matrix = tf.Variable(tf.ones([20, 7]))

    @tf.function
    def function(images, rows):
        with tf.GradientTape() as tape:
            tape.watch(images)
            convolved = tf.nn.conv2d(images, kernel, 1, "VALID")  # [4,6,6,5]
            product = tf.matmul(rows, matrix)  # [9,7]
            loss = tf.reduce_sum(convolved**2) + tf.reduce_sum(product**2)
        return tape.gradient(loss, [kernel, matrix, images])

    concrete = function.get_concrete_function(tf.TensorSpec([4, 8, 8, 2]), tf.TensorSpec([9, 20]))
    convolution = 2 * 4 * 6 * 6 * 5 * 3 * 3 * 2
    product = 2 * 9 * 20 * 7
    # forward, and backward to both operands of the convolution, but only to one of the product
    assert measure.matrix_operations(concrete) == 3 * convolution + 2 * product


def test_operations_that_nothing_depends_on_are_not_counted():
    @tf.function
    def function(left, right):
        tf.matmul(left, right)
        return tf.matmul(left, right, transpose_b=True)[:, :1] + tf.linalg.matmul(left[None], right[None])[0, :, :1]

    concrete = function.get_concrete_function(tf.TensorSpec([6, 6]), tf.TensorSpec([6, 6]))
    assert measure.matrix_operations(concrete) == 2 * (2 * 6**3)


def test_every_timed_call_is_returned():
    calls = []

    def function():
        calls.append(1)
        return tf.constant(1.0)

    durations = measure.seconds_of(function, repetitions=4, warm_up=2)
    assert len(durations) == 4 and len(calls) == 6 and min(durations) >= 0


def test_memory_above_baseline_is_that_of_the_largest_moment_inside():
    with measure.MemoryAboveBaseline() as little:
        pass
    with measure.MemoryAboveBaseline() as much:
        for megabytes in (150, 10):
            block = bytearray(megabytes * 1_000_000)
            block[::1000] = b"1" * len(block[::1000])
            del block
    assert 0.14 < much.gigabytes < 0.3 and little.gigabytes < 0.05
