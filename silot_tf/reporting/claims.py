"""Our numbers beside published claims, and verdicts on those that can be computed.

A verdict follows a rule (see `silot_tf.reporting.published`) that is printed beside it, since papers say
"large" or "minor" where a rule needs a margin. A claim about a range of conditions gets a verdict only when
both ends of the range were measured.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence

import numpy as np

from silot_tf.reporting.aggregation import Curve, Spread
from silot_tf.reporting.published import Target, is_number, parse_check
from silot_tf.reporting.tables import DASH, describe, listing, number, strip_prefixes, with_spread

#: Borne out; not borne out; values without a verdict; to be judged by eye; not measured.
VERDICTS = ("yes", "no", "shown", "look", "not measured")
#: Span of a condition that is none of the run's.
UNKNOWN = (float("inf"), float("inf"))


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A target, our value in words, one of `VERDICTS`, and how the verdict was reached."""

    target: Target
    ours: str
    verdict: str
    reason: str


def judge(target: Target, curves: Sequence[Curve], conditions: dict[str, float]) -> Judgement:
    """Our numbers beside a target, and whether they bear it out.

    Args:
      target: a published claim.
      curves: results of models and baselines.
      conditions: condition name -> number.
    """
    kind, options = parse_check(target)
    if kind == "look":
        return Judgement(target, "see the clips", "look", "Judged by eye.")
    question = _Question(target, list(curves), _range(target.condition, conditions), conditions)
    return _CHECKS[kind](question, options)


@dataclasses.dataclass(frozen=True)
class _Question:
    target: Target
    curves: list[Curve]
    span: tuple[float, float] | None  # first and last condition; None: the value over all conditions
    conditions: dict[str, float]

    @property
    def sign(self) -> int:
        """1 when larger is better, else -1."""
        return -1 if describe(self.target.metric).higher_is_better is False else 1

    def named(self, wanted: str) -> list[Curve]:
        """Curves called `wanted`: "model", or parts of names separated by `|`, less others; measured here or not."""
        wanted, _, left_out = wanted.partition("!")
        if left_out:
            others = self.named(left_out)
            return [c for c in self.named(wanted) if c not in others]
        if wanted == "model":
            return [c for c in self.curves if not c.is_baseline]
        parts = [_words(part) for part in wanted.split("|")]
        return [c for c in self.curves if any(_contains(_words(n), part) for n in c.names for part in parts)]

    def find(self, wanted: str) -> list[Curve]:
        """Curves called `wanted` that were measured somewhere in the span."""
        return [curve for curve in self.named(wanted) if self.points(curve)]

    def points(self, curve: Curve) -> dict[float, Spread]:
        """Condition number -> spread in the span (for a roll-out, baselines answer with ordinary values)."""
        metric = self.target.metric
        if curve.is_baseline and metric not in curve.metrics():
            metric = strip_prefixes(metric)
        if self.span is None:
            overall = curve.overall.get(metric)
            return {0.0: overall} if overall is not None and overall.count else {}
        return {n: s for n, s in sorted(curve.points(metric).items()) if self.span[0] <= n <= self.span[1]}

    def name(self, condition: float) -> str:
        names = {value: name for name, value in self.conditions.items()}
        return "all conditions together" if self.span is None else names.get(condition, f"{condition:g}")

    def value(self, curve: Curve, condition: float) -> str:
        return with_spread(self.points(curve)[condition], describe(self.target.metric).digits)

    def ends(self, curve: Curve) -> str:
        """First and last value of a curve in words."""
        found = list(self.points(curve))
        texts = [f"{self.value(curve, c)} at {self.name(c)}" for c in dict.fromkeys((found[0], found[-1]))]
        return f"{curve.label}: {' → '.join(texts)}"

    def covers(self, curves: Sequence[Curve]) -> bool:
        """Whether both ends of the span were measured for each of the curves."""
        return self.span is None or all(end in self.points(c) for c in curves for end in self.span)

    def unmeasured(self, wanted: str, others: Sequence[Curve] = ()) -> Judgement:
        """The answer when nothing called `wanted` was measured in the span; `others` are still shown."""
        if measured := sorted({n for c in self.named(wanted) for n in c.conditions.values()}):
            where = self.target.condition.replace("-", DASH)
            ours = [f"{n:g}" for n in dict.fromkeys((measured[0], measured[-1]))]
            if self.span == UNKNOWN:  # a name; numbers would say nothing
                ours = [listing([self.name(n) for n in measured])]
            reason = f"Not measured at {where}: results here are for {' to '.join(ours)}."
        else:
            name = wanted.partition("!")[0].split("|")[0].replace("-", DASH)
            reason = "No results of the model here." if name == "model" else f"No results here for “{name}”."
        return Judgement(self.target, "; ".join(map(self.ends, others)) or DASH, "not measured", reason)

    def answer(self, ours: str, holds: bool, rule: str, curves: Sequence[Curve], partial: bool = False) -> Judgement:
        """Yes or no when the span was measured whole; else no verdict, if `partial` the outcome so far."""
        if self.covers(curves):
            return Judgement(self.target, ours, "yes" if holds else "no", f"Checked as: {rule}.")
        ends = [self.name(end) for end in dict.fromkeys(self.span)]
        so_far = f" So far it {'holds' if holds else 'does not hold'}." if partial else ""
        return Judgement(
            self.target, ours, "not measured", f"Needs {' to '.join(ends)}.{so_far} To be checked as: {rule}."
        )


