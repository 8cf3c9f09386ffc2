"""The air that links of an access point share, in the relay."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

import msgspec
import pytest

from testbed.documents.resolved import LinkParameters, ResolvedAccessPoint, ResolvedTopology
from testbed.network.build import EmulatedNetwork
from tests.network.conftest import star
from tests.network.test_links import sockets

pytestmark = pytest.mark.root
Build = Callable[..., EmulatedNetwork]


def sharing(bandwidth_bps: float, link: LinkParameters) -> ResolvedTopology:
    """Two devices at an access point with a total rate."""
    access_points = {"ap1": ResolvedAccessPoint(bandwidth_bps)}
    return msgspec.structs.replace(star(2, link), access_points=access_points)


def rates(network: EmulatedNetwork, ways: dict[tuple[str, str], int]) -> list[float]:
    """At what rates, in bit/s, ways from node to node pass packets of so many IP bytes while each is saturated: their
    queues are filled, and then watched."""
    directions = [(a, b, "up") if a != "ap1" else (b, a, "down") for a, b in ways]

    def carried() -> tuple[float, list[int]]:
        counters = network.counters()
        return time.monotonic(), [counters[direction].bytes for direction in directions]

    with ExitStack() as stack:
        for (a, b), size in ways.items():
            near, far = sockets(network, a, b, socket.SOCK_DGRAM)
            stack.enter_context(near)
            stack.enter_context(far)
            for _ in range(1_500_000 // size):
                near.send(bytes(size - 28))
        time.sleep(0.1)
        began, before = carried()
        time.sleep(1)
        ended, after = carried()
        return [8 * (new - old) / (ended - began) for old, new in zip(before, after, strict=True)]


@pytest.mark.parametrize(
    "ways",
    [
        {("dev1", "ap1"): 1400, ("dev2", "ap1"): 1400},
        {("dev1", "ap1"): 1400, ("ap1", "dev1"): 1400},
        {("dev1", "ap1"): 500, ("dev2", "ap1"): 1500},
    ],
    ids=["two devices", "both directions", "small and large packets"],
)
def test_those_who_saturate_the_air_have_equal_shares(built: Build, ways: dict[tuple[str, str], int]) -> None:
    network = built(sharing(2e6, LinkParameters(5e6, queue_bytes=2_000_000)))
    found = rates(network, ways)
    assert sum(found) == pytest.approx(2e6, rel=0.05)
    assert found[0] == pytest.approx(1e6, rel=0.05)


def test_alone_a_device_has_all_of_the_air_up_to_its_own_rate(built: Build) -> None:
    network = built(sharing(2e6, LinkParameters(5e6, queue_bytes=2_000_000)))
    assert rates(network, {("dev1", "ap1"): 1400}) == [pytest.approx(2e6, rel=0.05)]
    slow = LinkParameters(0.75e6, queue_bytes=2_000_000)
    network.set_link("dev2", "ap1", slow, slow)
    assert rates(network, {("dev2", "ap1"): 1400}) == [pytest.approx(0.75e6, rel=0.05)]


def test_what_a_slow_device_leaves_of_the_air_is_anothers(built: Build) -> None:
    network = built(sharing(2e6, LinkParameters(5e6, queue_bytes=2_000_000)))
    slow = LinkParameters(0.5e6, queue_bytes=2_000_000)
    network.set_link("dev2", "ap1", slow, slow)
    found = rates(network, {("dev1", "ap1"): 1400, ("dev2", "ap1"): 1400})
    assert found == [pytest.approx(1.5e6, rel=0.05), pytest.approx(0.5e6, rel=0.05)]


def test_a_lone_packet_takes_its_size_over_either_rate(built: Build) -> None:
    network = built(sharing(0.4e6, LinkParameters(0.8e6)))
    near, far = sockets(network, "dev1", "ap1", socket.SOCK_DGRAM)
    with near, far:
        waits = []
        for _ in range(5):
            began = time.monotonic()
            near.send(bytes(972))
            far.recv(2000)
            waits.append(time.monotonic() - began)
    assert 0.030 <= min(waits) < 0.040  # 1,000 bytes: 10 ms and 20 ms


def test_what_waits_for_the_air_is_a_part_of_the_queue(built: Build) -> None:
    network = built(sharing(0.4e6, LinkParameters(100e6, queue_bytes=10_000)))
    before = network.counters()["dev1", "ap1", "up"]
    near, far = sockets(network, "dev1", "ap1", socket.SOCK_DGRAM)
    with near, far:
        for _ in range(60):
            near.send(bytes(972))
        far.settimeout(1)
        count = 0
        with pytest.raises(TimeoutError):
            while True:
                far.recv(2000)
                count += 1
    after = network.counters()["dev1", "ap1", "up"]
    assert 9 <= count <= 20  # the queue, and what left it meanwhile
    assert after.dropped - before.dropped == 60 - count
