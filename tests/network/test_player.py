"""Playing on real links: what is applied when, what TCP makes of it, and that everything is put back."""

from __future__ import annotations

import dataclasses
import itertools
import socket
import threading
import time
from collections.abc import Callable

import msgspec
import pytest

from testbed.documents.resolved import CutEvent, Fading, LinkChange, LinkEvent, LinkParameters, ResolvedTopology
from testbed.network.allotment import Allotment, Allotted
from testbed.network.build import EmulatedNetwork
from testbed.network.links import AppliedChange, PlannedChange
from testbed.network.player import Player
from testbed.network.shape import Shaping
from testbed.network.timeline import Timeline
from tests.network.conftest import BACKENDS, star
from tests.network.test_links import received, sockets

pytestmark = pytest.mark.root
Build = Callable[..., EmulatedNetwork]
LINK = ("dev1", "ap1")
REST = LinkParameters(20e6, 0.002)
FADING = Fading(5e6, 60, 3.0, 40, 5, -170, 0.02)  # some 28 Mbit/s on average


def fading_star(devices: int) -> ResolvedTopology:
    topology = star(devices, REST)
    links = [
        msgspec.structs.replace(link, up_channel=0, down_channel=0) if link.a in topology.devices else link
        for link in topology.links
    ]
    return msgspec.structs.replace(topology, links=tuple(links), channels=(FADING,))


@dataclasses.dataclass
class Played:
    applied: list[AppliedChange]
    faults: list[str]


def play(network: EmulatedNetwork, events, for_s: float, meanwhile: Callable[[], None] = lambda: None) -> Played:
    played = Played([], [])
    start_ns = time.monotonic_ns() + 50_000_000
    timeline = Timeline(network.topology, network.links(), events, seed=1)
    player = Player(network, timeline.changes(start_ns), played.applied.extend)
    try:
        meanwhile()
        time.sleep(max(0.0, for_s + (start_ns - time.monotonic_ns()) / 1e9))
    finally:
        played.faults = player.stop()
    return played


@pytest.mark.parametrize("shaping", BACKENDS)
def test_changes_are_applied_at_their_instants_and_the_links_put_back(built: Build, shaping: Shaping) -> None:
    network = built(star(2, REST), shaping)
    slow = LinkChange(1e6, loss=0.03)
    events = [
        LinkEvent(0.3, (LINK,), slow, slow),
        LinkEvent(0.6, (LINK,), restore=True),
        CutEvent(0.5, 30.0, (("dev2", "ap1"),)),
        LinkEvent(20.0, (LINK,), slow),
    ]
    seen = []
    played = play(network, events, 0.9, lambda: (time.sleep(0.5), seen.append(network.links()[LINK])))
    assert played.faults == []
    assert [(change.planned.link[0], change.planned.direction) for change in played.applied] == [
        ("dev1", 0),
        ("dev1", 1),
        ("dev2", 0),
        ("dev2", 1),
        ("dev1", 0),
        ("dev1", 1),
    ]
    assert seen[0][0].bandwidth_bps == 1e6
    late_ms = [(change.applied_ns - change.planned.at_ns) / 1e6 for change in played.applied]
    assert all(abs(late) < 50 for late in late_ms)
    assert set(network.links().values()) == {(REST, REST), tuple([LinkParameters(100e6, 0.0002)] * 2)}
    for up, _ in (network.readings()[LINK], network.readings()["dev2", "ap1"]):
        assert (up.parameters.bandwidth_bps, up.parameters.loss) == (20e6, 0.0)


@pytest.mark.parametrize("shaping", BACKENDS)
def test_a_cut_lets_nothing_pass(built: Build, shaping: Shaping) -> None:
    network = built(star(1, REST), shaping)
    near, far = sockets(network, "dev1", "edge1", socket.SOCK_DGRAM)
    arrived = []
    with near, far:
        far.settimeout(0.5)

        def send() -> None:
            for number in range(60):
                near.send(bytes([number]))
                time.sleep(0.02)

        sender = threading.Thread(target=send)

        def meanwhile() -> None:
            sender.start()
            with pytest.raises(TimeoutError):
                while True:
                    far.recv(10)
                    arrived.append(time.monotonic())
            sender.join()

        began = time.monotonic()
        play(network, [CutEvent(0.3, 30.0, (LINK,))], 1.0, meanwhile)
        sender.join()
        assert arrived and max(arrived) - began < 0.5
        near.send(b"again")  # the links are put back
        assert far.recv(10) == b"again"


