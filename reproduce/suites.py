"""What the benchmark measures: clips of the size of an experiment, and frames larger than those of training."""

import gin

from reproduce import measure
from silot_tf.errors import UserError

LABELS = {
    "train": "training step",
    "train_plain": "training step, plain kernels",
    "train_short": "training step",
    "inference": "inference on clips",
    "frame": "one frame, batch 1",
    "frame_with_reconstruction": "one frame, batch 1, with reconstruction",
}


@gin.configurable(module="benchmark")
class Suite:
    """What is measured of one model.

    Args:
      model: constructor of the model; `slots_argument` is the name of its argument for the number of slots.
      plain_model: the same model with the plain form of every optimised kernel; None for no such case.
      frame_model: the model of the cases with single frames, where that is another one than `model`.
      slots_argument: see `model`.
      frame_shape: (H, W, C).
      batch_size: clips in training and inference of clips.
      frames: frames of the clips.
      short_frames: frames of the clips in a short training step.
      slot_counts: numbers of slots for the growth table.
      frame_counts: numbers of frames for the growth table.
      reference_seconds: case name -> seconds of the original network (where and how measured: `reference`).
      reference: one sentence about the reference numbers.
      aims: case name -> seconds to stay under.
      memory_aims: case name -> peak memory of the process to stay under, 1e9 bytes.
      prefix: before the names of cases, where one run has several of these.
    """

    def __init__(
        self,
        model,
        plain_model,
        frame_model=None,
        slots_argument: str = "num_slots",
        frame_shape=(48, 48, 3),
        batch_size: int = 16,
        frames: int = 8,
        short_frames: int = 2,
        slot_counts=(16, 32, 64, 128, 256),
        frame_counts=(1, 2, 4, 8),
        reference_seconds=None,
        reference: str = "",
        aims=None,
        memory_aims=None,
        prefix: str = "",
    ):
        self.model, self.plain_model, self.slots_argument = model, plain_model, slots_argument
        self.frame_model, self.short_frames, self.prefix = frame_model or model, short_frames, prefix
        self.frame_shape, self.batch_size, self.frames = tuple(frame_shape), batch_size, frames
        self.slot_counts, self.frame_counts = tuple(slot_counts), tuple(frame_counts)
        self.reference_seconds, self.reference = dict(reference_seconds or {}), reference
        self.aims, self.memory_aims = dict(aims or {}), dict(memory_aims or {})
        if unknown := sorted({*self.aims, *self.memory_aims, *self.reference_seconds} - set(LABELS)):
            raise UserError(f"benchmark.Suite has numbers for {unknown}; its cases are {', '.join(LABELS)}")

    def cases(self, growth: bool = True) -> list[dict]:
        """All cases in the order of the table."""
        clip = {"batch": self.batch_size, "frames": self.frames}
        short = clip | {"frames": self.short_frames}
        plain = [{"name": "train_plain", "kind": "train", "plain": True, **clip}]
        cases = [
            {"name": "train", "kind": "train", **clip},
            *(plain if self.plain_model is not None else ()),
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
        return [case | {"name": self.prefix + case["name"]} for case in cases]

    def run(self, case: dict, repetitions: int) -> dict:
        """Measure one case in this process, see `measure.measure`."""
        return measure.measure(case, self._prepare, repetitions)

    def table(self, results: dict) -> str:
        """The results, by name of the case, in words and columns."""
        results = {name.removeprefix(self.prefix): row for name, row in results.items() if name.startswith(self.prefix)}
        lines = [
            f"{'case':42s} {'T':>3s} {'B':>3s} {'seconds':>9s} {'original':>9s} {'ratio':>6s} {'GFLOP':>7s} "
            f"{'GFLOP/s':>8s} {'of matmul':>9s} {'GB':>6s} {'compile s':>9s}"
        ]
        measured = {name: label for name, label in LABELS.items() if name in results}
        for name, label in measured.items():
            result = results[name]
            original = self.reference_seconds.get(name)
            lines.append(
                f"{label:42s} {result['frames']:3d} {result['batch']:3d} {result['seconds']:9.4f} "
                f"{original if original else float('nan'):9.4f} "
                f"{result['seconds'] / original if original else float('nan'):6.2f} "
                f"{result['gflop']:7.2f} {result['gflop_per_second']:8.1f} "
                f"{result['gflop_per_second'] / result['matrix_product_rate']:9.0%} "
                f"{result['peak_memory_gb']:6.2f} {result['compile_seconds']:9.1f}"
            )
        if "train_plain" in measured:
            plain = results["train_plain"]["seconds"] / results["train"]["seconds"]
            lines.append(f"plain kernels take {plain:.2f} times as long as ours in the training step")
        rates = [results[name]["matrix_product_rate"] for name in measured]
        lines.append(f"this machine's matrix products meanwhile: {min(rates):.0f} to {max(rates):.0f} GFLOP/s")
        lines += self._judged_aims(results)
        if self.reference:
            lines.append(f"original: {self.reference}")
        for prefix, sizes in (("slots", self.slot_counts), ("frames", self.frame_counts)):
            rows = [results[f"{prefix}_{n}"] for n in sizes if f"{prefix}_{n}" in results]
            if rows:
                lines += [
                    "",
                    f"training step by number of {prefix} (B {rows[0]['batch']})",
                    *measure.growth(sizes, rows),
                ]
        return "\n".join(lines)

    def _judged_aims(self, results: dict) -> list[str]:
        """A line per aim: what was to be reached, and what was."""
        lines = []
        for name, label in LABELS.items():
            aims = ((self.aims.get(name), "seconds", "s"), (self.memory_aims.get(name), "peak_memory_gb", "GB"))
            parts = []
            for aim, key, unit in aims:
                if aim is not None and name in results:
                    value = results[name][key]
                    parts.append(f"{value:.3g} {unit}, aim {aim:g} {unit}: {'reached' if value <= aim else 'not'}")
            if parts:
                lines.append(f"{label}, T {results[name]['frames']}, B {results[name]['batch']}: {'; '.join(parts)}")
        return lines

    def _prepare(self, case):
        """A function of no arguments to time, and one that gives the traced function behind it."""
        import tensorflow as tf

        from silot_tf.training.trainer import Trainer

        constructor = self.plain_model if case.get("plain") else self.model
        if case["kind"] not in ("train", "inference"):
            constructor = self.frame_model
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
        return measure.one_frame(model, self.frame_shape, case["batch"], case["kind"] == "frame_with_reconstruction")


@gin.configurable(module="benchmark")
class LargeFrames:
    """One frame at a time, larger than in training and with more slots, and its renderings side by side.

    Args:
      models: name of a rendering -> constructor of the model with it; growth is measured of the first.
      renderers: name of a rendering -> constructor of a layer `draw(what, pres, depth, where, frame_shape)`, whose
        first result are frames.
      slots_argument: name of the model's argument for the number of slots.
      slots: their number, except where growth with it is measured.
      frame_shape: (H, W, C).
      rendered_frames: frames that are rendered at once.
      what_size: length of the appearance vectors to render.
      largest_box: (height, width) in pixels; random boxes to render are between nothing and this.
      slot_counts: numbers of slots for the growth table.
    """

    def __init__(
        self,
        models,
        renderers,
        slots_argument: str = "num_slots",
        slots: int = 128,
        frame_shape=(210, 160, 3),
        rendered_frames: int = 4,
        what_size: int = 64,
        largest_box=(24, 24),
        slot_counts=(16, 32, 64, 128, 256, 512),
    ):
        self.models, self.renderers, self.slots_argument = dict(models), dict(renderers), slots_argument
        self.slots, self.frame_shape, self.rendered_frames = slots, tuple(frame_shape), rendered_frames
        self.what_size, self.largest_box, self.slot_counts = what_size, tuple(largest_box), tuple(slot_counts)

    def cases(self, growth: bool = True) -> list[dict]:
        """All cases in the order of the table."""
        one = {"batch": 1, "frames": 1, "slots": self.slots}
        cases = [{"name": f"large_frame_{name}", "kind": "frame", "rendering": name, **one} for name in self.models]
        cases += [
            {"name": f"large_render_{name}", "kind": "render", "rendering": name}
            | one
            | {"frames": self.rendered_frames}
            for name in self.renderers
        ]
        if growth:
            first = next(iter(self.models))
            cases += [
                {"name": f"large_slots_{slots}", "kind": "frame", "rendering": first} | one | {"slots": slots}
                for slots in self.slot_counts
            ]
        return cases

    def run(self, case: dict, repetitions: int) -> dict:
        """Measure one case in this process, see `measure.measure`."""
        return measure.measure(case, self._prepare, repetitions)

    def table(self, results: dict) -> str:
        """The results, by name of the case, in words and columns."""
        lines = [
            f"frames of {self.frame_shape[0]}x{self.frame_shape[1]} pixels, {self.slots} slots, batch 1",
            f"{'case':42s} {'rendering':>10s} {'seconds':>9s} {'GFLOP':>7s} {'of matmul':>9s} {'GB':>6s} "
            f"{'MB of it':>9s}",
        ]
        kinds = {
            "large_frame_": "one frame, with reconstruction",
            "large_render_": f"rendering {self.rendered_frames} frames, and gradients",
        }
        for prefix, label in kinds.items():
            for name in self.models if prefix == "large_frame_" else self.renderers:
                row = results[prefix + name]
                # A model's first step has already taken what its next ones need.
                of_it = f"{1000 * row['call_memory_gb']:9.0f}" if prefix == "large_render_" else f"{'':9s}"
                lines.append(
                    f"{label:42s} {name:>10s} {row['seconds']:9.4f} {row['gflop']:7.2f} "
                    f"{row['gflop_per_second'] / row['matrix_product_rate']:9.0%} {row['peak_memory_gb']:6.2f} {of_it}"
                )
        lines.append("GB: peak of the process; MB of it: added by rendering to what the process had before")
        rows = [results[f"large_slots_{n}"] for n in self.slot_counts if f"large_slots_{n}" in results]
        if rows:
            lines += ["", "one frame, with reconstruction, by number of slots", *measure.growth(self.slot_counts, rows)]
        return "\n".join(lines)

    def _prepare(self, case):
        """See `measure.measure`."""
        if case["kind"] == "render":
            return self._rendering(self.renderers[case["rendering"]](), case)
        model = self.models[case["rendering"]](**{self.slots_argument: case["slots"]})
        # The first step creates the weights. The losses, which want far more memory, are left out.
        return measure.one_frame(model, self.frame_shape, case["batch"], with_reconstruction=True, frames_before=1)

    def _rendering(self, draw, case):
        """Random objects all over the frames, drawn, and the gradients with respect to them."""
        import numpy as np
        import tensorflow as tf

        rng = np.random.default_rng(0)
        counts, height_width = (case["frames"], case["slots"]), np.array(self.frame_shape[:2])
        size = rng.uniform(0, 1, (*counts, 2)) * self.largest_box / height_width
        drawn = {
            "what": rng.normal(size=(*counts, self.what_size)),
            "pres": rng.uniform(size=(*counts, 1)),
            "depth": rng.uniform(size=(*counts, 1)),
            "where": np.concatenate([rng.uniform(size=(*counts, 2)), size], axis=-1),
        }
        drawn = {name: tf.constant(value, tf.float32) for name, value in drawn.items()}
        # One object on a small frame creates the weights: memory of whole frames would stay with the process.
        draw(**{name: value[:1, :1] for name, value in drawn.items()}, frame_shape=(8, 8))

        @tf.function
        def function(drawn):
            frames, _ = draw(**drawn, frame_shape=self.frame_shape[:2])
            return frames, tf.gradients(tf.reduce_sum(frames**2), list(drawn.values()))

        concrete = function.get_concrete_function(drawn)
        return lambda: function(drawn), lambda: concrete


@gin.configurable(module="benchmark")
class Suites:
    """The suites of a run, in the order of their tables.

    Args:
      suites: objects with `cases`, `run` and `table`, whose names of cases differ.
    """

    def __init__(self, suites):
        self.suites = list(suites)
