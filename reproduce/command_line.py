"""What commands share in reading their flags: one line for a mistake, and the list that --help prints."""

import sys
import textwrap
from collections.abc import Iterable

from absl import flags

from silot_tf.errors import UserError


def wants_help() -> bool:
    """Whether the command line asks for help."""
    return bool({"--help", "-h", "-help"} & set(sys.argv[1:]))


def parse(expected: str) -> None:
    """Read the command line into `flags.FLAGS`.

    Args:
      expected: what is given instead of an argument that is no flag, for the message.

    Raises:
      UserError: for an unknown flag, a value of another type, or an argument that is no flag.
    """
    try:
        left = flags.FLAGS(sys.argv)
    except flags.Error as error:
        raise UserError(f"{' '.join(str(error).split())}; --help lists all flags") from error
    if len(left) > 1:
        raise UserError(f"argument '{left[1]}' is not understood; expected {expected}")


def listed(which: Iterable) -> list[str]:
    """Lines on flags: names, and indented what they mean."""
    lines = []
    for flag in which:
        text = flag.help.split(";\n")[0]  # absl adds "repeat this option ..." to some
        lines += [f"  --{flag.name}", textwrap.indent(textwrap.fill(text, 92), "      ")]
    return lines