@pytest.mark.parametrize("shaping", BACKENDS)
def test_a_flow_of_tcp_lives_through_fading(built: Build, shaping: Shaping) -> None:
    network = built(fading_star(3), shaping)
    near, far = sockets(network, "dev1", "edge1", socket.SOCK_STREAM)
    size = 3 * 2**20
    with near, far:

        def meanwhile() -> None:
            sender = threading.Thread(target=near.sendall, args=(bytes(size),))
            sender.start()
            assert len(received(far, size)) == size
            sender.join()

        played = play(network, [], 1.5, meanwhile)
    assert played.faults == []
    up = [change for change in played.applied if (change.planned.link, change.planned.direction) == (LINK, 0)]
    assert len(up) > 70
    rates = {change.planned.parameters.bandwidth_bps for change in up}
    assert len(rates) == len(up)
    assert network.links()[LINK] == (REST, REST)


@pytest.mark.parametrize("shaping", BACKENDS)
def test_what_is_allotted_of_a_link_is_what_passes(built: Build, shaping: Shaping) -> None:
    """A fifth of 20 Mbit/s, then all of it, then an event slows the link down: by what a lone datagram takes."""
    network = built(star(1, REST), shaping)
    near, far = sockets(network, "dev1", "edge1", socket.SOCK_DGRAM)
    start_ns = time.monotonic_ns() + 100_000_000
    shares = [Allotted(start_ns, {(LINK, 0): Allotment(0.2)}), Allotted(start_ns + 500_000_000, {})]
    slow = PlannedChange(start_ns + 1_000_000_000, LINK, 0, msgspec.structs.replace(REST, bandwidth_bps=2e6))
    applied: list[AppliedChange] = []
    player = Player(network, iter([slow]), applied.extend, lambda: shares.pop(0) if shares else None)
    sent: list[tuple[int, int]] = []  # when each datagram was sent, and when it had come, ns
    with near, far:
        while time.monotonic_ns() < start_ns + 1_500_000_000:
            time.sleep(0.02)
            began_ns = time.monotonic_ns()
            near.send(bytes(1372))  # 1,400 bytes at the IP layer
            far.recv(2000)
            sent.append((began_ns, time.monotonic_ns()))
    assert player.stop() == []
    assert [change.planned.parameters.bandwidth_bps for change in applied] == [4e6, 20e6, 2e6]
    assert [change.planned.whole for change in applied] == [REST, None, None]
    instants_ns = [*(change.applied_ns for change in applied), sent[-1][1] + 1]
    fastest_s = [
        min(come_ns - began_ns for began_ns, come_ns in sent if since_ns <= began_ns and come_ns < until_ns) / 1e9
        for since_ns, until_ns in itertools.pairwise(instants_ns)
    ]
    for one_s, rate_bps in zip(fastest_s, (4e6, 20e6, 2e6), strict=True):
        assert one_s > 0.95 * (8 * 1400 / rate_bps + 0.002)
    assert fastest_s[1] < fastest_s[0] < fastest_s[2]
    assert network.links()[LINK] == (REST, REST)


def test_a_change_that_is_refused_ends_the_play_and_is_told(built: Build) -> None:
    network = built(star(1, REST))
    applied: list[AppliedChange] = []
    at_ns = time.monotonic_ns() + 20_000_000
    wrong = msgspec.structs.replace(REST, loss=2.0)
    changes = [PlannedChange(at_ns, LINK, 0, wrong), PlannedChange(at_ns + 10**9, LINK, 1, REST)]
    player = Player(network, iter(changes), applied.extend)
    time.sleep(0.3)
    assert any("loss" in fault or "range" in fault for fault in player.stop())
    assert applied == []
    assert network.readings()[LINK][0].parameters.bandwidth_bps == 20e6
