"""The one exception class for everything a user can mend."""


class UserError(Exception):
    """Bad input from outside: a file, a parameter, a flag.

    The message is one line: what is wrong, where, what was expected, and the cure. Command-line programs print it
    without a traceback and exit with status 2.
    """
