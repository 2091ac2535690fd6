"""`run.json`: what was run, with what, where, when, and how long it took."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence

import silot_tf
from silot_tf import files

RUN_FILE = "run.json"
PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "numpy", "scipy", "gin-config", "motmetrics")


class RunStamp:
    """The record of one run folder over all processes that worked on it.

    Args:
      run_dir: the run folder.
    """

    def __init__(self, run_dir):
        self._path = pathlib.Path(run_dir) / RUN_FILE

    def read(self) -> dict:
        """What is recorded so far, {} for a new folder. Raises UserError when the file is damaged."""
        return files.read_json_object(self._path, "delete it, the run itself is in checkpoints/")

    def begin(
        self,
        *,
        seed: int,
        experiment: str,
        model: str,
        mode: str,
        gin_files: Sequence[str],
        gin_params: Sequence[str],
        changes: Sequence[str] = (),
    ) -> None:
        """Record the start of this process; what the first process wrote about the run stays.

        Args:
          seed: of the run.
          experiment: name of the family of experiments and its gin file.
          model: name of the model's class.
          mode: what this process is to do.
          gin_files, gin_params: as given on the command line.
          changes: differences between the stored configuration and the one of this process.
        """
        record = self.read()
        session = {
            "command": shlex.join(sys.orig_argv),
            "mode": mode,
            "started": now(),
            "versions": versions(),
            "commit": commit(),
            "devices": devices(),
        }
        if changes:
            session["configuration_changes"] = list(changes)
        record = {
            "experiment": experiment,
            "model": model,
            "seed": seed,
            "command": session["command"],
            "gin_files": list(gin_files),
            "gin_params": list(gin_params),
            "started": session["started"],
            **{key: session[key] for key in ("versions", "commit", "devices")},
            "hours": {},
            **record,
            "finished": None,
        }
        record["sessions"] = [*record.get("sessions", []), session]
        self._write(record)

    def add(self, *, hours: Mapping[str, float] | None = None, **facts) -> None:
        """Record hours per activity ("train", "evaluate") and further facts; later values replace earlier ones."""
        record = self.read()
        record["hours"] = {**record.get("hours", {}), **(hours or {})}
        self._write({**record, **facts})

    def finish(self) -> None:
        """Record that everything asked for is done."""
        record = self.read()
        record["finished"] = record["sessions"][-1]["finished"] = now()
        self._write(record)

    def _write(self, record) -> None:
        files.write_atomic(self._path, json.dumps(record, indent=2) + "\n")


def now() -> str:
    """The time in UTC, to the second, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Package -> version, of Python and of what decides numbers."""
    found = {"silot_tf": silot_tf.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> str | None:
    """Commit of the source tree, with "+changes" when files differ from it; None outside of a git checkout."""
    root = pathlib.Path(__file__).resolve().parent.parent

    def git(*arguments):
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False, timeout=20
        )
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        # An installed package may lie inside the checkout of something else, which says nothing about it.
        if git("ls-files", "--error-unmatch", "silot_tf/__init__.py") is None:
            return None
        return f"{git('rev-parse', 'HEAD')}{'+changes' if git('status', '--porcelain') else ''}"
    except (OSError, subprocess.TimeoutExpired):
        return None


def devices() -> dict:
    """What computes: system, processor, usable cores, accelerators."""
    import tensorflow as tf

    accelerators = []
    for device in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(device)
        accelerators.append(details.get("device_name", device.name))
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": usable,
        "accelerators": accelerators,
    }


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
