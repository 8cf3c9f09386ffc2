"""A job's row of the ledger, from how far it came: of devices that run, and of simulated ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from testbed.jobs import ledger
from testbed.jobs.decision import Decision, Kind
from testbed.jobs.job import Job
from testbed.jobs.ledger import LedgerRow, Outcome
from testbed.jobs.slot import DecidedBy


class Progress(msgspec.Struct):
    """How far a job has come."""

    dispatch_ms: float | None = None  # lateness
    decision: Decision | None = None
    decided_by: DecidedBy | None = None
    payload_bytes: int = 0
    wire_bytes: int = 0
    attempts: int = 0
    fault: str | None = None  # what cut it short


class Accounts(NamedTuple):
    """What rows have beside a job's progress: the policy that decided, and the photographs' classes."""

    policy: str
    labels: Mapping[int, int]

    def answered(
        self,
        job: Job,
        progress: Progress,
        decision: Decision,
        stages_s: Mapping[str, float],
        predicted: int,
        clock_error_ms: float | None = None,
    ) -> LedgerRow:
        """The row of a job with an answer; stages that it did not have took no time."""
        return ledger.answered(
            job,
            self.policy,
            decision,
            {stage: stages_s.get(stage, 0.0) * 1e3 for stage in ledger.STAGES},
            dispatch_ms=progress.dispatch_ms or 0.0,
            payload_bytes=progress.payload_bytes,
            wire_bytes=progress.wire_bytes,
            label=self.labels[job.image],
            predicted=predicted,
            attempts=max(1, progress.attempts),
            decided_by=progress.decided_by,
            clock_error_ms=clock_error_ms,
        )

    def unanswered(self, job: Job, progress: Progress, reason: str) -> LedgerRow:
        """The row of a job without one: failed if it was under way, else dropped."""
        computed_here = progress.decision is not None and progress.decision.option.kind is Kind.LOCAL
        return ledger.unanswered(
            job,
            self.policy,
            progress.decision,
            Outcome.FAILED if progress.attempts or computed_here else Outcome.DROPPED,
            reason,
            dispatch_ms=progress.dispatch_ms,
            payload_bytes=progress.payload_bytes,
            wire_bytes=progress.wire_bytes,
            label=self.labels[job.image],
            attempts=progress.attempts,
            decided_by=progress.decided_by,
        )
