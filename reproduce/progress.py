"""Progress lines of long work."""

import sys

from tqdm import tqdm


def bar(*arguments, **settings) -> tqdm:
    """A progress line that disappears when done, and is rare in log files; arguments as for `tqdm`."""
    return tqdm(
        *arguments, leave=False, dynamic_ncols=True, mininterval=0.2 if sys.stderr.isatty() else 30.0, **settings
    )
