"""What crosses between machines, what the real network cannot give of it, how halves of a measurement are joined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from testbed.documents.resolved import (
    LinkChange,
    LinkEvent,
    LinkParameters,
    ResolvedAccessPoint,
    ResolvedLink,
    ResolvedTopology,
    Schedule,
)
from testbed.network.addressing import addressing
from testbed.network.certify_parts import Compared, Round, certify_parts, joined
from testbed.network.counters import Arrived, Carried, Counted
from testbed.network.counters import joined as joined_counters
from testbed.network.errors import RefusedError
from testbed.network.part import Part, event_faults, pairs, parts, whole
from testbed.network.probing import Probing, Stream
from testbed.network.shape import queue_bytes
from testbed.network.underlay import Underlay
from testbed.network.wires import wires
from tests.network.conftest import star
from tests.network.test_certificate import times_over

LINK = LinkParameters(10e6, 0.005, 0.001, 0.01)
TOPOLOGY = star(3, LINK, LinkParameters(40e6, 0.002))
PLACEMENT = {"ap1": "lab1", "dev1": "lab1", "dev2": "lab2", "dev3": "lab3", "edge1": "lab2"}
ADDRESSES = {"lab1": "10.9.0.1", "lab2": "10.9.0.2", "lab3": "10.9.0.3"}
LAN = Underlay(0.0006, (900e6, 500e6), 1500)
UNDERLAYS = {("lab1", "lab2"): LAN, ("lab1", "lab3"): Underlay(0.0002, (900e6, 900e6), 1400)}


class Offset(NamedTuple):
    offset_s: float
    error_s: float


def some_parts(topology: ResolvedTopology = TOPOLOGY, **underlay: Any) -> dict[str, Part]:
    between = msgspec.structs.replace(LAN, **underlay)
    return parts(topology, PLACEMENT, ADDRESSES, UNDERLAYS | {("lab1", "lab2"): between})


def replaced(number: int, **changes: Any) -> ResolvedTopology:
    """The topology with another link in place of one."""
    links = list(TOPOLOGY.links)
    links[number] = msgspec.structs.replace(links[number], **changes)
    return msgspec.structs.replace(TOPOLOGY, links=tuple(links))


def test_each_machine_has_its_ends_of_the_links_that_cross_and_all_have_one_largest_packet() -> None:
    assert pairs(TOPOLOGY, PLACEMENT) == [("lab1", "lab2"), ("lab1", "lab3")]
    found = some_parts()
    assert {*found} == {"lab1", "lab2", "lab3"}
    assert [(one.link, one.machines, one.mtu, one.delay_s) for one in found["lab1"].crossings] == [
        (1, ("lab2", "lab1"), 1450, 0.0003),
        (2, ("lab3", "lab1"), 1350, 0.0001),
        (3, ("lab2", "lab1"), 1450, 0.0003),
    ]
    assert found["lab2"].crossings[0].rates_bps == (500e6, 900e6)  # up is from lab2
    assert len({one.identifier for one in found["lab1"].crossings}) == 3
    plan = addressing(TOPOLOGY)
    assert all(part.mtus(TOPOLOGY, plan) == {1: 1350} for part in found.values())
    pids = dict.fromkeys(PLACEMENT, 7)
    here = {name: wires(TOPOLOGY, plan, pids, part) for name, part in found.items()}
    assert {name: [(pair[0], wire.tunnel) for pair, wire in own.items()] for name, own in here.items()} == {
        "lab1": [("dev1", None), ("dev2", 0), ("dev3", 0), ("edge1", 0)],
        "lab2": [("dev2", 1), ("edge1", 1)],
        "lab3": [("dev3", 1)],
    }
    alone = wires(TOPOLOGY, plan, pids, whole(TOPOLOGY, "local"))
    assert all(wire.directions == (0, 1) for wire in alone.values()) and len(alone) == 4


def test_each_direction_is_shaped_on_exactly_one_machine() -> None:
    plan, pids = addressing(TOPOLOGY), dict.fromkeys(PLACEMENT, 7)
    shaped = [
        (pair, direction)
        for part in some_parts().values()
        for pair, wire in wires(TOPOLOGY, plan, pids, part).items()
        for direction in wire.directions
    ]
    assert sorted(shaped) == sorted(((link.a, link.b), direction) for link in TOPOLOGY.links for direction in (0, 1))


def test_the_real_networks_delay_is_taken_off_and_the_queue_stays() -> None:
    crossing = some_parts()["lab1"].crossings[0]
    left = crossing.emulated(LINK)
    assert left.delay_s == pytest.approx(0.0047) and queue_bytes(left) == queue_bytes(LINK)
    assert (left.bandwidth_bps, left.jitter_s, left.loss) == (10e6, 0.001, 0.01)


@pytest.mark.parametrize(
    ("number", "changes", "complaint"),
    [
        (
            3,
            {"up": LinkParameters(1e6, 0.0002)},
            "the link edge1-ap1 (up) asks for a delay of 0.200 ms but the network from lab2 to lab1 takes 0.300 ms"
            " itself: ask for what it can give, or place edge1 and ap1 on one machine",
        ),
        (
            1,
            {"down": LinkParameters(1e6, 0.001, 0.0009)},
            "the link dev2-ap1 (down) asks for a delay of 0.100 ms, less the jitter, but the network from lab1 to lab2"
            " takes 0.300 ms itself: ask for what it can give, or place dev2 and ap1 on one machine",
        ),
        (
            3,
            {"up": LinkParameters(600e6, 0.001)},
            "the link edge1-ap1 (up) asks for 600 Mbit/s but the network from lab2 to lab1 gives 500 Mbit/s: ask for"
            " what it can give, or place edge1 and ap1 on one machine",
        ),
        (
            3,
            {"up": LinkParameters(495e6, 0.001)},
            "the links edge1-ap1, dev2-ap1 ask together for 505 Mbit/s but the network from lab2 to lab1 gives 500"
            " Mbit/s: ask for less, or place their nodes so that fewer of them cross",
        ),
    ],
)
def test_what_the_real_network_cannot_give_is_refused_with_both_figures(
    number: int, changes: Mapping[str, Any], complaint: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        some_parts(replaced(number, **changes))
    assert str(refused.value) == complaint


def test_what_a_schedule_asks_for_later_is_refused_too_and_each_link_has_a_line() -> None:
    channel = Schedule((0.0, 1.0), (LinkChange(), LinkChange(delay_s=0.0)))
    topology = replaced(1, up_channel=0)
    topology = msgspec.structs.replace(
        topology, channels=(channel,), access_points={"ap1": ResolvedAccessPoint(bandwidth_bps=50e6)}
    )
    with pytest.raises(RefusedError) as refused:
        some_parts(topology)
    first, second, third = str(refused.value).split("\n")
    assert first.startswith("the link dev2-ap1 cannot share the bandwidth of ap1, which lies on lab1, from lab2: place")
    assert second.startswith("the link dev2-ap1 (up) asks for a delay of 0.000 ms")
    assert third.startswith("the link dev3-ap1 cannot share the bandwidth of ap1, which lies on lab1, from lab3: place")


def test_events_that_ask_for_more_than_the_real_network_gives_are_named() -> None:
    every = tuple((link.a, link.b) for link in TOPOLOGY.links)
    events = [
        LinkEvent(1.0, every, up=LinkChange(delay_s=0.0012), down=LinkChange(bandwidth_bps=1e6)),
        LinkEvent(2.0, every, restore=True),
    ]
    (only,) = event_faults(
        TOPOLOGY, some_parts()["lab1"], events
    )  # of the others, none has so much jitter, or crosses so far
    assert only == (
        "at 1 s the link dev2-ap1 (up) asks for a delay of 0.200 ms, less the jitter, but the network from lab2 to lab1"
        " takes 0.300 ms itself"
    )


def test_what_the_machines_noted_is_joined_on_one_clock() -> None:
    probing = Probing(Stream(0, 3, 40, 0.0, 0.01), (), 0)
    asked = Round(((("dev2", "ap1"), 0), (("dev1", "ap1"), 1), (("edge1", "ap1"), 1)), (probing,) * 3, 1.0, 0.5)
    second = 1_000_000_000

    def noted(*directions: list[list[int]]) -> bytes:
        return np.array(directions, dtype=np.int64).tobytes()

    said = {
        "lab1": noted(
            [[0, 12 * second], [0, 0], [0, 14 * second]],  # from dev2, on lab2
            [[1, 2], [3, 4], [5, 0]],  # both ends here
            [[7 * second, 0], [8 * second, 0], [9 * second, 0]],  # to edge1, on lab2
        ),
        "lab2": noted(
            [[111 * second, 0], [112 * second, 0], [113 * second, 0]],
            [[0, 108 * second], [0, 109 * second], [0, 0]],
        ),
    }
    before = Compared(0, {"lab1": Offset(0.0, 0.0), "lab2": Offset(100.0, 1e-5)})
    after = Compared(20 * second, {"lab1": Offset(0.0, 1e-6), "lab2": Offset(100.0, 3e-5)})
    up, local, down = joined(asked, PLACEMENT, before, after, said)
    assert (up.times // second).tolist() == [[11, 12], [12, 0], [13, 14]]
    assert local.times.tolist() == [[1, 2], [3, 4], [5, 0]]
    assert (down.times // second).tolist() == [[7, 8], [8, 9], [9, 0]]
    assert (up.clock_error_ms, local.clock_error_ms) == (pytest.approx(0.031), 0.0)
    silent, _, _ = joined(asked, PLACEMENT, before, after, {"lab1": said["lab1"]})
    assert not silent.times[:, 0].any()
    # A clock that gains a second in twenty has gained half of it after ten.
    gained = after._replace(clocks={**after.clocks, "lab2": Offset(101.0, 3e-5)})
    up, _, _ = joined(asked, PLACEMENT, before, gained, said)
    assert up.times[:, 0] / second == pytest.approx([111 - 100.5238, 112 - 100.5714, 113 - 100.6190], abs=1e-3)


def test_a_certificate_over_machines_allows_for_what_their_clocks_may_be_apart() -> None:
    links = {(link.a, link.b): (link.up, link.down) for link in TOPOLOGY.links}
    part = some_parts()["lab1"]

    leads: list[float] = []

    def ask(asked: Round) -> dict[str, bytes]:
        """As if clocks were believed to go together, and those of lab2 went ahead by 0.7 ms; and too late at first."""
        leads.append(asked.lead_s)
        said = dict.fromkeys(ADDRESSES, b"")
        for (link, which), probing in zip(asked.ways, asked.probings, strict=True):
            times = times_over(links[link][which], probing)
            for column, node in enumerate((link[which], link[1 - which])):
                times[:, column] += 700_000 * (PLACEMENT[node] == "lab2") * (times[:, column] > 0)
            for machine in {PLACEMENT[node] for node in link}:
                said[machine] += times.tobytes()
        return said | ({"lab2": b""} if len(leads) == 1 else {})

    def entries(error_s: float) -> dict[tuple[str, str], Any]:
        clocks = dict.fromkeys(ADDRESSES, Offset(0.0, error_s))
        found = certify_parts(TOPOLOGY, links, part, lambda: clocks, ask, only=[0, 3], effort=0.5)
        return {(entry.link[0], entry.direction): entry for entry in found}

    sharp = entries(0.0)
    assert leads[1] > leads[0]
    assert sharp["dev1", "up"].ok and not sharp["edge1", "up"].ok
    assert "delay is 1.3" in str(sharp["edge1", "up"].reason) and sharp["edge1", "down"].measured.delay_ms.value > 2.6
    blurred = entries(0.0004)
    assert all(entry.ok for entry in blurred.values())
    assert blurred["edge1", "up"].clock_error_ms == pytest.approx(0.8) and blurred["dev1", "up"].clock_error_ms == 0.0


def test_what_was_carried_between_machines_is_what_entered_here_and_arrived_there() -> None:
    sent = Carried(10_000, 10, 8_000, 8, 3)
    here = Counted({("dev1", "ap1", "up"): sent, ("dev2", "ap1", "up"): sent}, {("dev1", "ap1", "down"): Arrived(5, 1)})
    there = Counted({("dev1", "ap1", "down"): Carried(5, 1, 5, 1, 0)}, {("dev1", "ap1", "up"): Arrived(7_000, 7)})
    assert joined_counters([here, there]) == {
        ("dev1", "ap1", "up"): Carried(10_000, 10, 7_000, 7, 4),
        ("dev2", "ap1", "up"): sent,
        ("dev1", "ap1", "down"): Carried(5, 1, 5, 1, 0),
    }


def test_a_link_whose_ends_are_far_from_each_other_is_named_as_in_the_topology() -> None:
    turned = ResolvedLink("ap1", "edge1", LINK, LINK)
    topology = msgspec.structs.replace(TOPOLOGY, links=(*TOPOLOGY.links[:3], turned))
    crossing = some_parts(topology)["lab2"].crossings[-1]
    assert (crossing.machines, crossing.addresses) == (("lab1", "lab2"), ("10.9.0.1", "10.9.0.2"))
    assert crossing.rates_bps == (900e6, 500e6)
