"""Tables of published claims: which files, which columns, which checks.

A targets file is a CSV with the columns

    experiment, claim, metric, condition, published, source      required
    protocol, compute, check                                     optional

`condition` is a condition number ("12"), a range of them ("1-12"), a condition's name, or "all". `published`
is a number where the paper gives one as text, else words. `check` says how a claim in words is tested:

    better curve=A other=B margin=m    A is better than B by at least m under every condition of the range
    close curve=A other=B margin=m     A is worse than B by at most m under every condition of the range
    falls curve=A to=f                 the last value of the range is at most f times the first
    rises curve=A                      the last value of the range is above the first
    shown curve=A                      nothing to decide, the values are shown
    look                               judged by eye, in the clips

A and B are "model" (every trained model of the report) or parts of names of experiments or baselines,
alternatives separated by `|`; `A!B` is A without B. Without `check`, a published number is compared with ours, words
are `shown`.
"""

import csv
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from silot_tf.errors import UserError

TARGETS = Path(__file__).parent / "targets"
REQUIRED = ("experiment", "claim", "metric", "condition", "published", "source")
#: Check -> its options and their defaults; None: must be given.
CHECK_OPTIONS = {
    "number": {},
    "look": {},
    "shown": {"curve": "model"},
    "falls": {"curve": "model", "to": "0.5"},
    "rises": {"curve": "model"},
    "better": {"curve": "model", "other": None, "margin": "0"},
    "close": {"curve": "model", "other": None, "margin": "0.1"},
}


@dataclasses.dataclass(frozen=True)
class Target:
    """One row of a targets file (see the module's text)."""

    experiment: str
    claim: str
    metric: str
    condition: str
    published: str
    source: str
    protocol: str = ""
    compute: str = ""
    check: str = ""


def read_targets(names: Sequence[str], experiments: Sequence[str] | None = None) -> list[Target]:
    """Rows of the named targets files.

    Args:
      names: names of files in the folder of targets (without .csv), or paths of CSV files.
      experiments: keep only rows of these experiments; None keeps all.

    Raises:
      UserError: for an unknown name, missing columns, or a check that does not exist.
    """
    targets = []
    for name in names:
        path = Path(name) if name.endswith(".csv") else TARGETS / f"{name}.csv"
        if not path.is_file():
            known = ", ".join(_known_names())
            raise UserError(f"reporting.Report.targets names {name!r}, expected one of {known}, or the path of a CSV")
        with open(path, newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            _check_header(path, set(reader.fieldnames or ()))
            for row in reader:
                target = Target(**{key: (value or "").strip() for key, value in row.items() if key})
                parse_check(target, f"{path}:{reader.line_num}")
                targets.append(target)
    known = {t.experiment for t in targets}
    if experiments is not None and (unknown := sorted(set(experiments) - known)):
        raise UserError(f"reporting.Report.experiments names {unknown}, the targets have {sorted(known)}")
    return [t for t in targets if experiments is None or t.experiment in experiments]


def parse_check(target: Target, where: str = "") -> tuple[str, dict[str, str]]:
    """Name of the check of a target and its options, defaults filled in.

    Raises:
      UserError: for an unknown check or option, or a missing option.
    """
    if not target.check:
        return ("number", {}) if is_number(target.published) else ("shown", {"curve": "model"})
    kind, *words = target.check.split()
    given = dict(word.partition("=")[::2] for word in words)
    options = CHECK_OPTIONS.get(kind, {})
    if kind not in CHECK_OPTIONS or not given.keys() <= options.keys():
        raise UserError(f"{where} has the check {target.check!r}, expected one of {sorted(CHECK_OPTIONS)}, its options")
    options = {**options, **given}
    if absent := [name for name, value in options.items() if not value]:
        raise UserError(f"{where} has the check {target.check!r} without {absent[0]}=..., expected a value for it")
    for name in options.keys() & {"margin", "to"}:
        if not is_number(options[name]):
            raise UserError(f"{where} has the check {target.check!r}, expected a number for {name}")
    return kind, options


def is_number(text: str) -> bool:
    """Whether `text` is a plain decimal number such as .89 or -3."""
    return re.fullmatch(r"-?(\d+\.?\d*|\.\d+)", text) is not None


def _known_names() -> list[str]:
    """Names of the targets files of this package; tables with other columns may lie beside them."""
    first_columns = ",".join(REQUIRED)
    return sorted(p.stem for p in TARGETS.glob("*.csv") if p.read_text(encoding="utf-8").startswith(first_columns))


def _check_header(path: Path, header: set[str]) -> None:
    allowed = {field.name for field in dataclasses.fields(Target)}
    if not set(REQUIRED) <= header <= allowed:
        raise UserError(f"{path} has the columns {sorted(header)}, expected {list(REQUIRED)}, no unknown ones")
