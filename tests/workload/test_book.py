"""The ledger as it fills: every job once, whatever became of its device's process."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from testbed.jobs.decision import LOCAL, Decision
from testbed.jobs.job import Job
from testbed.jobs.ledger import STAGES, LedgerRow, Outcome, answered
from testbed.jobs.profile import Profile
from testbed.reporting.stored_run import StoredRun, open_run
from testbed.runtime.asking import AssemblyError
from testbed.workload.inputs import Inputs
from testbed.workload.run import Book

JOBS = tuple(Job(job_id, f"dev{job_id // 10 + 1}", 0, 0.0, 0.2) for job_id in range(30))
INPUTS = Inputs(JOBS, Profile("0" * 64, "sample", 1, 128, 1e9, ()), {0: 7}, Path("store"), ())


def row(job_id: int) -> LedgerRow:
    at = {"payload_bytes": 0, "wire_bytes": 0, "label": 7, "predicted": 7, "attempts": 1, "dispatch_ms": 0.1}
    return answered(JOBS[job_id], "local", Decision(LOCAL), dict.fromkeys(STAGES, 1.0), **at)


def book(tmp_path) -> Book:
    return Book(INPUTS, "local", StoredRun.create(tmp_path, "w", "local"))


def dead(device: str) -> str | None:
    return "the process of devices-1 died" if device == "dev2" else None


def test_what_a_dead_process_was_given_has_failed(tmp_path) -> None:
    kept = book(tmp_path)
    kept.add([row(job_id) for job_id in range(30) if job_id not in (12, 13, 14)])
    kept.close(dead, None)
    assert (kept.issued, len(kept.rows), kept.ended) == (30, 30, Counter(on_time=27, failed=3))
    assert {one.error for one in kept.rows if one.outcome is Outcome.FAILED} == {"the process of devices-1 died"}


def test_an_interrupted_run_accounts_for_the_rest(tmp_path) -> None:
    for fault, error in ((KeyboardInterrupt(), "the run was interrupted"), (AssemblyError("gone"), "gone")):
        kept = book(tmp_path)
        kept.add([row(0)])
        kept.close(lambda device: None, fault)
        assert {one.error for one in kept.rows[1:]} == {error} and len(kept.rows) == 30


def test_a_row_that_is_missing_without_a_reason_stays_missing(tmp_path) -> None:
    kept = book(tmp_path)
    kept.add([row(job_id) for job_id in range(29)])
    kept.close(lambda device: None, None)
    assert (kept.issued, len(kept.rows)) == (30, 29)


def test_chained_jobs_that_were_never_issued_are_taken_out(tmp_path) -> None:
    kept = book(tmp_path)
    kept.add([row(job_id) for job_id in (0, 1, 2, 3, 10, 11, 20, 22)])
    kept.withdraw(dead)
    kept.close(dead, None)
    assert sorted(one.job_id for one in kept.rows) == [0, 1, 2, 3, 10, 11, 12, 20, 22]
    assert kept.ended == Counter(on_time=8, failed=1)  # job 12, which the process was at when it died
    assert kept.issued == 10  # job 21 lies between two that were issued, and is missing
    (folder,) = tmp_path.iterdir()
    assert len(open_run(folder).rows()) == 9
