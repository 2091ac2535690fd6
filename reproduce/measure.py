"""What the benchmark measures, one case per process: seconds, floating-point operations, peak memory."""

import gin
import numpy as np


def matrix_product_rate(size: int = 2048, repetitions: int = 15) -> float:
    """Measured rate of this machine's square float32 matrix product, in 1e9 operations per second (median)."""
    import tensorflow as tf

    matrix = tf.random.normal([size, size])
    product = tf.function(lambda: tf.matmul(matrix, matrix))
    return 2 * size**3 / np.median(seconds_of(product, repetitions)) / 1e9


def seconds_of(function, repetitions: int, warm_up: int = 3) -> list[float]:
    """Wall seconds of each of `repetitions` calls, results waited for."""
    import time

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


@gin.configurable(module="benchmark")
class Suite:
    """What is measured of one model.

    Args:
      model: constructor of the model; `slots_argument` is the name of its argument for the number of slots.
      plain_model: the same model with the plain form of every optimised kernel.
      slots_argument: see `model`.
      frame_shape: (H, W, C).
      batch_size: clips in training and inference of clips.
      frames: frames of the clips.
      slot_counts: numbers of slots for the growth table.
      frame_counts: numbers of frames for the growth table.
      reference_seconds: case name -> seconds of the original network (where and how measured: `reference`).
      reference: one sentence about the reference numbers.
    """

    def __init__(
        self,
        model,
        plain_model,
        slots_argument: str = "num_slots",
        frame_shape=(48, 48, 3),
        batch_size: int = 16,
        frames: int = 8,
        slot_counts=(16, 32, 64, 128, 256),
        frame_counts=(1, 2, 4, 8),
        reference_seconds=None,
        reference: str = "",
    ):
        self.model, self.plain_model, self.slots_argument = model, plain_model, slots_argument
        self.frame_shape, self.batch_size, self.frames = tuple(frame_shape), batch_size, frames
        self.slot_counts, self.frame_counts = tuple(slot_counts), tuple(frame_counts)
        self.reference_seconds, self.reference = dict(reference_seconds or {}), reference

    def cases(self, growth: bool = True) -> list[dict]:
        """All cases in the order of the table."""
        clip = {"batch": self.batch_size, "frames": self.frames}
        short = clip | {"frames": 2}
        cases = [
            {"name": "train", "kind": "train", **clip},
            {"name": "train_plain", "kind": "train", "plain": True, **clip},
            {"name": "train_short", "kind": "train", **short},
            {"name": "inference", "kind": "inference", **clip},
            {"name": "frame", "kind": "frame", "batch": 1, "frames": 1},
            {
                "name": "frame_with_reconstruction",
                "kind": "frame_with_reconstruction",
                "batch": 1,
                "frames": 1,
            },
        ]
        if growth:
            cases += [
                {"name": f"slots_{slots}", "kind": "train", "batch": 4, "frames": 2, "slots": slots}
                for slots in self.slot_counts
            ]
            cases += [
                {"name": f"frames_{frames}", "kind": "train", "batch": self.batch_size, "frames": frames}
                for frames in self.frame_counts
            ]
        return cases

    def run(self, case: dict, repetitions: int) -> dict:
        """Measure one case in this process.

        Returns:
          median and smallest `seconds`, `gflop` (matrix products and convolutions, 1e9), `gflop_per_second`,
          `compile_seconds`, `peak_memory_gb` of the process, and the `matrix_product_rate` right before and after.
        """
        import resource
        import time

        rate_before = matrix_product_rate(repetitions=7)
        start = time.perf_counter()
        function, concrete = self._prepare(case)
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
            "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
            "matrix_product_rate": float(np.mean([rate_before, matrix_product_rate(repetitions=7)])),
        }

    def _prepare(self, case):
        """A function of no arguments to time, and one that gives the traced function behind it."""
        import tensorflow as tf

        from silot_tf.training.trainer import Trainer

        constructor = self.plain_model if case.get("plain") else self.model
        model = constructor(**({self.slots_argument: case["slots"]} if "slots" in case else {}))
        model.build_variables(self.frame_shape)
        video = tf.random.stateless_uniform([case["batch"], case["frames"], *self.frame_shape], [0, 1])
        seed = tf.constant([0, 1])
        if case["kind"] == "train":
            trainer = Trainer(model)
            batch = {"video": video, "frame_mask": tf.ones(video.shape[:2], tf.bool)}
            settings = {
                "frames": case["frames"],
                "seed": 0,
                "stage": 0,
                "step": 0,
                "learning_rate": 1e-4,
                "gradient_noise": 0.0,
                "annealed": model.annealed_quantities,
            }
            return lambda: trainer.update(batch, **settings), lambda: trainer.traced(batch, case["frames"])
        if case["kind"] == "inference":
            compiled = tf.function(lambda clip: model.unroll(clip, seed=seed)[0])
            return lambda: compiled(video), lambda: compiled.get_concrete_function(video)
        with_reconstruction = case["kind"] == "frame_with_reconstruction"

        @tf.function
        def step(frame, state):
            outputs, state = model.step(frame, state, seed=seed)
            return (outputs if with_reconstruction else outputs["objects"]), state

        state = model.initial_state(case["batch"])
        frame = video[:, 0]
        return lambda: step(frame, state), lambda: step.get_concrete_function(frame, state)
