"""CSV logs that a resumed run can cut back to where its checkpoint stands, and means over updates."""

import csv
import io
import os
import pathlib
from collections.abc import Mapping

from silot_tf import files


class CsvLog:
    """Rows appended to a CSV file, one flushed line each.

    Columns are those of the first row; a later row with new columns makes the file be rewritten once with empty cells
    for the rows before.

    Args:
      path: of the file; may not exist yet.
      rows: how many rows of an existing file to keep (the file is cut back), None for all.
    """

    def __init__(self, path, rows: int | None = None):
        self.path = pathlib.Path(path)
        self._columns: list[str] = []
        self.rows = 0
        if self.path.is_file():
            with open(self.path, newline="", encoding="utf-8") as stream:
                lines = [line for line in csv.reader(stream) if line]
            if lines:
                self._columns = lines[0]
                # A kill can leave half a line at the end, or rows from after the checkpoint.
                body = [line for line in lines[1:] if len(line) == len(self._columns)][:rows]
                self.rows = len(body)
                self._rewrite(body)

    def append(self, row: Mapping[str, float | int | str]) -> None:
        """Add a row. Raises UserError when the file cannot be written."""
        new = [name for name in row if name not in self._columns]
        if new:
            body = self._body() if self.rows else []
            self._columns += new
            self._rewrite([line + [""] * (len(self._columns) - len(line)) for line in body])
        try:
            with open(self.path, "a", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerow([_cell(row.get(name, "")) for name in self._columns])
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise files.cannot_write(self.path, error) from error
        self.rows += 1

    def _body(self) -> list[list[str]]:
        with open(self.path, newline="", encoding="utf-8") as stream:
            return list(csv.reader(stream))[1:]

    def _rewrite(self, body) -> None:
        buffer = io.StringIO()
        csv.writer(buffer).writerows([self._columns, *body])
        files.write_atomic(self.path, buffer.getvalue())


class Mean:
    """Means of scalars over the updates since the last row of a log; its state survives in checkpoints.

    Args:
      state: what `state` gave earlier, or None for an empty mean.
    """

    def __init__(self, state: Mapping | None = None):
        self._count = state["count"] if state else 0
        self._sums = dict(state["sums"]) if state else {}

    def add(self, scalars: Mapping[str, float]) -> None:
        """Take in one update."""
        self._count += 1
        for name, value in scalars.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def take(self) -> dict[str, float]:
        """Name -> mean; empties the mean."""
        result = {name: value / self._count for name, value in self._sums.items()}
        self._count, self._sums = 0, {}
        return result

    @property
    def state(self) -> dict:
        """JSON dictionary; floats go through JSON unchanged."""
        return {"count": self._count, "sums": dict(self._sums)}


def _cell(value) -> str:
    """Floats with 9 significant digits: enough to tell any two float32 apart."""
    return f"{value:.9g}" if isinstance(value, float) else str(value)
