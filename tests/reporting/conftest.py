"""Ledgers to report on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from testbed.jobs.decision import LOCAL, Decision, Kind, OperatingPoint, Option
from testbed.jobs.job import Job
from testbed.jobs.ledger import STAGES, LedgerRow, Outcome, answered, unanswered
from tests.reporting.browser import Browser, browsing

SPLIT = Decision(Option(Kind.SPLIT, "aecnn", OperatingPoint("layer3", 16, 4)), "edge1")
JPEG = Decision(Option(Kind.FULL, "jpeg"), "edge1")
DECISIONS = (Decision(LOCAL), JPEG, SPLIT)
DEADLINE_S = 0.2


def answer(
    job_id: int,
    *,
    stage_ms: float = 10.0,
    right: bool = True,
    decision: Decision = SPLIT,
    payload: int = 324,
    arrival_s: float | None = None,
) -> LedgerRow:
    """A job whose nine stages took `stage_ms` each; its deadline is 200 ms."""
    at_s = 0.1 * job_id if arrival_s is None else arrival_s
    return answered(
        Job(job_id=job_id, device="dev1", image=job_id, arrival_s=at_s, deadline_s=DEADLINE_S),
        "greedy",
        decision,
        dict.fromkeys(STAGES, stage_ms),
        dispatch_ms=0.2,
        payload_bytes=payload,
        wire_bytes=payload + 200,
        label=5,
        predicted=5 if right else 6,
        attempts=1,
    )


def no_answer(job_id: int, outcome: Outcome, *, arrival_s: float | None = None) -> LedgerRow:
    """A job that was dropped undecided, or failed at the edge."""
    at_s = 0.1 * job_id if arrival_s is None else arrival_s
    sent = outcome is Outcome.FAILED
    return unanswered(
        Job(job_id=job_id, device="dev1", image=job_id, arrival_s=at_s, deadline_s=DEADLINE_S),
        "greedy",
        SPLIT if sent else None,
        outcome,
        "edge1 does not answer" if sent else "no edge can be reached from dev1",
        dispatch_ms=0.2,
        payload_bytes=324 if sent else 0,
        wire_bytes=524 if sent else 0,
        label=5,
        attempts=int(sent),
    )


def mixed_rows(n: int, seed: int) -> list[LedgerRow]:
    """Jobs of every outcome and decision, in the order of their ids."""
    draw = random.Random(seed)
    rows = []
    for job_id in range(n):
        if draw.random() < 0.1:
            rows.append(no_answer(job_id, draw.choice([Outcome.DROPPED, Outcome.FAILED])))
        else:
            rows.append(
                answer(
                    job_id,
                    stage_ms=draw.expovariate(1 / 17),
                    right=draw.random() < 0.9,
                    decision=draw.choice(DECISIONS),
                    payload=draw.randrange(5000),
                )
            )
    return rows


@pytest.fixture
def mixed() -> Callable[[int, int], list[LedgerRow]]:
    return mixed_rows


@pytest.fixture
def answering() -> Callable[..., LedgerRow]:
    return answer


@pytest.fixture
def not_answering() -> Callable[..., LedgerRow]:
    return no_answer


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for all tests of a file."""
    with browsing(tmp_path_factory.mktemp("chromium")) as found:
        yield found
