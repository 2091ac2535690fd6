"""A table of a paper with our numbers beside it.

A table is a CSV in `reporting/targets` with the columns `method`, any metrics (keys of `results/metrics.json`), and
`source`; empty cells were not published. Our rows have the values over all conditions.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from silot_tf.errors import UserError
from silot_tf.reporting.aggregation import Curve
from silot_tf.reporting.published import TARGETS, is_number
from silot_tf.reporting.tables import DASH, describe, listing, number, with_spread

METHOD, SOURCE = "method", "source"
PARTICLES = "particles"


def published_table(name: str | None, curves: Sequence[Curve], protocol: Mapping[str, str]) -> dict | None:
    """What the page prints of a table, None without one.

    Args:
      name: of a file in the folder of targets (without .csv), or path of a CSV file; None for no table.
      curves: results of models and baselines.
      protocol: metric -> how ours is measured.

    Returns:
      `columns` (printed names), `rows` (name, whether it is ours, cells), `sources`, `notes` (sentences).

    Raises:
      UserError: for an unknown name, or a file of another form.
    """
    if name is None:
        return None
    path = Path(name) if name.endswith(".csv") else TARGETS / f"{name}.csv"
    keys, rows = _read(path, name)
    ours = [curve for curve in curves if any(curve.overall.get(key) for key in keys)]
    return {
        "columns": [describe(key).label for key in keys],
        "rows": [(row[METHOD], False, [row[key] or DASH for key in keys]) for row in rows]
        + [(c.label, True, [with_spread(c.overall.get(k), describe(k).digits) for k in keys]) for c in ours],
        "sources": list(dict.fromkeys(row[SOURCE] for row in rows if row[SOURCE])),
        "notes": [
            *_particles_note(keys, rows, ours),
            *(f"{describe(key).label}, ours: {protocol[key]}" for key in keys if key in protocol and key != PARTICLES),
        ],
    }


def _read(path: Path, name: str) -> tuple[list[str], list[dict]]:
    """Metrics in their order, and the rows."""
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in TARGETS.glob("*.csv") if p.read_text().startswith(f"{METHOD},")))
        raise UserError(f"reporting.Report.published_table is {name!r}, expected one of {known}, or the path of a CSV")
    with open(path, newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        header = list(reader.fieldnames or ())
        if header[:1] != [METHOD] or header[-1:] != [SOURCE] or len(header) < 3:
            raise UserError(f"{path} has the columns {header}, expected {METHOD}, metrics, {SOURCE}")
        rows = [{key: (row[key] or "").strip() for key in header} for row in reader]
    keys = header[1:-1]
    if wrong := [row[key] for row in rows for key in keys if row[key] and not is_number(row[key])]:
        raise UserError(f"{path} has the cells {wrong[:3]}, expected plain numbers, or nothing where none is published")
    return keys, rows


def _particles_note(keys, rows, ours: Sequence[Curve]) -> list[str]:
    """A bound grows with the number of particles: a sentence where ours are not the published ones."""
    if PARTICLES not in keys:
        return []
    published = {float(row[PARTICLES]) for row in rows if row[PARTICLES]}
    found = {c.overall[PARTICLES].mean for c in ours if c.overall.get(PARTICLES) and c.overall[PARTICLES].count}
    if not published or not found or published == found:
        return []
    words = [listing([number(value, 0) for value in sorted(values)]) for values in (found, published)]
    return [
        f"Reduced: ours are measured with {words[0]} particles, the published with {words[1]}; bounds are lower and "
        "averages by weight nearer to plain ones with fewer."
    ]
