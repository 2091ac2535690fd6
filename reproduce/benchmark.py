"""Speed and memory of a model, in one table: `python -m reproduce.benchmark [--json=FILE]`.

Every case runs in a process of its own, so that peak memory is that of the case. Times are medians; the machine's rate
of matrix products is measured beside each case, so ratios hold on a noisy machine.
"""

import json
import math
import os
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags

from reproduce import measure, startup
from silot_tf import configuration
from silot_tf.errors import UserError

_GIN_FILE = flags.DEFINE_multi_string("gin_file", ["gin_configs/benchmark/silot.gin"], "What to measure.")
_GIN_PARAM = flags.DEFINE_multi_string("gin_param", [], "Further bindings.")
_JSON = flags.DEFINE_string("json", None, "Also write all numbers to this file.")
_REPETITIONS = flags.DEFINE_integer("repetitions", 15, "Timed calls per case.", lower_bound=1)
_GROWTH = flags.DEFINE_bool("growth", True, "Also measure how cost grows with slots and frames.")
_CASE = flags.DEFINE_string("case", None, "Measure only this case, in this process, and print it as JSON.")

LABELS = {
    "train": "training step",
    "train_plain": "training step, plain kernels",
    "train_short": "training step",
    "inference": "inference on clips",
    "frame": "one frame, batch 1",
    "frame_with_reconstruction": "one frame, batch 1, with reconstruction",
}


def main(_):
    """Measure, print, write."""
    startup.start_tensorflow_quietly()
    import silot_tf.training  # noqa: F401  registers the optimizer before gin is locked

    try:
        configuration.load(_GIN_FILE.value, _GIN_PARAM.value)
        suite = configuration.build(measure.Suite)
        cases = suite.cases(_GROWTH.value)
        if _CASE.value is not None:
            print(json.dumps(suite.run(_named(cases, _CASE.value), _REPETITIONS.value)))
            return
        results = {}
        for case in cases:
            print(f"measuring {case['name']} ...", file=sys.stderr, flush=True)
            results[case["name"]] = _measure_in_process(case["name"])
        print(table(suite, results))
        if _JSON.value:
            configuration.write(*os.path.split(os.path.abspath(_JSON.value)), json.dumps(results, indent=2) + "\n")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def table(suite, results: dict) -> str:
    """The results in words and columns."""
    lines = [
        f"{'case':42s} {'T':>3s} {'B':>3s} {'seconds':>9s} {'original':>9s} {'ratio':>6s} {'GFLOP':>7s} "
        f"{'GFLOP/s':>8s} {'of matmul':>9s} {'GB':>6s} {'compile s':>9s}"
    ]
    for name, label in LABELS.items():
        result = results[name]
        original = suite.reference_seconds.get(name)
        lines.append(
            f"{label:42s} {result['frames']:3d} {result['batch']:3d} {result['seconds']:9.4f} "
            f"{original if original else float('nan'):9.4f} "
            f"{result['seconds'] / original if original else float('nan'):6.2f} "
            f"{result['gflop']:7.2f} {result['gflop_per_second']:8.1f} "
            f"{result['gflop_per_second'] / result['matrix_product_rate']:9.0%} "
            f"{result['peak_memory_gb']:6.2f} {result['compile_seconds']:9.1f}"
        )
    plain = results["train_plain"]["seconds"] / results["train"]["seconds"]
    lines.append(f"plain kernels take {plain:.2f} times as long as ours in the training step")
    if suite.reference:
        lines.append(f"original: {suite.reference}")
    for prefix, cases in (("slots", suite.slot_counts), ("frames", suite.frame_counts)):
        rows = [results[f"{prefix}_{n}"] for n in cases if f"{prefix}_{n}" in results]
        if rows:
            lines += ["", f"training step by number of {prefix} (B {rows[0]['batch']})"]
            lines += [
                f"  {n:5d}  {row['seconds']:9.4f} s  {row['peak_memory_gb']:6.2f} GB"
                for n, row in zip(cases, rows, strict=True)
            ]
            lines.append(f"  log-log slope {_slope(cases, [row['seconds'] for row in rows]):.2f}")
    return "\n".join(lines)


def _slope(sizes, seconds) -> float:
    """Least-squares slope of ln(seconds) against ln(size)."""
    x, y = [math.log(size) for size in sizes], [math.log(second) for second in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def _named(cases, name):
    for case in cases:
        if case["name"] == name:
            return case
    raise UserError(f"--case={name} is unknown; expected one of {[case['name'] for case in cases]}")


def _measure_in_process(name: str) -> dict:
    """The same program again, for one case."""
    command = [
        sys.executable,
        "-m",
        "reproduce.benchmark",
        f"--case={name}",
        f"--repetitions={_REPETITIONS.value}",
    ]
    command += [f"--gin_file={path}" for path in _GIN_FILE.value]
    command += [f"--gin_param={binding}" for binding in _GIN_PARAM.value]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"measuring {name} failed: {done.stderr.strip().splitlines()[-1:] or done.returncode}")
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    app.run(main)
