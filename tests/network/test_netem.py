"""What only the kernel's netem does: its loss model, the shared air, changes made on time by a process of our own."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

import msgspec
import pytest

from testbed.documents.resolved import LinkParameters, ResolvedAccessPoint, ResolvedTopology
from testbed.network.build import EmulatedNetwork
from testbed.network.errors import NetworkError
from testbed.network.links import PlannedChange
from testbed.network.namespace import socket_in
from testbed.network.shape import Shaping
from tests.network.conftest import star

pytestmark = [pytest.mark.root, pytest.mark.netem]
Build = Callable[..., EmulatedNetwork]
FAST = LinkParameters(100e6)
LINK = ("dev1", "ap1")


def datagrams(network: EmulatedNetwork, sender: str, receiver: str) -> tuple[socket.socket, socket.socket]:
    """A connected pair with room for all that a test sends."""
    far = socket_in(network.namespace_pid(receiver), socket.AF_INET, socket.SOCK_DGRAM)
    near = socket_in(network.namespace_pid(sender), socket.AF_INET, socket.SOCK_DGRAM)
    far.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    far.bind((network.address(receiver, sender), 0))
    near.connect(far.getsockname())
    for one in (near, far):
        one.settimeout(20)
    return near, far


def numbered(near: socket.socket, count: int, size: int) -> None:
    """Sends packets of so many IP bytes, as fast as the link takes them."""
    for number in range(count):
        near.send(number.to_bytes(4, "big") + bytes(size - 32))


def arrived(far: socket.socket, quiet_s: float = 0.5) -> list[int]:
    """The numbers of all that has come or comes before it is quiet."""
    far.settimeout(quiet_s)
    numbers = []
    try:
        while True:
            numbers.append(int.from_bytes(far.recv(2000)[:4], "big"))
    except TimeoutError:
        return numbers


def lost(numbers: list[int], count: int) -> tuple[float, float]:
    """Which part of the packets did not come, and how many of them in a row on average."""
    came = set(numbers)
    bursts = [len(list(run)) for missing, run in itertools.groupby(n not in came for n in range(count)) if missing]
    return sum(bursts) / count, sum(bursts) / max(1, len(bursts))


def applied(network: EmulatedNetwork, count: int) -> list[tuple[PlannedChange, int]]:
    found: list[tuple[PlannedChange, int]] = []
    until = time.monotonic() + 20
    while len(found) < count and time.monotonic() < until:
        found += network.applied()
        time.sleep(0.01)
    return found


def rates(network: EmulatedNetwork, at_ns: Sequence[int], link: LinkParameters, *bps: float) -> list[PlannedChange]:
    """Changes of the first link's upward rate, in turn."""
    changed = (msgspec.structs.replace(link, bandwidth_bps=one) for one in itertools.cycle(bps))
    return [PlannedChange(at, LINK, 0, new) for at, new in zip(at_ns, changed, strict=False)]


# Bursts.


def test_the_loss_model_is_told_by_tc_as_it_was_asked(built: Build) -> None:
    network = built(star(1, LinkParameters(10e6, 0.005, 0.001, 0.02, burst=5.0), FAST), Shaping.NETEM)
    pid = str(network.namespace_pid("ap1"))
    name = f"in-{network.wire(*LINK).ends[1].name}"
    said = subprocess.run(
        ["nsenter", "-t", pid, "-n", "tc", "-j", "qdisc", "show", "dev", name], capture_output=True, check=True
    )
    serve, fly = (qdisc["options"] for qdisc in json.loads(said.stdout) if qdisc["kind"] == "netem")
    assert serve["rate"]["rate"] == 1_250_000
    assert serve["delay"]["delay"] == pytest.approx(0.004)
    assert fly["delay"]["delay"] == fly["delay"]["jitter"] == pytest.approx(0.001)
    assert fly["loss-gemodel"] == pytest.approx({"p": 0.02 / (5 * 0.98), "r": 0.2, "1-h": 1, "1-k": 0})


