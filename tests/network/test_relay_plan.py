"""Changes that the relay applies at their instants."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from testbed.documents.resolved import LinkParameters
from testbed.network.build import EmulatedNetwork
from testbed.network.errors import NetworkError
from testbed.network.links import AppliedChange, Planned, PlannedChange
from testbed.network.relay import RelayLinks
from tests.network.conftest import star
from tests.network.test_links import received, sockets

pytestmark = pytest.mark.root
Build = Callable[..., EmulatedNetwork]
FAST = LinkParameters(100e6)
LINK = ("dev1", "ap1")
MS = 1_000_000


def at(when_ns: int, bandwidth_bps: float, direction: int = 0) -> PlannedChange:
    return PlannedChange(when_ns, LINK, direction, LinkParameters(bandwidth_bps, 0.001, queue_bytes=10_000_000))


def applied(network: EmulatedNetwork, count: int) -> list[AppliedChange]:
    found: list[AppliedChange] = []
    until = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < until
        time.sleep(0.005)
        found += network.applied()
    return found


def rate(network: EmulatedNetwork, direction: int = 0) -> float:
    return network.readings()[LINK][direction].parameters.bandwidth_bps


def test_changes_are_applied_in_the_order_of_their_instants_and_not_before(built: Build) -> None:
    network = built(star(1, FAST))
    now = time.monotonic_ns()
    given = [at(now + wait * MS, 1e6 + wait, wait % 2) for wait in (300, 100, 400, 200)]
    network.schedule(given[:2])
    network.schedule(given[2:])
    assert rate(network) == 100e6
    found = applied(network, 4)
    assert [one.planned for one in found] == sorted(given)
    for one in found:
        assert 0 <= one.applied_ns - one.planned.at_ns < 250 * MS
    assert (rate(network, 0), rate(network, 1)) == (1e6 + 400, 100e6)
    assert network.applied() == []


def test_those_of_one_instant_are_applied_in_the_order_given_and_past_ones_at_once(built: Build) -> None:
    network = built(star(1, FAST))
    now = time.monotonic_ns()
    past = [at(now - wait * MS, 1e6 + wait) for wait in (1, 10_000, 2)]
    together = [at(now + 50 * MS, 2e6 + number) for number in range(20)]
    network.schedule(past + together)
    found = applied(network, 23)
    assert {one.planned for one in found[:3]} == {*past}
    assert all(one.applied_ns >= now for one in found)
    assert [one.planned for one in found[3:]] == together
    assert rate(network) == 2e6 + 19


def test_what_is_cancelled_is_not_applied(built: Build) -> None:
    network = built(star(1, FAST))
    now = time.monotonic_ns()
    network.schedule([at(now, 1e6), at(now + 300 * MS, 2e6), at(now + 3600_000 * MS, 3e6)])
    time.sleep(0.05)
    assert [one.planned.parameters.bandwidth_bps for one in network.cancel()] == [1e6]
    time.sleep(0.4)
    assert network.applied() == [] and rate(network) == 1e6
    network.schedule([at(now, 4e6)])
    assert [one.planned for one in applied(network, 1)] == [at(now, 4e6)]


def test_a_batch_of_five_thousand(built: Build) -> None:
    network = built(star(1, FAST))
    start = time.monotonic_ns() + 100 * MS
    given = [at(start + number * MS // 10, 1e6 + number, number % 2) for number in range(5000)]
    network.schedule(given)
    found = applied(network, 5000)
    assert [one.planned for one in found] == given
    assert all(one.applied_ns >= one.planned.at_ns for one in found)
    assert (rate(network, 0), rate(network, 1)) == (1e6 + 4998, 1e6 + 4999)


def test_no_queued_packet_is_lost_or_overtaken(built: Build) -> None:
    network = built(star(1, LinkParameters(2e6, 0.001, queue_bytes=10_000_000)))
    near, far = sockets(network, "dev1", "ap1", socket.SOCK_DGRAM)
    now = time.monotonic_ns()
    network.schedule([at(now + number * MS, (1e6, 5e6)[number % 2]) for number in range(1000)])

    def send() -> None:
        for number in range(400):
            near.send(number.to_bytes(4, "big") + bytes(968))

    with near, far:
        sender = threading.Thread(target=send)
        sender.start()
        assert [int.from_bytes(far.recv(2000)[:4], "big") for _ in range(400)] == [*range(400)]
        sender.join()
    assert len(applied(network, 1000)) == 1000


def test_a_tcp_flow_goes_on(built: Build) -> None:
    network = built(star(1, LinkParameters(20e6, 0.001, queue_bytes=10_000_000)))
    near, far = sockets(network, "dev1", "ap1", socket.SOCK_STREAM)
    message = bytes(range(256)) * 8192
    now = time.monotonic_ns()
    network.schedule([at(now + number * 2 * MS, (5e6, 40e6, 15e6)[number % 3], number % 2) for number in range(500)])
    with near, far:
        sender = threading.Thread(target=near.sendall, args=(message,))
        sender.start()
        assert received(far, len(message)) == message
        sender.join()
    assert len(applied(network, 500)) == 500
    assert all(one.counters.dropped == 0 for one in network.readings()[LINK])


def test_a_change_that_cannot_be_is_refused_with_all_of_its_request(built: Build) -> None:
    network = built(star(1, FAST))
    wrong = PlannedChange(0, LINK, 0, LinkParameters(1e6, loss=0.9, burst=2.0))
    with pytest.raises(NetworkError, match="out of range"):
        network.schedule([at(0, 1e6), wrong])
    assert network.applied() == [] and rate(network) == 100e6


def test_a_plan_is_its_connections_own_and_is_forgotten_with_it(built: Build) -> None:
    network = built(star(1, FAST))
    wire = network.wire(*LINK)
    first, other = (RelayLinks.attach(network.ownership) for _ in range(2))
    soon, later = time.monotonic_ns() + 10 * MS, time.monotonic_ns() + 400 * MS
    first.schedule([Planned(7, soon, wire, 0, LinkParameters(1e6)), Planned(8, later, wire, 0, LinkParameters(2e6))])
    with pytest.raises(NetworkError, match="another connection has changes planned"):
        other.schedule([Planned(0, soon, wire, 0, LinkParameters(3e6))])
    time.sleep(0.1)
    other.cancel()
    assert other.done() == []
    assert [number for number, _ in first.done()] == [7]
    first.close()
    time.sleep(0.4)
    assert rate(network) == 1e6
    other.schedule([Planned(9, soon, wire, 0, LinkParameters(3e6))])
    time.sleep(0.1)
    assert [number for number, _ in other.done()] == [9]
    other.close()


def raw(network: EmulatedNetwork) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.settimeout(10)
    client.connect(str(network.ownership.folder / "relay-1.sock"))
    return client


def changes(numbers: Sequence[int], when_ns: int) -> bytes:
    one = [struct.pack("=qqiidqqddq", number, when_ns, 0, 0, 1e6, 0, 0, 0.0, 0.0, 100_000) for number in numbers]
    return b"plan " + b"".join(one)


def test_more_than_a_million_are_refused(built: Build) -> None:
    network = built(star(1, FAST))
    with raw(network) as client:
        request = changes(range(800), 1 << 62)
        for _ in range(1250):
            client.send(request)
            assert client.recv(1000) == b"ok"
        client.send(changes([0], 1 << 62))
        assert client.recv(1000) == b"error more than 1000000 changes would be planned"
        client.send(b"cancel")
        assert client.recv(1000) == b"ok"
        client.send(changes([0], 0))
        assert client.recv(1000) == b"ok"


def test_who_does_not_listen_loses_no_record_and_holds_nobody_up(built: Build) -> None:
    network = built(star(1, FAST))
    count, found = 20_000, b""
    with raw(network) as client:
        for first in range(0, count, 800):
            client.send(changes(range(first, first + 800), 0))
            assert client.recv(1000) == b"ok"
        for _ in range(50):
            client.send(b"done")
        assert len(network.readings()) == 2
        time.sleep(0.2)
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                found += client.recv(1 << 17).removeprefix(b"ok ")
        assert 0 < len(found) < 16 * count  # it did not take them all
        client.setblocking(True)
        while True:
            client.send(b"done")
            more = client.recv(1 << 17).removeprefix(b"ok ")
            if not more:
                break
            found += more
    assert [number for number, _ in struct.iter_unpack("=qq", found)] == [*range(count)]
