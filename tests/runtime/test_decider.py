"""Deciding by slots: when it is decided, what is seen, and what devices make of it when nothing comes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from testbed.documents.resolved import (
    Compute,
    LinkParameters,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedEdge,
    ResolvedLink,
    ResolvedTopology,
)
from testbed.jobs.decision import LOCAL, Decision
from testbed.jobs.job import Job
from testbed.jobs.observation import Air
from testbed.jobs.slot import LAST_FOR, DecidedBy, SlotRow
from testbed.offloading.slots import Assignment, SlotObservation
from testbed.runtime.alarm import Alarm
from testbed.runtime.board import Board
from testbed.runtime.decider import Assigned, Outlook, SlotClock, ahead_s, decide_slots, jobs_per_s
from testbed.runtime.paths import Hop
from testbed.runtime.slot_board import Posting
from tests.runtime.conftest import PROFILE, RAW

REST = LinkParameters(10e6, 0.005)
TOPOLOGY = ResolvedTopology(
    name="slots",
    access_points={"ap1": ResolvedAccessPoint(6e6), "ap2": ResolvedAccessPoint()},
    edges={"edge1": ResolvedEdge("ap1", Compute(2e11)), "edge2": ResolvedEdge("ap2", Compute())},
    devices={"dev1": ResolvedDevice(("ap1", "ap2"), Compute(5e9)), "dev2": ResolvedDevice(("ap2",), Compute())},
    links=tuple(
        ResolvedLink(a, b, REST, REST)
        for a, b in (("dev1", "ap1"), ("dev1", "ap2"), ("dev2", "ap2"), ("edge1", "ap1"), ("ap2", "edge2"))
    ),
)
SLOT_S = 0.05


@pytest.fixture
def board(tmp_path: Path) -> Board:
    board = Board(tmp_path / "board", TOPOLOGY)
    for link in TOPOLOGY.links:
        for direction in (0, 1):
            board.set_link((link.a, link.b), direction, REST)
    for device in TOPOLOGY.devices:
        for edge in TOPOLOGY.edges:
            board.set_unsent(device, edge, 0)
    board.slots.clear()
    return board


class Policy:
    """Everything local, after so long."""

    def __init__(self, takes_s: float = 0.0, fails_in: tuple[int, ...] = ()) -> None:
        self.takes_s, self.fails_in = takes_s, fails_in
        self.asked: list[int] = []

    def decide_slot(self, observation: SlotObservation) -> dict[str, Assignment]:
        slot = round(observation.now_s / observation.slot_s)
        self.asked.append(slot)
        time.sleep(self.takes_s)
        if slot in self.fails_in:
            raise KeyError("edge9")
        return {device: Assignment(Decision(LOCAL)) for device in observation.devices}


def decided(board: Board, policy: Policy, for_s: float) -> list[SlotRow]:
    clock = SlotClock(time.monotonic() + 0.05, SLOT_S)
    outlook = Outlook(TOPOLOGY, board, PROFILE, SLOT_S, 0.2)
    rows: list[SlotRow] = []
    stopping = threading.Event()
    timer = threading.Timer(0.05 + for_s, stopping.set)
    timer.start()
    decide_slots(
        clock,
        outlook.observe,
        policy,
        lambda slot, assignments: board.slots.post(slot, outlook.postings(assignments)),
        rows.append,
        stopping,
    )
    timer.join()
    return rows


def test_slots_are_decided_ahead_one_after_another_and_never_drift(board: Board) -> None:
    rows = decided(board, Policy(), 0.6)
    slots = [row.slot for row in rows]
    assert slots == sorted(set(slots)) and slots[0] == 0 and 11 <= slots[-1] <= 13
    assert [row.begins_s for row in rows] == [pytest.approx(slot * SLOT_S) for slot in slots]
    assert all(row.error is None for row in rows) and all(row.late_ms > -15.5 for row in rows[1:])
    assert sorted(row.late_ms for row in rows)[len(rows) // 2] < 0  # ahead, but where the machine was busy
    assert board.slots.newest_slot() == slots[-1]


def test_a_decider_that_is_too_slow_leaves_slots_out(board: Board) -> None:
    policy = Policy(takes_s=2.4 * SLOT_S)
    rows = decided(board, policy, 0.6)
    assert len(rows) <= 6
    assert policy.asked == [row.slot for row in rows]
    gaps = [after - before for before, after in zip(policy.asked, policy.asked[1:], strict=False)]
    assert min(gaps) >= 2
    assert all(row.late_ms > 1e3 * SLOT_S and row.decide_ms >= 2.4e3 * SLOT_S for row in rows)


def test_a_slot_that_the_policy_cannot_decide_is_told_and_the_next_is_decided(board: Board) -> None:
    rows = decided(board, Policy(fails_in=(2,)), 0.4)
    assert [(row.slot, row.error, row.late_ms) for row in rows if row.error] == [(2, "'edge9'", None)]
    assert board.slots.newest_slot() == rows[-1].slot > 2


def test_a_slot_is_seen_as_the_board_has_it(board: Board) -> None:
    clock = SlotClock(time.monotonic() + 1.0, SLOT_S)
    board.set_busy_until("dev1", clock.begins_s(2) + 0.3)
    board.set_busy_until("edge1", clock.begins_s(1))  # done by then
    board.set_busy_until("edge2", clock.begins_s(2) + 0.02)
    board.set_link(("dev1", "ap2"), 0, LinkParameters(3e6, 0.001, loss=0.1))
    board.set_unsent("dev1", "edge2", 700)
    board.set_unsent("dev1", "edge1", None)
    seen = Outlook(TOPOLOGY, board, PROFILE, SLOT_S, 0.2).observe(2, clock.begins_s(2))
    assert (seen.now_s, seen.slot_s) == (pytest.approx(0.1), SLOT_S)
    dev1, dev2 = seen.devices["dev1"], seen.devices["dev2"]
    assert set(dev1.edges) == {"edge2"} and set(dev2.edges) == {"edge2"}
    assert dev1.backlog_s == pytest.approx(0.3) and dev2.backlog_s == 0
    assert (dev1.flops_per_s, dev2.flops_per_s) == (5e9, PROFILE.reference_flops_per_s)
    edge = dev1.edges["edge2"]
    assert (edge.up.bandwidth_bps, edge.up.delay_s, edge.unsent_bytes) == (3e6, pytest.approx(0.006), 700)
    assert edge.up.loss == pytest.approx(0.1) and edge.down.loss == 0
    assert edge.backlog_s == pytest.approx(0.02)
    assert dev2.edges["edge2"].up.bandwidth_bps == 10e6 and dev2.edges["edge2"].air is None
    assert dev2.jobs_per_s == 0


def test_a_slot_tells_what_links_share_and_how_many_jobs_arrive(board: Board) -> None:
    outlook = Outlook(TOPOLOGY, board, PROFILE, SLOT_S, 0.2, jobs_per_s=3.0)
    seen = outlook.observe(0, time.monotonic())
    assert {view.jobs_per_s for view in seen.devices.values()} == {3.0}
    assert seen.devices["dev1"].edges["edge1"].air == Air("ap1", 6e6)
    assert seen.devices["dev1"].edges["edge2"].air is None
    jobs = [Job(number, f"dev{1 + number % 2}", 0, 0.5 * number + 0.01, 0.2) for number in range(13)]
    assert jobs_per_s(jobs, 2, SLOT_S, None) == pytest.approx(13 / 2 / 6.01)
    assert jobs_per_s(jobs, 2, SLOT_S, 30.0) == jobs_per_s([], 2, SLOT_S, None) == 0  # each after the one before
    slotted = [msgspec.structs.replace(job, arrival_s=0.05 * round(job.arrival_s / 0.05)) for job in jobs]
    assert jobs_per_s(slotted, 2, SLOT_S, None) == 0


def test_a_slot_is_looked_at_the_longer_ahead_the_more_there_is_but_never_before_the_last_has_half_gone() -> None:
    many = msgspec.structs.replace(TOPOLOGY, devices={f"dev{n}": ResolvedDevice((), Compute()) for n in range(200)})
    assert 0.01 <= ahead_s(TOPOLOGY) < 0.02 < ahead_s(many) < 0.05
    clock = SlotClock(100.0, 0.1, ahead_s(many))
    assert clock.looks_s(3) == pytest.approx(100.3 - ahead_s(many))
    assert SlotClock(100.0, 0.02, ahead_s(many)).looks_s(3) == pytest.approx(100.05)


def test_a_share_is_limited_by_what_the_rest_of_the_way_passes(board: Board) -> None:
    outlook = Outlook(TOPOLOGY, board, PROFILE, SLOT_S, 0.2)
    board.set_link(("ap2", "edge2"), 0, LinkParameters(4e6))
    found = outlook.postings(
        {"dev1": Assignment(Decision(RAW, "edge1"), 0.5), "dev2": Assignment(Decision(RAW, "edge2"), 0.25)}
    )
    assert found == {
        "dev1": Posting(1, "edge1", Hop(0, "up"), 0.5, 6e6),
        "dev2": Posting(1, "edge2", Hop(2, "up"), 0.25, 4e6),
    }
    for whole in (Assignment(Decision(LOCAL), 0.5), Assignment(Decision(RAW, "edge2"))):
        assert outlook.postings(dict.fromkeys(TOPOLOGY.devices, whole))["dev1"].given is None


def in_a_slot(board: Board, slot: int, into_s: float, act: Callable[[SlotClock], None] = lambda clock: None):
    """What a job is assigned that arrives so long into a slot, and how long that took."""

    async def assigned():
        alarm = Alarm()
        clock = SlotClock(time.monotonic() - slot * SLOT_S - into_s, SLOT_S)
        act(clock)
        before_s = time.monotonic()
        found = await Assigned(board.slots, "dev1", PROFILE, SLOT_S, alarm).decision(clock.start_s)
        took_s = time.monotonic() - before_s
        alarm.close()
        return found, took_s

    return asyncio.run(assigned())


def test_a_job_takes_the_slots_decision_then_the_last_then_greedy(board: Board) -> None:
    assert in_a_slot(board, 0, 0.02)[0] == (DecidedBy.GREEDY, None)
    board.slots.post(3, {name: Posting(0, None) for name in TOPOLOGY.devices})
    board.slots.post(4, {name: Posting(1, "edge1") for name in TOPOLOGY.devices})
    local, raw = Decision(LOCAL), Decision(RAW, "edge1")
    assert in_a_slot(board, 3, 0.02)[0] == (DecidedBy.SLOT, local)  # the next slot's is there and is not taken
    assert in_a_slot(board, 4, 0.02)[0] == (DecidedBy.SLOT, raw)
    assert in_a_slot(board, 5, 0.02)[0] == (DecidedBy.LAST, raw)
    assert in_a_slot(board, 4 + LAST_FOR, 0.02)[0] == (DecidedBy.LAST, raw)
    assert in_a_slot(board, 5 + LAST_FOR, 0.02)[0] == (DecidedBy.GREEDY, None)


def test_a_job_waits_a_little_for_a_decision_that_is_late_and_no_longer(board: Board) -> None:
    board.slots.post(6, {name: Posting(0, None) for name in TOPOLOGY.devices})
    late = {name: Posting(1, "edge1") for name in TOPOLOGY.devices}

    def post_soon(clock: SlotClock) -> None:
        threading.Timer(0.002, board.slots.post, (7, late)).start()

    by, decision = in_a_slot(board, 8, 0.0)[0]  # nobody decided slot 7 either: it is not waited for
    assert (by, decision) == (DecidedBy.LAST, Decision(LOCAL))
    (by, decision), took_s = in_a_slot(board, 7, 0.0)
    assert (by, decision) == (DecidedBy.LAST, Decision(LOCAL)) and took_s >= 0.004
    for _ in range(5):  # the machine may be too busy once
        board.slots.clear()
        board.slots.post(6, {name: Posting(0, None) for name in TOPOLOGY.devices})
        (by, decision), took_s = in_a_slot(board, 7, 0.0, post_soon)
        time.sleep(0.01)
        if by is DecidedBy.SLOT:
            break
    assert (by, decision) == (DecidedBy.SLOT, Decision(RAW, "edge1")) and took_s > 0.001
