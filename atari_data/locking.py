"""One process at a time writes into a folder of recordings."""

import fcntl
import pathlib
from typing import IO

from silot_tf.errors import UserError

LOCK = ".lock"


def hold(folder) -> IO:
    """An open file that keeps others out of the folder until it is closed; the system closes it if the process dies.

    Args:
      folder: created if it does not exist.

    Raises:
      UserError: if another process, or another recorder of this one, writes there, or if the folder cannot be written.
    """
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / LOCK, "a")  # noqa: SIM115  the caller closes it
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror or error}); expected a folder for recorded episodes: name "
            "another, or set the environment variable SILOT_TF_CACHE_DIR, where collections go by default"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise UserError(
            f"{folder} is being recorded into by another process ({error.strerror}); wait until it is done, or name "
            "another folder"
        ) from error
    return lock
