"""What became of a claim or a goal, and how figures are written."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from testbed.experiments.paired import Interval
from testbed.experiments.tables import Table

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
REACHED, MISSED = "reached", "missed"


class Finding(msgspec.Struct, frozen=True):
    """What became of a claim."""

    claim: str
    verdict: str
    figures: str


def verdicts(title: str, findings: Sequence[Finding]) -> Table:
    """Claims or goals, with what became of them."""
    rows = tuple((finding.claim, finding.verdict, finding.figures) for finding in findings)
    return Table(title, ("claim", "verdict", "figures"), rows, names=3)


def verdict_of(interval: Interval) -> str:
    """Of a claim that the figure is above zero."""
    if interval.undecided:
        return UNDECIDED
    return HOLDS if interval.low > 0 else FAILS


def reached(reached: bool) -> str:
    """Of a goal."""
    return REACHED if reached else MISSED


def in_figures(interval: Interval, digits: int = 3) -> str:
    """A mean with its interval."""
    if not math.isfinite(interval.low):
        return f"{interval.value:.{digits}f} (one seed: no interval)"
    return f"{interval.value:.{digits}f} ({interval.low:.{digits}f} to {interval.high:.{digits}f})"
