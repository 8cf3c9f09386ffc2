"""Every rule of the verdict, broken on purpose: a run is INVALID, and the reason says which with its figures."""

from __future__ import annotations

import msgspec
import pytest

from testbed.documents.resolved import Tolerance
from testbed.jobs.intervals import interval_half, jobs_needed
from testbed.jobs.slot import SlotRow
from testbed.network.certify import Asked, CertificateEntry
from testbed.network.measures import Measured
from testbed.reporting.slots import summarise_slots
from testbed.reporting.summary import summarise
from testbed.reporting.verdict import BUSY, Evidence, judge

UNMEASURED = Measured(None, None, None, None)


def entry(device: str, reason: str | None) -> CertificateEntry:
    asked = Asked(1e7, 5.0, 0.0, 0.0)
    return CertificateEntry((device, "ap1"), "up", asked, UNMEASURED, Tolerance(), reason is None, reason)


@pytest.fixture
def rows(answering):
    return [answering(job_id) for job_id in range(200)]


def dispatched(rows, late_ms: float, count: int):
    """The rows, of which so many were dispatched late; what a job waits for is part of its completion."""
    return [
        msgspec.structs.replace(
            row, dispatch_ms=late_ms, wait_ms=row.wait_ms + late_ms, completion_ms=row.completion_ms + late_ms
        )
        if row.job_id < count
        else row
        for row in rows
    ]


def slots(late: int, left_out: int = 0, failed: int = 0, of: int = 100):
    """The figures of so many slots."""
    found = [SlotRow(n, 0.1 * n, 0.3, 0.7, 9.0 if n < late else -8.0, None) for n in range(of - left_out - failed)]
    found += [SlotRow(n, 0.1 * n, 0.3, 0.7, None, "no way") for n in range(of - failed, of)]
    return summarise_slots(found, [], 0.1, 0.1 * of)


def reasons(rows, issued: int | None = None, **evidence) -> tuple[str, ...]:
    summary = summarise("greedy", rows, issued=issued or len(rows), duration_s=20.0, evidence=Evidence(**evidence))
    assert summary.verdict == ("INVALID" if summary.reasons else "VALID")
    return summary.reasons


def test_a_healthy_run_is_valid(rows) -> None:
    assert not reasons(
        dispatched(rows, 7.0, 2),
        before=[entry("dev1", None)],
        after=[entry("dev1", None)],
        overruns=2,
        cpu_busy={"local": [0.5] * 30 + [1.0] * 10},
        slots=slots(late=3, left_out=2),
        interval=0.03,
    )


def test_one_straggler_of_few_jobs_is_no_reason(rows) -> None:
    assert not reasons(dispatched(rows[:5], 50.0, 1), overruns=1, cpu_busy={"local": [1.0, 0.1]})


@pytest.mark.parametrize(
    ("evidence", "says"),
    [
        ({"losses": ["the process of edge1 died"]}, "the process of edge1 died"),
        (
            {"before": [entry("dev1", None), entry("dev2", "delay is 7.200 ms, asked 5.000")]},
            "before the run, dev2-ap1 up: delay is 7.200 ms, asked 5.000",
        ),
        ({"after": [entry("dev2", "loss is 3 %")]}, "after the run, dev2-ap1 up: loss is 3 %"),
        (
            {"foreign_bytes": ["dev1-ap1 up: 5000 of 9000 bytes carried are not this run's"]},
            "dev1-ap1 up: 5000 of 9000 bytes carried are not this run's",
        ),
        (
            {"overruns": 3},
            f"{BUSY}3 paced computations took more than 2 ms longer than their pace, in 200 jobs; 1% of these may",
        ),
        (
            {"cpu_busy": {"local": [0.5] * 29 + [0.97] * 11}},
            f"{BUSY}its CPUs were more than 95% busy during 28% of the run, 25% may be",
        ),
        (
            {"cpu_busy": {"a": [0.5] * 40, "b": [1.0] * 40}},
            f"{BUSY}the CPUs of b were more than 95% busy during 100% of the run, 25% may be",
        ),
        (
            {"slots": slots(late=4, left_out=2)},
            "6 of 100 slots were decided more than 5 ms after they began, or not at all; 5% may be: a faster policy, "
            "or longer slots",
        ),
        ({"slots": slots(late=0, failed=2)}, "the policy could not decide 2 of 100 slots: no way"),
        (
            {"interval": 0.005},
            "too few jobs: the success probability's 95 % interval is 0.94 % to each side, 0.5 % were asked: 381 jobs "
            "are needed, 200 were issued",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_breaks_one_rule_gives_one_reason(rows, evidence, says) -> None:
    assert reasons(rows, **evidence) == (says,)


def test_late_dispatch(rows) -> None:
    assert reasons(dispatched(rows, 5.5, 3)) == (
        f"{BUSY}3 of 200 jobs were dispatched more than 5 ms late, the latest by 5.5 ms; 1% may be",
    )


def test_a_ledger_that_does_not_add_up(rows) -> None:
    assert reasons(rows, issued=201) == ("201 jobs issued, but 200 on_time + 0 late + 0 failed + 0 dropped = 200",)
    (repeated,) = reasons([*rows[:-1], rows[0]])
    assert repeated == "1 jobs are counted more than once, the first is job 0"
    off = [msgspec.structs.replace(rows[0], completion_ms=95.0), *rows[1:]]
    assert "do not sum to completion_ms within 0.1 ms, the worst is job 0, off by 5.000 ms" in reasons(off)[0]


def test_of_many_reasons_of_a_kind_the_first_are_told(rows) -> None:
    found = judge(rows, len(rows), Evidence(foreign_bytes=[str(number) for number in range(105)]))
    assert found == ("0", "1", "2", "3", "4", "100 more of the kind: see certificate.json")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("half", [0.01, 0.03, 0.1, 0.3, 0.6])
def test_so_many_jobs_are_needed_and_not_one_more(share, half) -> None:
    n = jobs_needed(share, half)
    assert interval_half(share, n) <= half
    assert n == 1 or interval_half(share, n - 1) > half
