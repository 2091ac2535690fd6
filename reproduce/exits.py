"""How commands end: one line on stderr and an exit code for what a user can mend, a traceback for what only we can."""

import contextlib
import shlex
import sys
from collections.abc import Iterator

from reproduce import startup
from silot_tf import configuration
from silot_tf.errors import UserError

BAD_INPUT, STOPPED = 2, 130


@contextlib.contextmanager
def one_line_errors(stopped: str = "stopped") -> Iterator[None]:
    """Context that ends the process with 2 after bad input or on a full or read-only disk, with 130 after Ctrl-C.

    Args:
      stopped: what to say after Ctrl-C.
    """
    try:
        yield
    except UserError as error:
        leave(f"error: {configuration.one_line_if_from_gin(str(error))}", BAD_INPUT)
    except KeyboardInterrupt:
        leave(stopped, STOPPED)
    except Exception as error:
        if (message := startup.environment_error(error)) is None:
            raise
        leave(f"error: {message}", BAD_INPUT)


def goes_on(what: str) -> str:
    """`what`, and that the command line of this process continues from there."""
    return f"{what}; the same line again continues: {shlex.join(sys.orig_argv)}"


def leave(message: str, code: int) -> None:
    """Print the message on stderr and end the process."""
    print(message, file=sys.stderr)
    sys.exit(code)
