"""The verdict: whether a run's own accounts add up, so that its figures may be believed."""

from __future__ import annotations

import collections
from collections.abc import Sequence

from testbed.jobs.ledger import STAGES, LedgerRow, Outcome
from testbed.network.certify import CertificateEntry, misses

VALID, INVALID = "VALID", "INVALID"
STAGE_SUM_TOLERANCE_MS = 0.1
_AT_MOST = 5
ANSWERED = frozenset({Outcome.ON_TIME, Outcome.LATE})


def verdict(reasons: Sequence[str]) -> str:
    """VALID without a reason to the contrary."""
    return INVALID if reasons else VALID


def faults(rows: Sequence[LedgerRow], issued: int) -> tuple[str, ...]:
    """Why the rows of a run that issued so many jobs cannot be believed, each reason with its figures."""
    return (*_unbalanced(rows, issued), *_repeated(rows), *_off_sum(rows))


def link_faults(before: Sequence[CertificateEntry], after: Sequence[CertificateEntry]) -> tuple[str, ...]:
    """Why a run's links cannot be believed: each direction that was not as asked, with both figures."""
    return tuple(
        f"{when} the run, {miss}"
        for when, entries in (("before", before), ("after", after))
        for miss in few(misses(entries))
    )


def few(reasons: Sequence[str]) -> list[str]:
    """The first of many reasons of one kind, and how many more there are."""
    rest = len(reasons) - _AT_MOST
    return [*reasons[:_AT_MOST], *([f"{rest} more of the kind: see certificate.json"] if rest > 0 else [])]


def _unbalanced(rows: Sequence[LedgerRow], issued: int) -> list[str]:
    if len(rows) == issued:
        return []
    counts = collections.Counter(row.outcome for row in rows)
    terms = " + ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome)
    return [f"{issued} jobs issued, but {terms} = {len(rows)}"]


def _repeated(rows: Sequence[LedgerRow]) -> list[str]:
    repeated = sorted(job for job, n in collections.Counter(row.job_id for row in rows).items() if n > 1)
    return [f"{len(repeated)} jobs are counted more than once, the first is job {repeated[0]}"] if repeated else []


def _off_sum(rows: Sequence[LedgerRow]) -> list[str]:
    reasons = []
    answered = [row for row in rows if row.outcome in ANSWERED]
    empty = [row for row in answered if _stage_sum_ms(row) is None or row.completion_ms is None]
    if empty:
        reasons.append(f"{len(empty)} answered jobs lack a stage, the first is job {empty[0].job_id}")
    off = {row.job_id: _off_ms(row) for row in answered if _off_ms(row) > STAGE_SUM_TOLERANCE_MS}
    if off:
        worst = max(off, key=off.__getitem__)
        reasons.append(
            f"the stages of {len(off)} jobs do not sum to completion_ms within {STAGE_SUM_TOLERANCE_MS} ms, "
            f"the worst is job {worst}, off by {off[worst]:.3f} ms"
        )
    return reasons


def _stage_sum_ms(row: LedgerRow) -> float | None:
    stages = [getattr(row, f"{stage}_ms") for stage in STAGES]
    return None if None in stages else sum(stages)


def _off_ms(row: LedgerRow) -> float:
    total_ms = _stage_sum_ms(row)
    return 0.0 if total_ms is None or row.completion_ms is None else abs(total_ms - row.completion_ms)
