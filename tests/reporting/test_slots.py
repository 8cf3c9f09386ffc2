"""Slots in figures, in tables and in files."""

from __future__ import annotations

import io

import msgspec
import pytest

from testbed.jobs.slot import DecidedBy, SlotRow
from testbed.reporting.columns import SLOTS
from testbed.reporting.slots import summarise_slots
from testbed.reporting.stored_run import StoredRun, open_run
from testbed.reporting.summary import summarise
from testbed.reporting.tables import show


def slots(count: int, late_ms: float = -8.0, error: str | None = None) -> list[SlotRow]:
    return [SlotRow(n, 0.1 * n, 0.3, 0.7, None if error else late_ms, error) for n in range(count)]


def test_slots_that_are_missing_or_failed_are_not_on_time(mixed) -> None:
    rows = [*slots(6), SlotRow(6, 0.6, 0.3, 30.0, 22.0, None), SlotRow(8, 0.8, 0.3, 0.1, None, "no")]
    after = SlotRow(10, 1.0, 0.3, 99.0, 99.0, None)  # when no job arrives any more
    jobs = [msgspec.structs.replace(job, decided_by=DecidedBy.SLOT) for job in mixed(3, 1)]
    found = summarise_slots([*rows, after], jobs, 0.1, 1.0)
    assert (found.slots, found.on_time, found.share_on_time) == (10, 6, 0.6)
    assert found.late_p50_ms == -8.0 and 0 < found.late_p99_ms < 22
    assert found.decide_p50_ms == 0.7
    assert found.decided_by == {"slot": 3}
    assert (found.failed, found.error) == (1, "no")


def test_a_run_in_which_nothing_was_decided_has_no_figures() -> None:
    found = summarise_slots([], [], 0.1, 0.05)
    assert (found.slots, found.on_time, found.late_p99_ms, found.decided_by) == (1, 0, None, {})


@pytest.mark.parametrize("several", [False, True])
def test_the_table_tells_of_slots_where_there_are_any(mixed, several: bool) -> None:
    plain = summarise("greedy", mixed(20, 1), issued=20, duration_s=1.0)
    slotted = msgspec.structs.replace(plain, policy="mine:Slots", slots=summarise_slots(slots(8), [], 0.1, 1.0))
    out = io.StringIO()
    show([plain, slotted] if several else [slotted], file=out)
    text = out.getvalue()
    assert "slots within 5 ms" in text and "80.0 % of 10" in text and "-8.0 / -8.0 ms" in text
    out = io.StringIO()
    show([plain], file=out)
    assert "slots" not in out.getvalue()


def test_slots_are_stored_where_there_are_any(tmp_path, mixed) -> None:
    for number, given in enumerate((slots(5), [])):
        run = StoredRun.create(tmp_path, "w", f"p{number}")
        run.append(mixed(3, 1))
        run.append_slots(given[:2])
        run.append_slots(given[2:])
        assert open_run(run.path).slots() is None if not given else len(open_run(run.path).slots()) == 5
        run.finish({}, {}, summarise("p", mixed(3, 1), issued=3, duration_s=1.0))
        found = open_run(run.path).slots()
        assert (run.path / "slots.parquet").exists() == bool(given) and not (run.path / "slots.arrow").exists()
        if given:
            assert found is not None and list(found.columns) == SLOTS.names == list(SlotRow.__struct_fields__)
            assert found["slot"].tolist() == [0, 1, 2, 3, 4]
