"""The ledger: one row for every job issued."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from testbed.jobs.decision import Decision
from testbed.jobs.job import Job
from testbed.jobs.slot import DecidedBy

STAGES = ("wait", "decide", "head", "encode", "uplink", "edge_wait", "decode", "tail", "downlink")
"""The stages of a job in the order of its life; their milliseconds sum to `completion_ms`. Queueing at the device
and earlier attempts count as `wait`, wherever in the job's life they fall."""


class Outcome(StrEnum):
    """How a job ended."""

    ON_TIME = "on_time"
    LATE = "late"
    FAILED = "failed"  # sent without answer, or unanswered when draining ends
    DROPPED = "dropped"  # never sent


class LedgerRow(msgspec.Struct, frozen=True):
    """One job's account: the columns of `jobs.parquet`. Null is what did not happen."""

    job_id: int
    device: str
    edge: str | None
    policy: str
    decision: str | None
    encoding: str | None
    split: str | None
    kept_channels: int | None
    bits: int | None
    image: int
    arrival_s: float
    dispatch_ms: float | None
    decide_ms: float | None
    wait_ms: float | None
    head_ms: float | None
    encode_ms: float | None
    uplink_ms: float | None
    edge_wait_ms: float | None
    decode_ms: float | None
    tail_ms: float | None
    downlink_ms: float | None
    completion_ms: float | None
    deadline_ms: float
    outcome: Outcome
    late_stage: str | None
    payload_bytes: int
    wire_bytes: int
    label: int
    predicted: int | None
    correct: bool | None
    attempts: int
    error: str | None
    decided_by: DecidedBy | None = None  # where the policy decides slots; None also where it was not decided
    job_class: str | None = None  # None: of no class
    clock_error_ms: float | None = (
        None  # how wrong uplink and downlink may be, not their sum; None: one machine's clock
    )


def late_stage(stages_ms: dict[str, float], deadline_ms: float) -> str | None:
    """The stage in which the deadline ran out, None if it did not."""
    elapsed = 0.0
    for stage in STAGES:
        elapsed += stages_ms[stage]
        if elapsed > deadline_ms:
            return stage
    return None


def answered(
    job: Job,
    policy: str,
    decision: Decision,
    stages_ms: dict[str, float],
    *,
    dispatch_ms: float,
    payload_bytes: int,
    wire_bytes: int,
    label: int,
    predicted: int,
    attempts: int,
    decided_by: DecidedBy | None = None,
    clock_error_ms: float | None = None,
) -> LedgerRow:
    """The row of a job that was answered; `completion_ms` is the sum of its stages."""
    completion_ms = sum(stages_ms[stage] for stage in STAGES)
    deadline_ms = job.deadline_s * 1e3
    outcome = Outcome.ON_TIME if completion_ms <= deadline_ms else Outcome.LATE
    return LedgerRow(
        **_identity(job, policy, decision),
        dispatch_ms=dispatch_ms,
        **_columns(stages_ms),
        completion_ms=completion_ms,
        deadline_ms=deadline_ms,
        outcome=outcome,
        late_stage=late_stage(stages_ms, deadline_ms) if outcome is Outcome.LATE else None,
        payload_bytes=payload_bytes,
        wire_bytes=wire_bytes,
        label=label,
        predicted=predicted,
        correct=predicted == label,
        attempts=attempts,
        error=None,
        decided_by=decided_by,
        clock_error_ms=clock_error_ms,
    )


def unanswered(
    job: Job,
    policy: str,
    decision: Decision | None,
    outcome: Outcome,
    error: str,
    *,
    dispatch_ms: float | None,
    payload_bytes: int,
    wire_bytes: int,
    label: int,
    attempts: int,
    decided_by: DecidedBy | None = None,
) -> LedgerRow:
    """The row of a job that was dropped or failed, and the reason."""
    return LedgerRow(
        **_identity(job, policy, decision),
        dispatch_ms=dispatch_ms,
        **_columns({}),
        completion_ms=None,
        deadline_ms=job.deadline_s * 1e3,
        outcome=outcome,
        late_stage=None,
        payload_bytes=payload_bytes,
        wire_bytes=wire_bytes,
        label=label,
        predicted=None,
        correct=None,
        attempts=attempts,
        error=error,
        decided_by=decided_by,
    )


def _columns(stages_ms: dict[str, float]) -> dict[str, Any]:
    return {f"{stage}_ms": stages_ms.get(stage) for stage in STAGES}


def _identity(job: Job, policy: str, decision: Decision | None) -> dict[str, Any]:
    option = decision.option if decision else None
    point = option.point if option else None
    return {
        "job_id": job.job_id,
        "device": job.device,
        "edge": decision.edge if decision else None,
        "policy": policy,
        "decision": option.kind.value if option else None,
        "encoding": option.encoding or None if option else None,
        "split": point.split if point else None,
        "kept_channels": point.kept_channels if point else None,
        "bits": point.bits if point else None,
        "image": job.image,
        "arrival_s": job.arrival_s,
        "job_class": job.job_class,
    }
