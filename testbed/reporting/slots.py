"""Slots in figures: how many were decided in time, what it took, and by what jobs were decided."""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence

import msgspec
import numpy as np

from testbed.jobs.ledger import LedgerRow
from testbed.jobs.slot import ON_TIME_MS, SlotRow


class Slots(msgspec.Struct, frozen=True):
    """The slots in which jobs arrived, of a run whose policy decides slots. Null where none was decided."""

    slot_s: float
    slots: int
    on_time: int  # decided no later than 5 ms after their beginning
    share_on_time: float
    late_p50_ms: float | None  # after the slot's beginning, of those decided; negative: ahead of it
    late_p99_ms: float | None
    decide_p50_ms: float | None  # what the policy took
    decide_p99_ms: float | None
    decided_by: dict[str, int]  # jobs: slot, last, greedy
    failed: int = 0  # that the policy could not decide
    error: str | None = None  # why the first of these


def summarise_slots(rows: Sequence[SlotRow], jobs: Sequence[LedgerRow], slot_s: float, duration_s: float) -> Slots:
    """The figures of the slots that began while jobs arrived."""
    count = max(1, math.ceil(duration_s / slot_s))
    late_ms = [row.late_ms for row in rows if row.slot < count and row.late_ms is not None]
    decide_ms = [row.decide_ms for row in rows if row.slot < count and row.late_ms is not None]
    on_time = sum(one <= ON_TIME_MS for one in late_ms)
    errors = [row.error for row in rows if row.slot < count and row.error is not None]
    by = collections.Counter(str(job.decided_by) for job in jobs if job.decided_by is not None)
    return Slots(
        slot_s=slot_s,
        slots=count,
        on_time=on_time,
        share_on_time=on_time / count,
        late_p50_ms=_percentile(late_ms, 50),
        late_p99_ms=_percentile(late_ms, 99),
        decide_p50_ms=_percentile(decide_ms, 50),
        decide_p99_ms=_percentile(decide_ms, 99),
        decided_by=dict(sorted(by.items())),
        failed=len(errors),
        error=errors[0] if errors else None,
    )


def _percentile(values: Sequence[float], share: float) -> float | None:
    return float(np.percentile(values, share)) if values else None
