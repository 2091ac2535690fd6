"""Speed and memory of a model, in tables: `python -m reproduce.benchmark [--json=FILE]`.

Every case runs in a process of its own, so that peak memory is that of the case. Times are medians; the machine's rate
of matrix products is measured beside each case, so ratios hold on a noisy machine.
"""

import json
import os
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags

from reproduce import startup, suites
from silot_tf import configuration
from silot_tf.errors import UserError

_GIN_FILE = flags.DEFINE_multi_string("gin_file", ["gin_configs/benchmark/silot.gin"], "What to measure.")
_GIN_PARAM = flags.DEFINE_multi_string("gin_param", [], "Further bindings.")
_JSON = flags.DEFINE_string("json", None, "Also write all numbers to this file.")
_REPETITIONS = flags.DEFINE_integer("repetitions", 15, "Timed calls per case.", lower_bound=1)
_GROWTH = flags.DEFINE_bool("growth", True, "Also measure how cost grows with slots and frames.")
_CASE = flags.DEFINE_string("case", None, "Measure only this case, in this process, and print it as JSON.")


def main(_):
    """Measure, print, write."""
    startup.start_tensorflow_quietly()
    import silot_tf.training  # noqa: F401  registers the optimizer before gin is locked

    try:
        configuration.load(_GIN_FILE.value, _GIN_PARAM.value)
        selected = configuration.build(suites.Suites).suites
        if _CASE.value is not None:
            suite, case = _named(selected, _CASE.value)
            print(json.dumps(suite.run(case, _REPETITIONS.value)))
            return
        results, tables = {}, []
        for suite in selected:
            for case in suite.cases(_GROWTH.value):
                print(f"measuring {case['name']} ...", file=sys.stderr, flush=True)
                results[case["name"]] = _measure_in_process(case["name"])
            tables.append(suite.table(results))
        print("\n\n".join(tables))
        if _JSON.value:
            configuration.write(*os.path.split(os.path.abspath(_JSON.value)), json.dumps(results, indent=2) + "\n")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _named(selected, name):
    """The case of that name, with its suite."""
    cases = {case["name"]: (suite, case) for suite in selected for case in suite.cases()}
    if name not in cases:
        raise UserError(f"--case={name} is unknown; expected one of {list(cases)}")
    return cases[name]


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
