"""A run's links on a real network: what was set when, what the board says meanwhile, and which events took hold."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.documents.resolved import (
    Compute,
    CutEvent,
    Event,
    Fading,
    KillEvent,
    LinkChange,
    LinkEvent,
    LinkParameters,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedEdge,
    ResolvedLink,
    ResolvedTopology,
    StartEvent,
    StopEvent,
)
from testbed.network.shape import Shaping
from testbed.runtime.board import Board
from testbed.runtime.paths import Hop
from testbed.runtime.playing import Playing
from testbed.runtime.slot_board import Posting

pytestmark = pytest.mark.root

REST = LinkParameters(20e6, 0.002)
LINKS = [("dev1", "ap1"), ("dev2", "ap1"), ("edge1", "ap1")]
TOPOLOGY = ResolvedTopology(
    name="playing",
    access_points={"ap1": ResolvedAccessPoint()},
    edges={"edge1": ResolvedEdge("ap1", Compute(1e9))},
    devices={"dev1": ResolvedDevice(("ap1",), Compute(1e9)), "dev2": ResolvedDevice(("ap1",), Compute(1e9))},
    links=tuple(ResolvedLink(a, b, REST, REST, 0 if a == "dev2" else None) for a, b in LINKS),
    channels=(Fading(5e6, 60, 3.0, 40, 5, -170, 0.02),),
)
EVENTS: tuple[Event, ...] = (
    LinkEvent(0.2, (LINKS[0],), LinkChange(1e6)),
    CutEvent(0.3, 0.6, (LINKS[0],)),
    KillEvent(0.4, "edge1"),
    StopEvent(0.5, "edge1"),
    StartEvent(0.7, "edge1"),
    LinkEvent(0.8, (LINKS[0],), restore=True),
    LinkEvent(0.8, (LINKS[2],), restore=True),  # nothing to do
    LinkEvent(30.0, (LINKS[0],), LinkChange(2e6)),  # not reached
)


def test_a_run_is_played_recorded_and_put_back(staged: Callable, tmp_path: Path) -> None:
    network = staged(TOPOLOGY).network
    board = Board(tmp_path / "board", TOPOLOGY)
    start_ns = time.monotonic_ns() + 100_000_000
    with subprocess.Popen(["sleep", "60"]) as edge:
        playing = Playing(network, board, start_ns, EVENTS, 1, {"edge1": edge.pid})
        time.sleep(0.55)  # 0.45 s into the run
        seen, first = board.link(Hop(0, "up")), playing.take_rows()
        time.sleep(0.6)
        played = playing.stop()
        assert edge.wait(1) == -signal.SIGKILL
    assert played.faults == []
    assert (seen.bandwidth_bps, seen.loss) == (1e6, 1.0)

    rows = list(zip(first.t_s, first.a, first.direction, first.bandwidth_bps, first.loss, first.asked_s, strict=True))
    assert rows[:6] == [(0.0, a, way, 20e6, 0.0, 0.0) for a, _ in LINKS for way in ("up", "down")]
    assert all(0 <= t_s - asked_s < 0.05 for t_s, *_, asked_s in rows)
    up = [(asked_s, rate, loss) for _, a, way, rate, loss, asked_s in rows if (a, way) == ("dev1", "up")]
    assert up == [(0.0, 20e6, 0.0), (0.2, 1e6, 0.0), (0.3, 1e6, 1.0)]
    later = played.rows
    up = [
        (later.asked_s[number], later.bandwidth_bps[number], later.loss[number])
        for number in range(len(later.t_s))
        if (later.a[number], later.direction[number]) == ("dev1", "up")
    ]
    assert up == [(0.6, 1e6, 0.0), (0.8, 20e6, 0.0)]
    assert len(first.a + later.a) > 6 + 10 + 40  # those found, those of the events, and the fading
    assert set(network.links().values()) == {(REST, REST)}

    assert [(event.at_s, event.what) for event in played.events] == [
        (0.2, "set dev1-ap1"),
        (0.3, "cut dev1-ap1"),
        (0.4, "kill edge1"),
        (0.5, "stop edge1"),
        (0.6, "end of the cut of dev1-ap1"),
        (0.7, "start edge1"),
        (0.8, "restore dev1-ap1"),
        (0.8, "restore edge1-ap1"),
        (30.0, "set dev1-ap1"),
    ]
    for event in played.events[:7]:
        assert event.applied_s is not None and 0 <= event.applied_s - event.at_s < 0.05
    assert [event.applied_s for event in played.events[7:]] == [None, None]


def test_runs_of_one_seed_have_the_same_channel(staged: Callable, tmp_path: Path) -> None:
    network = staged(TOPOLOGY).network
    board = Board(tmp_path / "board", TOPOLOGY)

    def channel(seed: int) -> list[tuple[float, float]]:
        playing = Playing(network, board, time.monotonic_ns(), (), seed, {})
        time.sleep(0.3)
        rows = playing.stop().rows
        return list(zip(rows.asked_s, rows.bandwidth_bps, strict=True))[6:]

    one, again, other = channel(1), channel(1), channel(2)
    common = min(len(one), len(again), len(other))
    assert common > 10
    assert one[:common] == again[:common] != other[:common]


@pytest.mark.parametrize("shaping", [Shaping.RELAY, pytest.param(Shaping.NETEM, marks=pytest.mark.netem)])
def test_slots_give_links_shares_of_their_rates_until_they_are_given_up(
    staged: Callable, tmp_path: Path, shaping: Shaping
) -> None:
    """dev1's link is changed by an event, dev2's fades every 20 ms: both keep a share, and the board tells neither."""
    network = staged(TOPOLOGY, shaping).network
    board = Board(tmp_path / "board", TOPOLOGY)
    board.slots.clear()

    def given(link: int, share: float, limit_bps: float = 1e9) -> Posting:
        return Posting(0, "edge1", Hop(link, "up"), share, limit_bps)

    slot_s, start_ns = 0.05, time.monotonic_ns() + 300_000_000  # a slow machine takes a while to begin
    events = (LinkEvent(0.12, (LINKS[0],), LinkChange(8e6)),)
    board.slots.post(0, {"dev1": given(0, 0.5), "dev2": given(1, 0.25)})
    playing = Playing(network, board, start_ns, events, 1, {}, slot_s)
    time.sleep(0.35)  # 0.05 s into the run
    board.slots.post(4, {"dev1": Posting(0, None), "dev2": given(1, 0.25, 3e6)})
    time.sleep(0.65)  # 0.7 s into the run: slot 4 was given up at 0.5 s
    played = playing.stop()
    assert played.faults == [] and board.link(Hop(0, "up")).bandwidth_bps == 8e6
    assert set(network.links().values()) == {(REST, REST)}
    found = played.rows
    rows = list(zip(found.a, found.direction, found.asked_s, found.bandwidth_bps, strict=True))

    def rates(device: str, way: str = "up") -> list[tuple[float, float]]:
        return [(round(asked_s, 3), rate) for a, direction, asked_s, rate in rows if (a, direction) == (device, way)]

    assert rates("dev1") == [(0.0, 20e6), (0.0, 10e6), (0.12, 4e6), (0.2, 8e6)]
    assert rates("edge1") == [(0.0, 20e6)] and rates("dev2", "down") == [(0.0, 20e6)]
    alone = Playing(network, board, time.monotonic_ns(), (), 1, {})  # the same channel with nothing allotted of it
    time.sleep(0.75)
    found = alone.stop().rows
    rows_alone = zip(found.a, found.direction, found.asked_s, found.bandwidth_bps, strict=True)
    whole = {round(at_s, 3): rate for a, direction, at_s, rate in rows_alone if (a, direction) == ("dev2", "up")}
    told = rates("dev2")
    begun = next(number for number, row in enumerate(told) if row in [(0.0, 0.25 * 20e6), (0.0, 0.25 * whole[0.0])])
    faded = [(at_s, rate) for at_s, rate in told[begun:] if at_s in whole and at_s > 0]  # a held machine begins late
    assert len(faded) > 25
    for at_s, rate in faded:
        if at_s < 0.2:
            assert rate == 0.25 * whole[at_s]
        elif at_s < 0.5:
            assert rate == 0.25 * min(whole[at_s], 3e6)
        elif at_s > 0.52:
            assert rate == whole[at_s]