def test_losses_have_the_mean_and_the_burst_that_were_asked(built: Build) -> None:
    link = LinkParameters(10e6, loss=0.05, queue_bytes=4 << 20, burst=4.0)
    network = built(star(1, link, FAST), Shaping.NETEM)
    near, far = datagrams(network, *LINK)
    with near, far:
        numbered(near, 20_000, 200)
        loss, burst = lost(arrived(far), 20_000)
    assert loss == pytest.approx(0.05, abs=0.016)  # four standard errors: bursts make them 2.6 times those of 20,000
    assert burst == pytest.approx(4.0, abs=0.9)
    counters = network.counters()["dev1", "ap1", "up"]
    assert counters.dropped == pytest.approx(loss * 20_000, abs=3)


def test_bursts_outlast_changes_of_rate(built: Build) -> None:
    link = LinkParameters(4e6, loss=0.1, queue_bytes=4 << 20, burst=8.0)
    network = built(star(1, link, FAST), Shaping.NETEM)
    near, far = datagrams(network, *LINK)
    with near, far:
        began = time.monotonic_ns()
        network.schedule(rates(network, range(began, began + 8_000_000_000, 4_000_000), link, 4.1e6, 4e6))
        numbered(near, 20_000, 200)  # some ten between two changes: none would see more than the beginning of a burst
        loss, burst = lost(arrived(far), 20_000)
    network.cancel()
    assert loss == pytest.approx(0.1, abs=0.034)  # four standard errors
    assert burst == pytest.approx(8.0, abs=2.1)


# Shared air.


def shared(total_bps: float, devices: int, link: LinkParameters) -> ResolvedTopology:
    topology = star(devices, link, FAST)
    return msgspec.structs.replace(topology, access_points={"ap1": ResolvedAccessPoint(total_bps)})


def carried(network: EmulatedNetwork, ways: Sequence[tuple[str, str]], seconds: float) -> list[float]:
    """What several directions carry at once, in IP bits per second, while each is offered more than it can."""
    pairs = [datagrams(network, *way) for way in ways]
    stop = threading.Event()

    def offer(near: socket.socket) -> None:
        while not stop.is_set():
            try:
                near.send(bytes(1172))
            except OSError:  # the queue is full
                time.sleep(0.001)

    threads = [threading.Thread(target=offer, args=(near,)) for near, _ in pairs]
    for thread in threads:
        thread.start()
    time.sleep(0.5)  # until the queues are full
    before, began = network.counters(), time.monotonic()
    time.sleep(seconds)
    after, ended = network.counters(), time.monotonic()
    stop.set()
    for thread in threads:
        thread.join()
    for near, far in pairs:
        near.close()
        far.close()
    keys = [(a, b, "up") if (a, b, "up") in after else (b, a, "down") for a, b in ways]
    return [(after[key].bytes - before[key].bytes) * 8 / (ended - began) for key in keys]


@pytest.mark.parametrize(
    "ways",
    [
        [("dev1", "ap1"), ("dev2", "ap1")],
        [("ap1", "dev1"), ("ap1", "dev2")],
        [("dev1", "ap1"), ("ap1", "dev2")],
    ],
)
def test_directions_in_one_air_share_it_and_one_alone_has_it_all(built: Build, ways: list[tuple[str, str]]) -> None:
    network = built(shared(4e6, 2, LinkParameters(4e6, 0.002)), Shaping.NETEM)
    (alone,) = carried(network, ways[:1], 2.0)
    assert 3e6 < alone < 4.1e6  # its part is 1e6, and a busy machine lets some time pass unused
    first, second = carried(network, ways, 2.0)
    assert first + second < 4.1e6  # their own rates are twice that
    assert 0.75 < first / second < 1.33


def test_an_air_with_room_leaves_links_their_own_rates(built: Build) -> None:
    network = built(shared(8e6, 2, LinkParameters(2e6, 0.002)), Shaping.NETEM)
    for rate in carried(network, [("dev1", "ap1"), ("ap1", "dev2")], 2.0):
        assert 1.4e6 < rate < 2.05e6


def test_a_lone_packet_takes_its_size_over_both_rates(built: Build) -> None:
    link = LinkParameters(1e6, 0.005, 0.0, 0.0, 40_000)
    network = built(shared(2e6, 2, link), Shaping.NETEM)
    for ends in (("dev1", "ap1"), ("ap1", "dev1")):
        near, far = datagrams(network, *ends)
        with near, far:
            waits = []
            for _ in range(5):
                time.sleep(0.05)
                began = time.monotonic()
                near.send(bytes(972))
                far.recv(2000)
                waits.append(time.monotonic() - began)
            assert 0.017 <= min(waits) < 0.019  # 8 ms, 4 ms and 5 ms
    for reading in network.readings()[LINK]:
        assert reading.parameters == link


