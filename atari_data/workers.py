"""Episodes recorded by several processes at once.

A worker is a program of its own (`python -m atari_data.workers`) that reads episode numbers from standard input and
answers with manifest entries. It needs nothing from its parent, so recording can also be started from a notebook or
from a program in which TensorFlow runs; and it ends by itself when its parent is gone, however that ended.
"""

import dataclasses
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

from atari_data.episodes import Settings, record
from silot_tf.errors import UserError


def record_all(settings: Settings, episodes: Sequence[int], folder, mark: str, workers: int) -> Iterator[dict]:
    """Record episodes and yield their manifest entries as they are finished.

    Args:
      settings: of the collection.
      episodes: numbers of the episodes.
      folder: of the collection.
      mark: the collection's fingerprint.
      workers: number of processes; 1 records in this one.

    Raises:
      UserError: if a file cannot be written, or a worker is killed; what is finished is on disk.
    """
    if workers == 1 or len(episodes) == 1:
        for episode in episodes:
            yield record(settings, episode, folder, mark)
        return
    tasks, results = queue.SimpleQueue(), queue.SimpleQueue()
    for episode in episodes:
        tasks.put(episode)
    job = json.dumps({"settings": dataclasses.asdict(settings), "folder": str(folder), "mark": mark})
    processes = [_start() for _ in range(min(workers, len(episodes)))]
    try:
        for process in processes:
            threading.Thread(target=_serve, args=(process, job, tasks, results), daemon=True).start()
        for _ in episodes:
            result = results.get()
            if isinstance(result, Exception):
                raise result
            yield result
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _start() -> subprocess.Popen:
    package = str(pathlib.Path(__file__).resolve().parents[1])
    path = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH")) if part)
    return subprocess.Popen(
        [sys.executable, "-m", "atari_data.workers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )


def _serve(process: subprocess.Popen, job: str, tasks: queue.SimpleQueue, results: queue.SimpleQueue) -> None:
    """Give a worker one episode after the other; runs in a thread per worker."""
    lines = [job]
    while True:
        try:
            episode = tasks.get_nowait()
        except queue.Empty:
            return
        try:
            process.stdin.write("\n".join([*lines, str(episode)]) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except (OSError, ValueError):  # the pipe is closed
            answer = ""
        lines = []
        if not answer:
            status = process.wait()
            how = f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
            results.put(
                UserError(
                    f"the process that recorded episode {episode} was {how}; what was finished is kept, and the same "
                    "command continues (with fewer --workers, should memory have run out)"
                )
            )
            return
        answer = json.loads(answer)
        results.put(UserError(answer["error"]) if "error" in answer else answer)


def main() -> None:
    """A worker: the job on the first line of standard input, then a number per line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    job = json.loads(sys.stdin.readline())
    settings = Settings(**job["settings"])
    for line in iter(sys.stdin.readline, ""):
        try:
            answer = record(settings, int(line), job["folder"], job["mark"])
        except UserError as error:
            answer = {"error": str(error)}
        try:
            print(json.dumps(answer), file=answers, flush=True)
        except BrokenPipeError:
            os._exit(1)  # nobody is listening any more


if __name__ == "__main__":
    main()