def _check_number(question: _Question, options: dict) -> Judgement:
    """A published number: reached when ours, rounded like it, is not worse."""
    published, curves = question.target.published, question.find("model")
    if not curves:
        return question.unmeasured("model")
    digits = len(published.partition(".")[2])
    means = [float(np.mean([s.mean for s in question.points(c).values()])) for c in curves]
    behind = max(question.sign * (float(published) - mean) for mean in means)
    holds = round(behind, digits) <= 0
    rule = f"not worse than {published}" + ("" if holds else f" (worse by {number(behind, max(digits, 2))})")
    return question.answer("; ".join(_mean_text(question, c) for c in curves), holds, rule, curves)


def _check_shown(question: _Question, options: dict) -> Judgement:
    """Nothing to decide: our values, beside what the paper prints."""
    curves = question.find(options["curve"])
    if not curves:
        return question.unmeasured(options["curve"])
    published = is_number(question.target.published)
    reason = "Shown without a verdict." if published else "The paper prints no number to compare with."
    return Judgement(question.target, "; ".join(map(question.ends, curves)), "shown", reason)


def _check_trend(question: _Question, options: dict) -> Judgement:
    """The value at the end of the span against the one at its start: below `to` times it, or above it."""
    curves = question.find(options["curve"])
    if not curves:
        return question.unmeasured(options["curve"])
    ends = [(v[0].mean, v[-1].mean) for v in (list(question.points(c).values()) for c in curves)]
    if "to" not in options:
        holds, rule = all(last > first for first, last in ends), "the last value is above the first"
    else:
        factor = float(options["to"])
        holds = all(last <= factor * first for first, last in ends)
        rule = f"the last value is at most {factor:g} times the first"
    return question.answer("; ".join(map(question.ends, curves)), holds, rule, curves)


def _check_better(question: _Question, options: dict) -> Judgement:
    """Better than another curve by at least `margin` under every condition of the span."""
    margin = float(options["margin"])
    return _compare(question, options, margin, f"better by at least {margin:g} under every condition")


def _check_close(question: _Question, options: dict) -> Judgement:
    """Worse than another curve by at most `margin` under every condition of the span."""
    margin = float(options["margin"])
    return _compare(question, options, -margin, f"worse by at most {margin:g} under every condition")


def _compare(question: _Question, options: dict, least: float, rule: str) -> Judgement:
    others = question.find(options["other"])
    curves = [c for c in question.find(options["curve"]) if c not in others]
    if not curves:
        return question.unmeasured(options["curve"], others)
    if not others:
        return question.unmeasured(options["other"], curves)
    leads = [
        (question.sign * (mine[place].mean - theirs[place].mean), place, first, second)
        for first in curves
        for second in others
        for mine, theirs in [(question.points(first), question.points(second))]
        for place in mine.keys() & theirs.keys()
    ]
    if not leads:
        return question.unmeasured(options["other"], curves)
    smallest, place, first, second = min(leads, key=lambda lead: lead[:2])
    ours = f"{first.label} {question.value(first, place)}, {second.label} {question.value(second, place)}"
    ours += f" at {question.name(place)}" + (", the least favourable condition" if len(leads) > 1 else "")
    # 1e-9: a lead equal to the margin counts, whatever its last bit
    return question.answer(ours, bool(smallest >= least - 1e-9), rule, [*curves, *others], partial=True)


_CHECKS: dict[str, Callable[[_Question, dict], Judgement]] = {
    "number": _check_number,
    "shown": _check_shown,
    "falls": _check_trend,
    "rises": _check_trend,
    "better": _check_better,
    "close": _check_close,
}


def _mean_text(question: _Question, curve: Curve) -> str:
    points = question.points(curve)
    if len(points) == 1:
        return f"{curve.label}: {question.value(curve, next(iter(points)))}"
    mean = float(np.mean([s.mean for s in points.values()]))
    return f"{curve.label}: {number(mean, describe(question.target.metric).digits)} (mean over conditions)"


def _range(text: str, conditions: dict[str, float]) -> tuple[float, float] | None:
    if text in ("", "all"):
        return None
    if text in conditions:
        return conditions[text], conditions[text]
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)(?:\s*-\s*(\d+(?:\.\d+)?))?", text):
        return float(found[1]), float(found[2] or found[1])
    return UNKNOWN  # a condition this run does not know: nothing will be found


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+|\d+", text.lower())


def _contains(words: list[str], part: list[str]) -> bool:
    return any(words[i : i + len(part)] == part for i in range(len(words) - len(part) + 1)) if part else False
