"""The verdict: whether a run's figures may be believed. All its rules are here, with their thresholds.

A run is INVALID if one of them is broken; each reason says which, with its figures. Lateness of jobs is no reason: that
is what runs are made to find out.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence

import msgspec

from testbed.jobs.intervals import interval_half, jobs_needed
from testbed.jobs.ledger import STAGES, LedgerRow, Outcome
from testbed.jobs.slot import ON_TIME_MS
from testbed.network.certify import CertificateEntry, misses
from testbed.reporting.slots import Slots

VALID, INVALID = "VALID", "INVALID"
STAGE_SUM_TOLERANCE_MS = 0.1
LATE_DISPATCH_MS = 5.0
"""A job that is dispatched so long after it arrived was kept waiting by this machine, not by the network."""
SHARE_LATE = 0.01
"""So many of the jobs may be dispatched late; and so many paced computations, counted against the jobs, overrun."""
SATURATED = 0.95
"""A machine of whose CPUs so much is busy cannot be said to have kept the pace. Work at a lower priority counts as
free: it yields."""
SHARE_SATURATED = 0.25
"""For so much of the run the CPUs may be saturated: if that kept jobs waiting, the rules above say so."""
SHARE_SLOTS_LATE = 0.05
"""So many of the slots may be decided late, or be left out."""
BYTES_TOLERANCE, BYTES_NOISE = 0.02, 3000
"""Of the bytes that a link carried, so many may stay unexplained: a share, or two packets, or some dozens of
acknowledgements, that no socket has counted: connections refused and reset."""

ANSWERED = frozenset({Outcome.ON_TIME, Outcome.LATE})
BUSY = "the machine was too busy: "
"""How reasons begin that lie in what else the machine did, or in too much being asked of it."""

_AT_MOST = 5


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run beside its ledger."""

    before: Sequence[CertificateEntry] = ()  # the links as measured
    after: Sequence[CertificateEntry] = ()
    foreign_bytes: Sequence[str] = ()  # why the bytes that links carried are not those of the run
    losses: Sequence[str] = ()  # what was cut short, or lost: processes, links that were not as planned
    overruns: int = 0  # paced computations that ended more than 2 ms after their pace
    cpu_busy: Mapping[str, Sequence[float]] = {}  # by machine: 0 to 1, of all its CPUs, in equal parts of the run
    slots: Slots | None = None  # where the policy decides slots
    interval: float | None = None  # half the width asked of the success probability's 95 % interval, 0 to 1


def verdict(reasons: Sequence[str]) -> str:
    """VALID without a reason to the contrary."""
    return INVALID if reasons else VALID


def judge(rows: Sequence[LedgerRow], issued: int, evidence: Evidence) -> tuple[str, ...]:
    """Why a run that issued so many jobs cannot be believed: a reason for each rule that is broken."""
    return (
        *_unbalanced(rows, issued),
        *_repeated(rows),
        *_off_sum(rows),
        *evidence.losses,
        *_link_faults(evidence.before, evidence.after),
        *_few(evidence.foreign_bytes),
        *_late_dispatch(rows),
        *_overrun(evidence.overruns, issued),
        *_saturated(evidence.cpu_busy),
        *_slot_faults(evidence.slots),
        *_too_few(rows, issued, evidence.interval),
    )


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


def _link_faults(before: Sequence[CertificateEntry], after: Sequence[CertificateEntry]) -> list[str]:
    """Each direction that was not as asked, with both figures."""
    return [
        f"{when} the run, {miss}"
        for when, entries in (("before", before), ("after", after))
        for miss in _few(misses(entries))
    ]


def _few(reasons: Sequence[str]) -> list[str]:
    """The first of many reasons of one kind, and how many more there are."""
    rest = len(reasons) - _AT_MOST
    return [*reasons[:_AT_MOST], *([f"{rest} more of the kind: see certificate.json"] if rest > 0 else [])]


def _late_dispatch(rows: Sequence[LedgerRow]) -> list[str]:
    late_ms = [row.dispatch_ms for row in rows if row.dispatch_ms is not None and row.dispatch_ms > LATE_DISPATCH_MS]
    if not _too_many(len(late_ms), len(rows), SHARE_LATE):
        return []
    return [
        f"{BUSY}{len(late_ms)} of {len(rows)} jobs were dispatched more than {LATE_DISPATCH_MS:g} ms late, the latest "
        f"by {max(late_ms):.1f} ms; {SHARE_LATE:.0%} may be"
    ]


def _overrun(overruns: int, issued: int) -> list[str]:
    if not _too_many(overruns, issued, SHARE_LATE):
        return []
    return [
        f"{BUSY}{overruns} paced computations took more than 2 ms longer than their pace, in {issued} jobs; "
        f"{SHARE_LATE:.0%} of these may"
    ]


def _saturated(cpu_busy: Mapping[str, Sequence[float]]) -> list[str]:
    reasons = []
    for name, parts in cpu_busy.items():
        full = sum(busy > SATURATED for busy in parts)
        if _too_many(full, len(parts), SHARE_SATURATED):
            whose = f"the CPUs of {name}" if len(cpu_busy) > 1 else "its CPUs"
            reasons.append(
                f"{BUSY}{whose} were more than {SATURATED:.0%} busy during {full / len(parts):.0%} of the run, "
                f"{SHARE_SATURATED:.0%} may be"
            )
    return reasons


def _slot_faults(slots: Slots | None) -> list[str]:
    if slots is None:
        return []
    reasons = []
    if slots.failed:
        reasons.append(f"the policy could not decide {slots.failed} of {slots.slots} slots: {slots.error}")
    late = slots.slots - slots.on_time - slots.failed
    if _too_many(late, slots.slots, SHARE_SLOTS_LATE):
        reasons.append(
            f"{late} of {slots.slots} slots were decided more than {ON_TIME_MS:g} ms after they began, or not at all; "
            f"{SHARE_SLOTS_LATE:.0%} may be: a faster policy, or longer slots"
        )
    return reasons


def _too_few(rows: Sequence[LedgerRow], issued: int, asked: float | None) -> list[str]:
    if asked is None:
        return []
    n = max(issued, len(rows), 1)
    share = sum(row.outcome is Outcome.ON_TIME for row in rows) / n
    half = interval_half(share, n)
    if half <= asked:
        return []
    return [
        f"too few jobs: the success probability's 95 % interval is {100 * half:.2g} % to each side, "
        f"{100 * asked:.2g} % were asked: {jobs_needed(share, asked)} jobs are needed, {issued} were issued"
    ]


def _too_many(found: int, of: int, allowed: float) -> bool:
    """Whether more than a share was found; one alone never is."""
    return found > max(1, allowed * of)
