"""What the benchmark measures of exports: a step from the SavedModel, and a stream of any length."""

import gin
import numpy as np

from reproduce import measure

_STEPS = ("step_uint8", "step", "step_with_reconstruction")


@gin.configurable(module="benchmark")
class ExportedSteps:
    """Steps of SavedModels at batch 1 on two frame sizes, and memory and identities over a long stream.

    Args:
      models: name -> constructor of a model.
      frame_shapes: the same names -> (H, W, C).
      aims: name -> seconds that a step is to stay under.
      stream: name of the model of the long stream.
      stream_frames: its length.
      warm_up_frames: after so many frames memory is taken as the level to stay at.
    """

    def __init__(
        self, models, frame_shapes, aims, stream: str, stream_frames: int = 100_000, warm_up_frames: int = 2_000
    ):
        self.models, self.frame_shapes, self.aims = dict(models), dict(frame_shapes), dict(aims)
        self.stream, self.stream_frames, self.warm_up_frames = stream, stream_frames, warm_up_frames

    def cases(self, growth: bool = True) -> list[dict]:
        """All cases in the order of the table; the stream, which takes long, counts as growth."""
        one = {"batch": 1, "frames": 1}
        cases = [
            {"name": f"export_{name}_{signature}", "kind": signature, "model": name, **one}
            for name in self.models
            for signature in _STEPS
        ]
        if growth:
            stream = {"batch": 1, "frames": self.stream_frames}
            cases.append({"name": "export_stream", "kind": "stream", "model": self.stream, **stream})
        return cases

    def run(self, case: dict, repetitions: int) -> dict:
        """Measure one case in this process."""
        step, names = self._step(case)
        if case["kind"] == "stream":
            return case | self._follow(step, names, case["frames"])
        state = {"carried": None}

        def one():
            results, state["carried"] = step(state["carried"])
            return results["presence"]

        seconds = measure.seconds_of(one, max(repetitions, 100), warm_up=20)
        return case | {"seconds": float(np.median(seconds)), "fastest_seconds": min(seconds)}

    def table(self, results: dict) -> str:
        """The results, by name of the case, in words and columns."""
        lines = [
            "a step of the exported model, batch 1, state carried, called from Python",
            f"{'frames':>10s}  {'signature':26s} {'median ms':>10s} {'fastest ms':>10s} {'aim ms':>8s}",
        ]
        for name in self.models:
            height, width = self.frame_shapes[name][:2]
            for signature in _STEPS:
                row = results[f"export_{name}_{signature}"]
                lines.append(
                    f"{f'{height}x{width}':>10s}  {signature:26s} {1e3 * row['seconds']:10.2f} "
                    f"{1e3 * row['fastest_seconds']:10.2f} {1e3 * self.aims[name]:8.0f}"
                )
        if (row := results.get("export_stream")) is not None:
            lines.append(
                f"stream of {row['frames']:,} frames: memory {row['memory_mb_change']:+.1f} MB after "
                f"{self.warm_up_frames:,} frames (at most {row['memory_mb_most']:+.1f}), {row['objects']:,} "
                f"identities, {row['repeated']} of them given twice, {1e3 * row['seconds']:.2f} ms per frame"
            )
        return "\n".join(lines)

    def _step(self, case):
        """A function from a state (None for a fresh one) to results and the next state, of random moving squares."""
        import tempfile

        import tensorflow as tf

        from silot_tf.export import saved_model, verification

        shape = tuple(self.frame_shapes[case["model"]])
        model = self.models[case["model"]]()
        model.step(tf.zeros([1, *shape]), model.initial_state(1), seed=tf.constant([0, 0]))  # creates the weights
        with tempfile.TemporaryDirectory() as folder:
            saved_model.write(model, folder, shape)
            self._loaded = loaded = tf.saved_model.load(folder)  # keeps the weights alive
        kind = "step_uint8" if case["kind"] == "stream" else case["kind"]
        step, initial = loaded.signatures[kind], loaded.signatures["initial_state"]
        clip = verification.clips_for(None, shape)[0]
        if "uint8" not in kind:
            clip = clip.astype(np.float32) / np.float32(255)
        frames = [tf.constant(frame[None]) for frame in (*clip, *clip[::-1])]
        reset, seed, names = tf.constant([False]), tf.constant([0, 1]), list(initial(batch_size=tf.constant(1)))
        calls = iter(range(10**9))

        def advance(state):
            if state is None:
                state = dict(initial(batch_size=tf.constant(1)))
            results = step(frame=frames[next(calls) % len(frames)], reset=reset, seed=seed, **state)
            return results, {name: results[name] for name in names}

        return advance, names

    def _follow(self, step, names, frames: int) -> dict:
        """Memory and identities over a stream; identities are counted as they come, in constant memory."""
        import time

        state, level, most, objects, repeated = None, None, 0.0, 0, 0
        alive, largest = set(), -1
        started = time.perf_counter()
        for t in range(frames):
            results, state = step(state)
            ids = {int(n) for n in results["ids"].numpy()[0] if n >= 0}
            born = ids - alive
            # Identities are counted upwards, so one that comes and is not above all earlier ones was given before.
            repeated += sum(n <= largest for n in born)
            objects += len(born)
            largest, alive = max([largest, *ids]), ids
            if t == min(self.warm_up_frames, frames // 2):
                level = measure.resident_memory()
            elif level is not None and t % 500 == 0:
                most = max(most, measure.resident_memory() - level)
        seconds = time.perf_counter() - started
        return {
            "seconds": seconds / frames,
            "memory_mb_change": 1e3 * (measure.resident_memory() - level),
            "memory_mb_most": 1e3 * most,
            "objects": objects,
            "repeated": repeated,
        }
