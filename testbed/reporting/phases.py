"""Phases: a run cut at its events, so that one sees which decision was the best under which channel."""

from __future__ import annotations

import bisect
import collections
from collections.abc import Iterable, Sequence

import msgspec

from testbed.jobs.intervals import wilson_interval
from testbed.jobs.ledger import LedgerRow, Outcome

UNDECIDED = "none"


class Phase(msgspec.Struct, frozen=True):
    """The jobs that arrived in [start_s, end_s). Shares are null without jobs."""

    start_s: float
    end_s: float
    issued: int
    success_probability: float | None
    success_interval: tuple[float, float] | None
    accuracy: float | None  # a job that is not on time counts as wrong
    decisions: dict[str, int]


def phases(rows: Iterable[LedgerRow], event_times_s: Iterable[float], duration_s: float) -> tuple[Phase, ...]:
    """The phases between events, in order; one phase where there is no event within the run."""
    starts = sorted({0.0, *(float(t_s) for t_s in event_times_s if 0 < t_s < duration_s)})
    rows_of: list[list[LedgerRow]] = [[] for _ in starts]
    for row in rows:
        rows_of[max(0, bisect.bisect_right(starts, row.arrival_s) - 1)].append(row)
    ends = [*starts[1:], duration_s]
    return tuple(_phase(start_s, end_s, own) for start_s, end_s, own in zip(starts, ends, rows_of, strict=True))


def count_decisions(rows: Iterable[LedgerRow]) -> dict[str, int]:
    """How often each kind of decision was taken, as `kind/encoding`: `local`, `full/jpeg`, `split/aecnn`, ..."""
    counts = collections.Counter(
        f"{row.decision}/{row.encoding}" if row.encoding else row.decision or UNDECIDED for row in rows
    )
    return dict(sorted(counts.items()))


def count_correct_on_time(rows: Iterable[LedgerRow]) -> int:
    """The jobs that accuracy counts: answered rightly, and in time."""
    return sum(row.outcome is Outcome.ON_TIME and bool(row.correct) for row in rows)


def _phase(start_s: float, end_s: float, rows: Sequence[LedgerRow]) -> Phase:
    n = len(rows)
    on_time = sum(row.outcome is Outcome.ON_TIME for row in rows)
    return Phase(
        start_s=start_s,
        end_s=end_s,
        issued=n,
        success_probability=on_time / n if n else None,
        success_interval=wilson_interval(on_time, n) if n else None,
        accuracy=count_correct_on_time(rows) / n if n else None,
        decisions=count_decisions(rows),
    )
