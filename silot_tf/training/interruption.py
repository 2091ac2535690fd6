"""Ctrl-C and SIGTERM during training: the current update is finished first."""

import contextlib
import signal
import sys
import threading


class Interrupted(Exception):
    """Training was stopped by a signal after writing a checkpoint; the message says where it stands."""


class StopRequest:
    """Becomes true when the process is asked to stop.

    A context manager: SIGINT and SIGTERM are caught inside it. The second signal acts as if nothing were caught.
    Outside of the main thread, where Python allows no handlers, it stays false.

    Args:
      meanwhile: what is still done before it stops, in words.
    """

    _signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, meanwhile: str = "finishing this update and writing a checkpoint"):
        self._meanwhile = meanwhile
        self._requested = False
        self._previous = {}

    def __bool__(self):
        return self._requested

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in self._signals}
        return self

    def __exit__(self, *exception):
        self._restore()

    def _handle(self, number, frame):
        self._requested = True
        self._restore()
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(
                f"\n{signal.Signals(number).name}: {self._meanwhile} (again to stop at once)",
                file=sys.stderr,
                flush=True,
            )

    def _restore(self):
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
