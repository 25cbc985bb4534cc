"""From rows to verdicts: paired ratios within a round, their median and spread, and the floors."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.goals import Goal

Rows = Sequence[Mapping[str, Any]]

MOONSHOT = "moonshot"
HELD = "floor held"
FREE = "no floor"
MISSED = "MISSED"
OPEN = "not judged"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one goal; ``why`` explains what is not a number."""

    goal: Goal
    word: str
    values: tuple[float, ...] = ()
    why: str = ""

    @property
    def median(self) -> float:
        """Of all rounds."""
        return statistics.median(self.values)

    def shown(self) -> str:
        """The number, or why there is none."""
        if not self.values:
            return self.why
        low, high, unit = min(self.values), max(self.values), self.goal.unit
        between = f"({short(low)} to {short(high)})"
        if self.why:
            return f"{self.why} {between}"
        return f"{short(self.median)}{unit} {between}"


def short(number: float) -> str:
    """Three digits that matter."""
    if abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def judge(goal: Goal, rows: Rows, skipped: Mapping[str, str], ease: float = 1.0) -> Verdict:
    """``ease`` is what the floor is divided by (smoke runs: 2). ``skipped``: case to reason."""
    if goal.against in skipped:
        return Verdict(goal, OPEN, why=f"{goal.against} skipped: {skipped[goal.against]}")
    values, refused = _paired(goal, rows)
    if not values:
        return Verdict(goal, OPEN, why=refused or "not measured")
    median = statistics.median(values)
    spread = (max(values) - min(values)) / median if median else 0.0
    holds = [_holds(goal, value, ease) for value in values]
    if spread > goal.spread:
        # Without a number it can still be plain which side of the floor all of them lie.
        word = _held(goal) if all(holds) else OPEN if any(holds) else MISSED
        return Verdict(goal, word, values, f"too noisy, spread {spread:.1f}")
    if not _holds(goal, median, ease):
        return Verdict(goal, MISSED, values)
    return Verdict(goal, MOONSHOT if _beyond(goal, median) else _held(goal), values)


def faults(rows: Rows, case: str) -> list[str]:
    """What may never happen to one case, and did: a bad frame, a server that failed."""
    return [
        f"round {row['round']}, {row['step']}: {row['refused']}"
        for row in rows
        if row["case"] == case and str(row.get("refused", "")).startswith(("faults", "failed"))
    ]


def _paired(goal: Goal, rows: Rows) -> tuple[tuple[float, ...], str]:
    """The ratio of each round in which both sides count, and why others do not."""
    found: dict[tuple[int, str], Mapping[str, Any]] = {}
    refused = ""
    for row in rows:
        if row["step"] != goal.step or row["case"] not in (goal.case, goal.against):
            continue
        if "refused" in row:
            refused = f"{row['case']}: {row['refused']}"
        elif goal.metric in row:
            found[row["round"], row["case"]] = row
    values = []
    for (number, case), row in found.items():
        if case != goal.case:
            continue
        if not goal.against:
            values.append(float(row[goal.metric]))
        elif (other := found.get((number, goal.against))) is not None and other[goal.metric]:
            values.append(row[goal.metric] / other[goal.metric])
    return tuple(values), refused


def _holds(goal: Goal, value: float, ease: float) -> bool:
    if goal.floor is None:
        return True
    return value >= goal.floor / ease if goal.more else value <= goal.floor * ease


def _held(goal: Goal) -> str:
    return FREE if goal.floor is None else HELD


def _beyond(goal: Goal, value: float) -> bool:
    if goal.moonshot is None:
        return False
    return value >= goal.moonshot if goal.more else value <= goal.moonshot


def median_of(rows: Iterable[Mapping[str, Any]], metric: str) -> tuple[float, float, float] | None:
    """Median, least and greatest of one metric; None when no row has it."""
    values = [float(row[metric]) for row in rows if metric in row and "refused" not in row]
    return (statistics.median(values), min(values), max(values)) if values else None
