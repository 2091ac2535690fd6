"""Running the command line in processes of its own, as a user does."""

import csv
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GIN_FILE = str(pathlib.Path(__file__).with_name("background.gin"))
TIMES = ("seconds", "steps_per_second")


def command(*flags):
    return [sys.executable, "-m", "reproduce.scattered_mnist", *flags]


def environment():
    # One thread each: several tests run beside each other on two cores.
    return os.environ | {"PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": "1"}


def run(folder, *flags):
    """Finished process of the command in `folder`, with stdout and stderr as text."""
    return subprocess.run(
        command(*flags), cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )


def run_smoke(script, folder, *flags, name=None):
    """Run folder of a smoke configuration of `reproduce.<script>`, which must end well, with a cache of its own."""
    gin_file = f"--gin_file=gin_configs/smoke/{name or script}.gin"
    done = subprocess.run(
        [sys.executable, "-m", f"reproduce.{script}", "--run_dir=run", gin_file, *flags],
        cwd=folder,
        env=environment() | {"SILOT_TF_CACHE_DIR": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    return folder / "run"


def start(folder, *flags):
    """Running process of the command."""
    return subprocess.Popen(
        command(*flags), cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_update(run_dir, update, process, timeout=120):
    """Return once the log of a run says that `update` is done."""
    end = time.monotonic() + timeout
    while time.monotonic() < end and process.poll() is None:
        if any(int(row["global_step"]) >= update for row in rows(run_dir / "metrics.csv")):
            return
        time.sleep(0.02)
    raise AssertionError(f"update {update} was not reached: {process.poll()} {process.stderr.read()[-2000:]}")


def rows(path):
    """Rows of a CSV log without the columns that tell time."""
    if not path.is_file():
        return []
    with open(path, newline="") as stream:
        return [
            {k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(stream) if row["global_step"]
        ]
