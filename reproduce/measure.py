"""How one case of the benchmark is measured: seconds, floating-point operations, peak memory."""

import math
import resource
import time

import numpy as np


def matrix_product_rate(size: int = 2048, repetitions: int = 15) -> float:
    """Measured rate of this machine's square float32 matrix product, in 1e9 operations per second (median)."""
    import tensorflow as tf

    matrix = tf.random.normal([size, size])
    product = tf.function(lambda: tf.matmul(matrix, matrix))
    return 2 * size**3 / np.median(seconds_of(product, repetitions)) / 1e9


def seconds_of(function, repetitions: int, warm_up: int = 3) -> list[float]:
    """Wall seconds of each of `repetitions` calls, results waited for."""
    import tensorflow as tf

    durations = []
    for i in range(warm_up + repetitions):
        start = time.perf_counter()
        result = function()
        for tensor in tf.nest.flatten(result):
            if tf.is_tensor(tensor):
                tensor.numpy()
        if i >= warm_up:
            durations.append(time.perf_counter() - start)
    return durations


def matrix_operations(concrete_function) -> int:
    """Floating-point operations of all matrix products and convolutions that a traced function really runs.

    Nodes from which neither a result nor an effect of the function can be reached are left out, as TensorFlow prunes
    them. Element-wise operations do not count. Two operations per multiply-add.
    """
    graph = concrete_function.graph
    pending = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    reached = set()
    while pending:
        operation = pending.pop()
        if operation in reached:
            continue
        reached.add(operation)
        pending += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return sum(_operations(operation) for operation in reached)


def _operations(operation) -> int:
    """Operations of one node; 0 for everything but matrix products and convolutions."""
    kind = operation.type
    if kind in ("MatMul", "BatchMatMulV2"):
        left = operation.inputs[0].shape
        transposed = operation.get_attr("transpose_a" if kind == "MatMul" else "adj_x")
        inner = left[-2] if transposed else left[-1]
        return 2 * int(inner) * int(operation.outputs[0].shape.num_elements())
    if kind == "Conv2D":
        kernel, result = operation.inputs[1].shape, operation.outputs[0].shape
        return 2 * int(kernel[:3].num_elements()) * int(result.num_elements())
    if kind == "Conv2DBackpropInput":
        kernel, gradient = operation.inputs[1].shape, operation.inputs[2].shape
        return 2 * int(kernel[:3].num_elements()) * int(gradient.num_elements())
    if kind == "Conv2DBackpropFilter":
        kernel, gradient = operation.outputs[0].shape, operation.inputs[2].shape
        return 2 * int(kernel[:3].num_elements()) * int(gradient.num_elements())
    return 0


def slope(sizes, seconds) -> float:
    """Least-squares slope of ln(seconds) against ln(size)."""
    x, y = [math.log(size) for size in sizes], [math.log(second) for second in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def growth(sizes, results) -> list[str]:
    """Lines with seconds and memory by size, and the slope of the former."""
    lines = [
        f"  {n:5d}  {row['seconds']:9.4f} s  {row['peak_memory_gb']:6.2f} GB"
        for n, row in zip(sizes, results, strict=True)
    ]
    return [*lines, f"  log-log slope {slope(sizes, [row['seconds'] for row in results]):.2f}"]


def peak_memory() -> float:
    """Most memory of this process so far, 1e9 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def resident_memory(entry: str = "VmRSS") -> float:
    """Memory of this process, 1e9 bytes: VmRSS, what it has now, or VmHWM, its peak; outside of Linux the peak."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 / 1e9 for line in file if line.startswith(entry))
    except (OSError, StopIteration):
        return peak_memory()


class MemoryAboveBaseline:
    """Context whose `gigabytes` are afterwards the peak memory of the process inside, less what it had before.

    Where the system cannot forget earlier peaks (`/proc/self/clear_refs` of Linux), they count as well.
    """

    def __enter__(self):
        try:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        except OSError:
            pass
        self._before = resident_memory("VmRSS")
        return self

    def __exit__(self, *_):
        self.gigabytes = max(0.0, resident_memory("VmHWM") - self._before)


def measure(case: dict, prepare, repetitions: int) -> dict:
    """Measure one case in this process.

    Args:
      case: what describes it; becomes part of the result.
      prepare: `prepare(case)` gives a function of no arguments to time, and one that gives the traced function behind.
      repetitions: timed calls.

    Returns:
      the case with median and smallest `seconds`, `gflop` (matrix products and convolutions, 1e9), `gflop_per_second`,
      `compile_seconds`, `peak_memory_gb` of the process, `call_memory_gb` (its peak during the timed calls above what
      it had before the first), and the `matrix_product_rate` right before and after.
    """
    rate_before = matrix_product_rate(repetitions=7)
    start = time.perf_counter()
    function, concrete = prepare(case)
    with MemoryAboveBaseline() as memory:
        function()
        compile_seconds = time.perf_counter() - start
        seconds = seconds_of(function, repetitions)
    gflop = matrix_operations(concrete()) / 1e9
    median = float(np.median(seconds))
    return case | {
        "seconds": median,
        "fastest_seconds": min(seconds),
        "compile_seconds": compile_seconds,
        "gflop": gflop,
        "gflop_per_second": gflop / median,
        "peak_memory_gb": peak_memory(),
        "call_memory_gb": memory.gigabytes,
        "matrix_product_rate": float(np.mean([rate_before, matrix_product_rate(repetitions=7)])),
    }


def one_frame(model, frame_shape, batch: int, with_reconstruction: bool, frames_before: int = 0):
    """One step of a built model on random frames, as `measure` wants it prepared.

    Args:
      frame_shape: (H, W, C).
      with_reconstruction: False for the objects alone, so that nothing is rendered.
      frames_before: frames that the state has seen.
    """
    import tensorflow as tf

    seed = tf.constant([0, 1])
    frame = tf.random.stateless_uniform([batch, *frame_shape], [0, 1])

    @tf.function
    def step(frame, state):
        outputs, state = model.step(frame, state, seed=seed)
        return (outputs if with_reconstruction else outputs["objects"]), state

    state = model.initial_state(batch)
    for _ in range(frames_before):
        _, state = model.step(frame, state, seed=seed)
    return lambda: step(frame, state), lambda: step.get_concrete_function(frame, state)
