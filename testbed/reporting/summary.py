"""The summary of a run: `summary.json`, computed from the ledger."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from testbed.jobs.intervals import wilson_interval
from testbed.jobs.ledger import LedgerRow, Outcome
from testbed.reporting.by_class import ClassFigures, by_class
from testbed.reporting.loadgen import LoadGen
from testbed.reporting.phases import Phase, count_correct_on_time, count_decisions, phases
from testbed.reporting.slots import Slots
from testbed.reporting.verdict import ANSWERED, Evidence, judge, verdict

NOTHING_ELSE = Evidence()


class Summary(msgspec.Struct, frozen=True):
    """A run in figures. Shares are 0 to 1 of the jobs issued unless said otherwise; null where there is no job."""

    policy: str
    verdict: str  # "VALID" or "INVALID"
    reasons: tuple[str, ...]  # why it is INVALID
    duration_s: float  # during which jobs arrived
    issued: int  # on_time + late + failed + dropped
    on_time: int
    late: int
    failed: int
    dropped: int
    success_probability: float | None  # answered on time
    success_interval: tuple[float, float] | None  # Wilson, 95 %
    accuracy: float | None  # a job that is not on time counts as wrong
    accuracy_answered: float | None  # of the answered, late ones too
    throughput_on_time_per_s: float
    completion_p50_ms: float | None  # of the answered
    completion_p95_ms: float | None
    completion_p99_ms: float | None
    payload_bytes_per_job: float | None
    misses_by_stage: dict[str, int]  # late jobs, by the stage in which their deadline ran out
    decisions: dict[str, int]  # by kind/encoding
    phases: tuple[Phase, ...]  # the run cut at its events
    slots: Slots | None = None  # where the policy decides slots
    classes: tuple[ClassFigures, ...] = ()  # where jobs are of classes
    loadgen: LoadGen | None = None  # where the arrivals are a scenario of MLPerf's LoadGen


def summarise(
    policy: str,
    rows: Sequence[LedgerRow],
    *,
    issued: int,
    duration_s: float,
    event_times_s: Iterable[float] = (),
    evidence: Evidence = NOTHING_ELSE,
    scenario: LoadGen | None = None,
) -> Summary:
    """The figures of one run.

    Args:
        policy: what to call the policy.
        rows: the whole ledger, in any order.
        issued: how many jobs were drawn for the run; other than the rows' number makes it INVALID.
        duration_s: seconds during which jobs arrived, without the draining.
        event_times_s: when the workload changed something, in seconds from the run's start: where phases begin.
        evidence: what is known of the run beside its ledger; the verdict is taken from both.
        scenario: what LoadGen makes of the ledger, in a scenario of its.
    """
    reasons = judge(rows, issued, evidence)
    n = max(issued, len(rows))
    counts = collections.Counter(row.outcome for row in rows)
    on_time = counts[Outcome.ON_TIME]
    answered = [row for row in rows if row.outcome in ANSWERED]
    completions_ms = [row.completion_ms for row in answered if row.completion_ms is not None]
    p50, p95, p99 = np.percentile(completions_ms, [50, 95, 99]).tolist() if completions_ms else (None, None, None)
    late_in = collections.Counter(row.late_stage for row in rows if row.late_stage)
    return Summary(
        policy=policy,
        verdict=verdict(reasons),
        reasons=reasons,
        duration_s=duration_s,
        issued=issued,
        on_time=on_time,
        late=counts[Outcome.LATE],
        failed=counts[Outcome.FAILED],
        dropped=counts[Outcome.DROPPED],
        success_probability=on_time / n if n else None,
        success_interval=wilson_interval(on_time, n) if n else None,
        accuracy=count_correct_on_time(rows) / n if n else None,
        accuracy_answered=sum(bool(row.correct) for row in answered) / len(answered) if answered else None,
        throughput_on_time_per_s=on_time / duration_s if duration_s > 0 else 0.0,
        completion_p50_ms=p50,
        completion_p95_ms=p95,
        completion_p99_ms=p99,
        payload_bytes_per_job=sum(row.payload_bytes for row in rows) / n if n else None,
        misses_by_stage=dict(sorted(late_in.items())),
        decisions=count_decisions(rows),
        phases=phases(rows, event_times_s, duration_s),
        slots=evidence.slots,
        classes=by_class(rows),
        loadgen=scenario,
    )
