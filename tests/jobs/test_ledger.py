"""The ledger's rows: stages that sum, outcomes, and the stage in which time ran out."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.jobs.decision import LOCAL, Decision, Kind, OperatingPoint, Option
from testbed.jobs.job import Job
from testbed.jobs.ledger import STAGES, LedgerRow, Outcome, answered, late_stage, unanswered

JOB = Job(job_id=3, device="dev1", image=7, arrival_s=1.5, deadline_s=0.2)
SPLIT = Decision(Option(Kind.SPLIT, "aecnn", OperatingPoint("layer3", 16, 4)), "edge1")
SENT = {"dispatch_ms": 0.1, "payload_bytes": 324, "wire_bytes": 500, "label": 4, "attempts": 1}


@given(st.lists(st.floats(0, 60), min_size=len(STAGES), max_size=len(STAGES)))
def test_stages_sum_to_the_completion_and_lateness_has_a_stage(durations):
    stages_ms = dict(zip(STAGES, durations, strict=True))
    row = answered(JOB, "greedy", SPLIT, stages_ms, **SENT, predicted=4)
    assert sum(getattr(row, f"{stage}_ms") for stage in STAGES) == pytest.approx(row.completion_ms)
    assert row.outcome is (Outcome.ON_TIME if row.completion_ms <= 200 else Outcome.LATE)
    assert (row.late_stage is None) == (row.outcome is Outcome.ON_TIME)
    assert msgspec.json.decode(msgspec.json.encode(row), type=LedgerRow) == row


def test_the_deadline_itself_is_on_time_and_runs_out_where_it_is_crossed():
    stages_ms = dict.fromkeys(STAGES, 0.0) | {"head": 150.0, "uplink": 50.0}
    assert late_stage(stages_ms, 200.0) is None
    assert answered(JOB, "p", SPLIT, stages_ms, **SENT, predicted=4).outcome is Outcome.ON_TIME
    assert late_stage(stages_ms | {"wait": 0.1}, 200.0) == "uplink"


def test_a_row_says_what_was_decided():
    row = answered(JOB, "fixed", SPLIT, dict.fromkeys(STAGES, 1.0), **SENT, predicted=5)
    assert (row.decision, row.encoding, row.edge) == ("split", "aecnn", "edge1")
    assert (row.split, row.kept_channels, row.bits) == ("layer3", 16, 4)
    assert row.correct is False
    local = answered(JOB, "local", Decision(LOCAL), dict.fromkeys(STAGES, 1.0), **SENT, predicted=4)
    assert (local.decision, local.encoding, local.edge, local.split) == ("local", None, None, None)


def test_an_unanswered_job_has_a_reason_and_no_durations():
    row = unanswered(JOB, "full", None, Outcome.DROPPED, "no edge can be reached from dev1", **SENT)
    assert row.completion_ms is row.uplink_ms is row.predicted is row.correct is row.decision is None
    assert (row.outcome, row.error) == ("dropped", "no edge can be reached from dev1")