# Changes on time.


def test_planned_changes_are_made_in_order_at_their_instants(built: Build) -> None:
    link = LinkParameters(1e6, 0.005)
    network = built(star(1, link, FAST), Shaping.NETEM)
    now = time.monotonic_ns()
    later = rates(network, [now + 300_000_000, now + 200_000_000, now + 200_000_000], link, 3e6, 1.5e6, 2e6)
    past = rates(network, [now - 10**9], link, 5e6)
    network.schedule(later)
    network.schedule(past)
    found = applied(network, 4)
    assert [change for change, _ in found] == [*past, later[1], later[2], later[0]]
    assert all(at_ns >= change.at_ns for change, at_ns in found)
    assert found[-1][1] - found[-1][0].at_ns < 1_000_000_000
    assert network.links()[LINK][0].bandwidth_bps == 3e6
    assert network.readings()[LINK][0].parameters.bandwidth_bps == pytest.approx(3e6)


def test_cancelled_changes_are_not_made(built: Build) -> None:
    link = LinkParameters(1e6)
    network = built(star(1, link, FAST), Shaping.NETEM)
    now = time.monotonic_ns()
    network.schedule(rates(network, [now, now + 10**9, now + 2 * 10**9], link, 2e6, 3e6, 4e6))
    time.sleep(0.3)
    assert [change.planned.parameters.bandwidth_bps for change in network.cancel()] == [2e6]
    time.sleep(0.9)
    assert network.applied() == []
    assert network.readings()[LINK][0].parameters.bandwidth_bps == pytest.approx(2e6)
    network.schedule(rates(network, [0], link, 5e6))  # it still can
    assert len(applied(network, 1)) == 1


def test_a_planned_change_of_a_link_that_has_gone_is_told(built: Build) -> None:
    link = LinkParameters(1e6)
    network = built(star(1, link, FAST), Shaping.NETEM)
    pid = str(network.namespace_pid("dev1"))
    subprocess.run(["nsenter", "-t", pid, "-n", "tc", "qdisc", "del", "dev", "eth0", "root"], check=True)
    network.schedule(rates(network, [0], link, 2e6))
    with pytest.raises(NetworkError, match="the link from dev1 to ap1 could not be changed: "):
        applied(network, 1)


def test_changes_lose_no_queued_packet(built: Build) -> None:
    link = LinkParameters(2e6, 0.005, queue_bytes=1 << 20)
    network = built(star(1, link, FAST), Shaping.NETEM)
    near, far = datagrams(network, *LINK)
    with near, far:
        now = time.monotonic_ns()
        plans = rates(network, range(now, now + 2_000_000_000, 5_000_000), link, 8e6, 1e6, 4e6, 0.6e6)
        network.schedule(plans)
        numbered(near, 600, 500)
        assert arrived(far, 1.0) == list(range(600))
    assert len(applied(network, len(plans))) == len(plans)
    assert network.counters()["dev1", "ap1", "up"].dropped == 0


def test_a_tcp_flow_outlasts_changes(built: Build) -> None:
    link = LinkParameters(4e6, 0.005)
    network = built(star(1, link, FAST), Shaping.NETEM)
    listener = socket_in(network.namespace_pid("ap1"))
    listener.bind((network.address("ap1", "dev1"), 0))
    listener.listen()
    near = socket_in(network.namespace_pid("dev1"))
    near.settimeout(30)
    near.connect(listener.getsockname())
    far, _ = listener.accept()
    far.settimeout(30)
    total = 700_000
    with listener, near, far:
        now = time.monotonic_ns()
        network.schedule(rates(network, range(now, now + 2_000_000_000, 20_000_000), link, 8e6, 1e6, 4e6))
        sender = threading.Thread(target=near.sendall, args=(bytes(total),))
        sender.start()
        got = 0
        while got < total:
            data = far.recv(65536)
            assert data
            got += len(data)
        sender.join()
    network.cancel()
    assert got == total
