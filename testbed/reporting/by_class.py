"""A run's figures class by class, where jobs are of classes with deadlines of their own."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from testbed.jobs.intervals import wilson_interval
from testbed.jobs.ledger import LedgerRow, Outcome
from testbed.reporting.phases import count_correct_on_time


class ClassFigures(msgspec.Struct, frozen=True):
    """The jobs of one class; `job_class` is null for those of none. Percentiles are null without answers."""

    job_class: str | None
    deadline_ms: float
    issued: int
    on_time: int
    success_probability: float
    success_interval: tuple[float, float]  # Wilson, 95 %
    accuracy: float  # a job that is not on time counts as wrong
    completion_p50_ms: float | None  # of the answered
    completion_p95_ms: float | None
    completion_p99_ms: float | None


def by_class(rows: Sequence[LedgerRow]) -> tuple[ClassFigures, ...]:
    """The classes that have jobs, the tightest deadline first; nothing where no job is of a class."""
    found: dict[str | None, list[LedgerRow]] = {}
    for row in rows:
        found.setdefault(row.job_class, []).append(row)
    if set(found) <= {None}:
        return ()
    figures = (_figures(name, own) for name, own in found.items())
    return tuple(sorted(figures, key=lambda each: (each.deadline_ms, each.job_class or "")))


def _figures(name: str | None, rows: Sequence[LedgerRow]) -> ClassFigures:
    n, on_time = len(rows), sum(row.outcome is Outcome.ON_TIME for row in rows)
    completions_ms = [row.completion_ms for row in rows if row.completion_ms is not None]
    p50, p95, p99 = np.percentile(completions_ms, [50, 95, 99]).tolist() if completions_ms else (None, None, None)
    return ClassFigures(
        job_class=name,
        deadline_ms=rows[0].deadline_ms,
        issued=n,
        on_time=on_time,
        success_probability=on_time / n,
        success_interval=wilson_interval(on_time, n),
        accuracy=count_correct_on_time(rows) / n,
        completion_p50_ms=p50,
        completion_p95_ms=p95,
        completion_p99_ms=p99,
    )
