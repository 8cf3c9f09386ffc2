"""Whole runs on the model: what each stage takes, what events do, and that every job is accounted for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from testbed.documents.resolved import (
    Compute,
    CutEvent,
    Event,
    KillEvent,
    LinkChange,
    LinkEvent,
    PolicySpec,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedEdge,
    ResolvedLink,
    ResolvedTopology,
    StartEvent,
    StopEvent,
)
from testbed.jobs.decision import Decision, Kind, Option
from testbed.jobs.job import Job
from testbed.jobs.ledger import STAGES, Outcome
from testbed.jobs.observation import Observation
from testbed.jobs.slot import DecidedBy
from testbed.offloading.slots import Assignment, SlotObservation
from testbed.reporting.verdict import Evidence, judge
from tests.simulation.conftest import Simulate, jobs, star

FULL = PolicySpec("full", {"encoding": "jpeg"})
LOCAL = PolicySpec("local")


def test_a_run_without_losses_takes_what_links_and_paces_say(simulate: Simulate) -> None:
    found = simulate(star(), jobs(star(), 20), FULL)
    assert not judge(found.rows, 40, Evidence())
    for row in found.rows:
        assert row.outcome is Outcome.ON_TIME and row.edge == "edge1" and row.payload_bytes == 4000
        uplink_ms = 8e3 * (row.wire_bytes + 3 * 52) / 10e6 + 5.2
        assert uplink_ms < row.uplink_ms < uplink_ms + 1
        assert row.encode_ms == pytest.approx(2.2) and row.tail_ms == pytest.approx(5.1)
        assert row.downlink_ms == pytest.approx(5.7, abs=0.3) and row.predicted == row.image


def test_the_same_seed_gives_the_same_run_to_the_last_digit(simulate: Simulate) -> None:
    lossy = star(loss=0.05)
    first, again, other = (simulate(lossy, jobs(lossy, 40), FULL, seed=seed).rows for seed in (1, 1, 2))
    assert first == again != other


def test_a_busy_device_and_a_busy_edge_make_jobs_wait_their_turn(simulate: Simulate) -> None:
    one = star(1)
    found = simulate(one, jobs(one, 5, every_s=0.02, deadline_s=1.0), LOCAL)  # 40 ms each
    waits_ms = [row.wait_ms for row in sorted(found.rows, key=lambda row: row.job_id)]
    assert waits_ms == pytest.approx([0.4 + 20.2 * number for number in range(5)], abs=0.5)
    many = star(8)
    found = simulate(many, jobs(many, 1), FULL)  # all at once
    waits_ms = sorted(row.edge_wait_ms for row in found.rows)
    assert waits_ms[-1] > 6 * 5.0 and waits_ms[0] < 0.3


def test_a_change_of_a_link_is_met_and_recorded(simulate: Simulate) -> None:
    poor = LinkEvent(2.0, (("dev1", "ap1"),), up=LinkChange(bandwidth_bps=1e6))
    found = simulate(star(), jobs(star(), 16), FULL, [poor])
    uplinks_ms = {
        (row.device, row.arrival_s < 2.0): row.uplink_ms for row in sorted(found.rows, key=lambda row: row.arrival_s)
    }
    assert uplinks_ms["dev1", False] > 34 > 10 > uplinks_ms["dev1", True]
    assert uplinks_ms["dev2", False] < 10
    assert [happened.applied_s for happened in found.events] == [2.0]
    rows = list(zip(found.links.t_s, found.links.a, found.links.direction, found.links.bandwidth_bps, strict=True))
    assert len(rows) == 7 and rows[-1] == (2.0, "dev1", "up", 1e6)


def test_greedy_goes_local_when_the_link_gets_poor(simulate: Simulate) -> None:
    poor = LinkEvent(2.0, (("dev1", "ap1"),), up=LinkChange(bandwidth_bps=1e5))
    found = simulate(star(), jobs(star(), 16), PolicySpec("greedy"), [poor])
    decisions = {(row.device, row.arrival_s <= 2.0): row.decision for row in found.rows}
    assert decisions == {
        ("dev1", True): "full",
        ("dev1", False): "local",
        ("dev2", True): "full",
        ("dev2", False): "full",
    }


EDGE_EVENTS: list[tuple[list[Event], str]] = [
    ([KillEvent(1.1, "edge1")], "edge"),
    ([StopEvent(1.1, "edge1")], "unanswered"),
    ([CutEvent(1.1, 60.0, (("edge1", "ap1"),))], "unanswered"),
]


@pytest.mark.parametrize(("events", "reason"), EDGE_EVENTS, ids=["kill", "stop", "cut"])
def test_jobs_of_a_lost_edge_fail_with_the_reason(simulate: Simulate, events: list[Event], reason: str) -> None:
    found = simulate(star(), jobs(star(), 16), FULL, events)
    assert not judge(found.rows, 32, Evidence())
    for row in found.rows:
        if row.arrival_s < 1.0:
            assert row.outcome is Outcome.ON_TIME
        elif row.arrival_s > 1.2:
            assert row.outcome in (Outcome.FAILED, Outcome.DROPPED) and reason in str(row.error)


def test_an_edge_that_comes_back_answers_again(simulate: Simulate) -> None:
    found = simulate(star(), jobs(star(), 40), FULL, [StopEvent(1.1, "edge1"), StartEvent(2.1, "edge1")])
    outcomes = {row.arrival_s: row.outcome for row in found.rows}
    assert outcomes[1.0] is Outcome.ON_TIME and outcomes[1.5] is not Outcome.ON_TIME
    assert all(outcome is Outcome.ON_TIME for arrival_s, outcome in outcomes.items() if arrival_s > 6)


def test_a_device_that_is_switched_off_drops_its_jobs(simulate: Simulate) -> None:
    found = simulate(star(), jobs(star(), 40), FULL, [StopEvent(1.1, "dev1"), StartEvent(2.1, "dev1")])
    assert not judge(found.rows, 80, Evidence())
    off = [row for row in found.rows if row.device == "dev1" and 1.1 < row.arrival_s < 2.1]
    assert off and all(row.outcome is Outcome.DROPPED and row.error == "dev1 was stopped" for row in off)
    rest = [row for row in found.rows if row not in off]
    assert Counter(row.outcome for row in rest if row.arrival_s < 1.1 or row.arrival_s > 3)[Outcome.ON_TIME] > 60
    assert all(row.outcome is Outcome.ON_TIME for row in rest if row.device == "dev2")


def test_in_a_single_stream_a_job_arrives_when_the_last_has_ended(simulate: Simulate) -> None:
    one = star(1)
    found = simulate(one, jobs(one, 1000, every_s=0.0), LOCAL, chained_s=1.0)
    rows = sorted(found.rows, key=lambda row: row.job_id)
    ends_s = [row.arrival_s + row.completion_ms / 1e3 for row in rows]
    assert [row.arrival_s for row in rows[1:]] == pytest.approx(ends_s[:-1]) and 23 <= len(rows) <= 25
    assert rows[0].arrival_s == 0 and ends_s[-1] > 1.0 > rows[-1].arrival_s


def test_in_a_single_stream_a_job_that_comes_to_nothing_holds_its_device_until_its_deadline(simulate: Simulate) -> None:
    one = star(1)
    found = simulate(one, jobs(one, 1000, every_s=0.0), FULL, [KillEvent(0.5, "edge1")], chained_s=2.0)
    rows = sorted(found.rows, key=lambda row: row.job_id)
    dropped = [row for row in rows if row.outcome is Outcome.DROPPED]
    assert 4 <= len(dropped) <= 8 and rows[0].outcome is Outcome.ON_TIME
    assert np.diff([row.arrival_s for row in dropped[1:]]) == pytest.approx(0.2)  # the first was at work in the kill


class Shares:
    """Slots: the first device has a quarter of its link; after the fifth slot nothing can be decided."""

    def __init__(self, seed: int) -> None:
        self.seen: list[SlotObservation] = []

    def decide_slot(self, observation: SlotObservation) -> dict[str, Assignment]:
        if observation.now_s > 0.45:
            raise ValueError("no more")
        full = Decision(Option(Kind.FULL, "jpeg"), "edge1")
        return {name: Assignment(full, 0.25 if name == "dev1" else 1.0) for name in observation.devices}


def test_slots_are_decided_allotted_kept_and_given_up(simulate: Simulate) -> None:
    policy = PolicySpec(f"{__name__}:Shares")
    found = simulate(star(), jobs(star(), 30, every_s=0.05), policy)
    by = {round(row.arrival_s, 2): row.decided_by for row in found.rows}
    assert by[0.0] is by[0.45] is DecidedBy.SLOT and by[0.55] is by[0.95] is DecidedBy.LAST
    assert by[1.05] is DecidedBy.GREEDY
    uplinks_ms = {row.device: row.uplink_ms for row in found.rows if row.arrival_s == 0.2}
    assert uplinks_ms["dev1"] > 3 * 3.3 + 5 > uplinks_ms["dev2"]
    given = [
        (round(t_s, 3), bandwidth_bps)
        for t_s, a, way, bandwidth_bps in zip(
            found.links.t_s, found.links.a, found.links.direction, found.links.bandwidth_bps, strict=True
        )
        if (a, way) == ("dev1", "up")
    ]
    assert given == [(0.0, 10e6), (0.0, 2.5e6), (1.0, 10e6)]
    assert [slot.error for slot in found.slots[:6]] == [None] * 5 + ["no more"]


class Watching:
    """Remembers what it sees."""

    seen: list[Observation] = []  # noqa: RUF012  of the one run

    def __init__(self, seed: int) -> None:
        self.seen.clear()

    def decide(self, observation: Observation) -> Decision:
        self.seen.append(observation)
        return Decision(Option(Kind.FULL, "raw"), "edge1")


def test_policies_see_backlogs_and_what_is_unsent(simulate: Simulate) -> None:
    one = star(1, bandwidth_bps=2e6)
    issued = [Job(0, "dev1", 0, 0.0, 1.0), Job(1, "dev1", 0, 0.03, 1.0), Job(2, "dev1", 0, 0.9, 1.0)]
    simulate(one, issued, PolicySpec(f"{__name__}:Watching"))
    first, second, third = (observation.edges["edge1"] for observation in Watching.seen)
    assert first.unsent_bytes == 0 and 25_000 < second.unsent_bytes < 40_100
    assert third.unsent_bytes == 0 and third.up.bandwidth_bps == 2e6
    assert third.up.delay_s == pytest.approx(0.0052) and third.flops_per_s == 2e11


def test_a_job_for_an_edge_out_of_reach_is_dropped(simulate: Simulate) -> None:
    apart = ResolvedTopology(
        name="apart",
        access_points={"ap1": ResolvedAccessPoint(), "ap2": ResolvedAccessPoint()},
        edges={"edge1": ResolvedEdge("ap2", Compute(2e11))},
        devices={"dev1": ResolvedDevice(("ap1",), Compute(5e9))},
        links=tuple(ResolvedLink(a, b, *(star().links[0].up,) * 2) for a, b in (("dev1", "ap1"), ("edge1", "ap2"))),
    )
    (row,) = simulate(apart, jobs(apart, 1), FULL).rows
    assert row.outcome is Outcome.DROPPED and row.error == "no edge can be reached from dev1"
    assert all(getattr(row, f"{stage}_ms") is None for stage in STAGES)
