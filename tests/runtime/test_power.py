"""Nodes that are switched off and on during a run, over real links."""

import asyncio
import time

import pytest

from testbed.documents.resolved import (
    Compute,
    LinkParameters,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedEdge,
    ResolvedLink,
    ResolvedTopology,
    StartEvent,
    StopEvent,
)
from testbed.jobs.ledger import Outcome
from testbed.runtime.alarm import Alarm
from testbed.runtime.power import follow
from testbed.workload.byte_proof import faults, prove

pytestmark = pytest.mark.root

LINK = LinkParameters(20e6, 0.002)
PACE = Compute(1e9)
STAR = ResolvedTopology(
    name="star",
    access_points={"ap1": ResolvedAccessPoint()},
    edges={"edge1": ResolvedEdge("ap1", PACE)},
    devices={"dev1": ResolvedDevice(("ap1",), PACE), "dev2": ResolvedDevice(("ap1",), PACE)},
    links=tuple(ResolvedLink(name, "ap1", LINK, LINK) for name in ("dev1", "dev2", "edge1")),
)
OFF_S, ON_S = 0.5, 1.2


def switched(stage, node: str, events):
    """Cuts the node's links while it is off, as the network's player does."""

    async def follow(start_s: float) -> None:
        for event in events:
            await asyncio.sleep(max(0.0, start_s + event.at_s - time.monotonic()))
            loss = 1.0 if isinstance(event, StopEvent) else 0.0
            parameters = LinkParameters(LINK.bandwidth_bps, LINK.delay_s, loss=loss)
            stage.network.set_link(node, "ap1", parameters, parameters)

    return follow


def test_a_stopped_device_ends_its_jobs_and_goes_on_when_started(staged, jobs) -> None:
    stage = staged(STAR)
    events = (StopEvent(OFF_S, "dev1"), StartEvent(ON_S, "dev1"))
    played = stage.play(jobs(20, 0.1), events=events, meanwhile=switched(stage, "dev1", events))
    assert len(played.rows) == 20  # each is accounted for once
    for row in played.rows:
        if row.arrival_s < OFF_S - 0.1 or row.arrival_s > ON_S + 0.3:
            assert row.outcome is Outcome.ON_TIME, row
        elif OFF_S <= row.arrival_s < ON_S:
            assert (row.outcome, row.error, row.attempts) == (Outcome.DROPPED, "dev1 was stopped", 0)
    assert faults(prove(STAR, played.carried, played.tallies, played.rows)) == []


def test_a_job_under_way_when_its_device_stops_has_failed(staged, jobs) -> None:
    stage = staged(STAR)
    slow = LinkParameters(1e6, 0.002)  # 160 ms for a payload
    stage.network.set_link("dev1", "ap1", slow, LINK)
    events = (StopEvent(OFF_S, "dev1"),)
    played = stage.play(jobs(1, 0, first_s=OFF_S - 0.05), events=events)
    (row,) = played.rows
    assert (row.outcome, row.error, row.attempts) == (Outcome.FAILED, "dev1 was stopped", 1)
    assert row.wire_bytes > 20_000
    assert faults(prove(STAR, played.carried, played.tallies, played.rows)) == []


def test_an_edge_that_was_stopped_serves_again_when_started(staged, jobs) -> None:
    stage = staged(STAR)
    events = (StopEvent(OFF_S, "edge1"), StartEvent(ON_S, "edge1"))
    played = stage.play(jobs(40, 0.1), events=events, meanwhile=switched(stage, "edge1", events))
    assert len(played.rows) == 40
    early = [row for row in played.rows if row.arrival_s < OFF_S - 0.1]
    last = [row for row in played.rows if row.arrival_s > ON_S + 2]
    assert {row.outcome for row in (*early, *last)} == {Outcome.ON_TIME}
    during = [row for row in played.rows if OFF_S < row.arrival_s < ON_S - 0.1]
    assert all(row.outcome is not Outcome.ON_TIME or row.completion_ms > 100 for row in during)
    assert faults(prove(STAR, played.carried, played.tallies, played.rows)) == []


def test_a_node_keeps_its_events_instants() -> None:
    async def main() -> list[float]:
        alarm, late_s = Alarm(), []
        start_s = time.monotonic() + 0.05
        events = [kind(0.1 * number, "dev1") for number, kind in enumerate((StopEvent, StartEvent) * 3)]

        async def note() -> None:
            late_s.append(time.monotonic() - start_s - events[len(late_s)].at_s)

        await follow(alarm, start_s, events, note, note)
        alarm.close()
        return late_s

    late_s = asyncio.run(main())
    assert len(late_s) == 6 and min(late_s) >= 0
    assert sorted(late_s)[3] < 0.005
