"""Starting TensorFlow without its announcements, and telling errors of the machine from errors of the program."""

import errno
import os
import re
import sys
import tempfile

_KNOWN_CHATTER = re.compile(
    r"InitializeLog|port\.cc|cudart_stub|cpu_feature_guard|rebuild TensorFlow|cuInit|TF-TRT|computation_placer"
)
#: The place, where it is told, and what is wrong with it.
_TENSORFLOWS_WORDS = re.compile(r"(?:(\S+); )?(No space left on device|Read-only file system|Disk quota exceeded)")
_FULL_OR_READ_ONLY = {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT}


def start_tensorflow_quietly() -> None:
    """Import TensorFlow and look for devices; print only unusual ones of the messages that come with it.

    TensorFlow 2.21 ignores TF_CPP_MIN_LOG_LEVEL for what it says before its logging is set up.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        finally:
            os.dup2(real, 2)
            os.close(real)
            captured.seek(0)
            for line in captured.read().decode(errors="replace").splitlines():
                if not _KNOWN_CHATTER.search(line):
                    print(line, file=sys.stderr)


def environment_error(error: BaseException) -> str | None:
    """One line about a disk that is full or read-only, or None when the error is something else.

    TensorFlow reports such things in exceptions of its own.
    """
    if isinstance(error, OSError) and error.errno in _FULL_OR_READ_ONLY:
        place, words = error.filename, error.strerror
    elif type(error).__module__.startswith("tensorflow") and (found := _TENSORFLOWS_WORDS.search(str(error))):
        place, words = found.groups()
    else:
        return None
    where = f" {place}" if place else ""
    return f"cannot write{where}: {words}; expected a writable folder with free space, choose another"
