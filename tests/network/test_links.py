"""Real links, on both backends: what they do to packets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from testbed.documents.resolved import (
    Compute,
    LinkParameters,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedLink,
    ResolvedTopology,
)
from testbed.network.build import EmulatedNetwork
from testbed.network.certify import certify
from testbed.network.errors import NetworkError
from testbed.network.namespace import call_in, socket_in
from testbed.network.shape import Shaping
from tests.network.conftest import BACKENDS, OPEN_VSWITCH, star

pytestmark = pytest.mark.root
Build = Callable[..., EmulatedNetwork]
FAST = LinkParameters(100e6)


def sockets(
    network: EmulatedNetwork, sender: str, receiver: str, kind: socket.SocketKind
) -> tuple[socket.socket, socket.socket]:
    """A connected pair between two nodes."""
    far = socket_in(network.namespace_pid(receiver), socket.AF_INET, kind)
    near = socket_in(network.namespace_pid(sender), socket.AF_INET, kind)
    for one in (near, far):
        one.settimeout(20)
    far.bind((network.address(receiver, sender), 0))
    if kind == socket.SOCK_STREAM:
        far.listen()
    near.connect(far.getsockname())
    if kind == socket.SOCK_STREAM:
        listener, (far, _) = far, far.accept()
        listener.close()
        far.settimeout(20)
    return near, far


def received(far: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += far.recv(65536)
    return data


@pytest.mark.parametrize("shaping", BACKENDS)
def test_a_message_over_an_idle_link_takes_its_size_over_the_rate(built: Build, shaping: Shaping) -> None:
    network = built(star(1, LinkParameters(10e6), FAST), shaping)
    near, far = sockets(network, "dev1", "ap1", socket.SOCK_STREAM)
    with near, far:
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for idle_s in (0.1, 0.3):
            time.sleep(idle_s)
            began = time.monotonic()
            near.sendall(bytes(20 * 1024))
            received(far, 20 * 1024)
            assert time.monotonic() - began >= 0.0165


@pytest.mark.parametrize("shaping", BACKENDS)
def test_a_lone_datagram_takes_its_size_over_the_rate(built: Build, shaping: Shaping) -> None:
    network = built(star(1, LinkParameters(0.4e6), FAST), shaping)
    for sender, receiver in (("dev1", "ap1"), ("ap1", "dev1")):
        near, far = sockets(network, sender, receiver, socket.SOCK_DGRAM)
        with near, far:
            time.sleep(0.1)
            began = time.monotonic()
            near.send(bytes(300))
            far.recv(2000)
            assert time.monotonic() - began >= 0.006


@pytest.mark.parametrize("shaping", BACKENDS)
def test_a_change_loses_and_reorders_nothing_and_holds_for_what_is_queued(built: Build, shaping: Shaping) -> None:
    fast, slow = LinkParameters(0.8e6, 0.005), LinkParameters(0.2e6, 0.005)
    network = built(star(1, fast, FAST), shaping)
    near, far = sockets(network, "dev1", "ap1", socket.SOCK_DGRAM)
    count, size = 20, 1000
    with near, far:
        began = time.monotonic()
        for number in range(count):
            near.send(number.to_bytes(4, "big") + bytes(size - 4))
        network.set_link("dev1", "ap1", slow, fast)
        numbers = [int.from_bytes(far.recv(2000)[:4], "big") for _ in range(count)]
        elapsed_s = time.monotonic() - began
    assert numbers == list(range(count))
    assert elapsed_s > 0.6 * count * (size + 28) * 8 / slow.bandwidth_bps  # at the old rate it would be a quarter
    assert network.links()["dev1", "ap1"] == (slow, fast)
    read, _ = network.readings()["dev1", "ap1"]
    assert read.parameters.bandwidth_bps == pytest.approx(0.2e6)


@pytest.mark.parametrize("shaping", BACKENDS)
def test_counters_count_ip_bytes_delivered_and_packets_dropped(built: Build, shaping: Shaping) -> None:
    network = built(star(1, LinkParameters(1e6, queue_bytes=10_000), FAST), shaping)
    before = network.counters()["dev1", "ap1", "up"]
    near, far = sockets(network, "dev1", "ap1", socket.SOCK_DGRAM)
    with near, far:
        for _ in range(60):
            near.send(bytes(972))  # 1,000 bytes of IP
        far.settimeout(1)
        arrived = 0
        try:
            while True:
                far.recv(2000)
                arrived += 1
        except TimeoutError:
            pass
    after = network.counters()["dev1", "ap1", "up"]
    assert after.packets - before.packets == arrived
    assert after.bytes - before.bytes == 1000 * arrived
    assert after.dropped - before.dropped == 60 - arrived
    assert 9 <= arrived <= 20  # the queue, and what left it meanwhile


@pytest.mark.parametrize("shaping", BACKENDS)
def test_the_certificate_holds(built: Build, shaping: Shaping) -> None:
    network = built(star(2, LinkParameters(10e6, 0.005, 0.001, 0.01), LinkParameters(20e6, 0.0002)), shaping)
    for _ in range(3):  # on an overloaded machine packets do come late
        entries = certify(network)
        if all(entry.ok for entry in entries):
            break
    assert [entry.reason for entry in entries if not entry.ok] == []
    assert {(entry.link, entry.direction) for entry in entries} == {
        (link, direction) for link in network.links() for direction in ("up", "down")
    }
    for up, down in network.readings().values():
        assert up.counters.packets > 0 and down.counters.packets > 0


@pytest.mark.parametrize("shaping", BACKENDS)
def test_the_certificate_finds_out_a_link_that_is_not_as_asked(built: Build, shaping: Shaping) -> None:
    asked = LinkParameters(5e6, 0.002)
    network = built(star(1, asked, LinkParameters(20e6)), shaping)
    behind_its_back = EmulatedNetwork.attach(network.ownership)
    behind_its_back.set_link("dev1", "ap1", LinkParameters(4.5e6, 0.002), LinkParameters(5e6, 0.004))
    behind_its_back.stop()
    entries = {entry.direction: entry for entry in certify(network, effort=0.4) if entry.link == ("dev1", "ap1")}
    assert not entries["up"].ok and "bandwidth" in str(entries["up"].reason)
    assert not entries["down"].ok and "delay" in str(entries["down"].reason)


def test_each_direction_is_its_own(built: Build) -> None:
    topology = star(1, FAST, FAST)
    (first, *others) = topology.links
    lopsided = type(first)(first.a, first.b, LinkParameters(100e6, 0.080), LinkParameters(100e6, 0.020))
    network = built(
        ResolvedTopology("t", topology.access_points, topology.edges, topology.devices, (lopsided, *others))
    )
    for sender, receiver, low_s, high_s in (("dev1", "ap1", 0.080, 0.5), ("ap1", "dev1", 0.020, 0.080)):
        near, far = sockets(network, sender, receiver, socket.SOCK_DGRAM)
        with near, far:
            waits = []
            for _ in range(5):
                began = time.monotonic()
                near.send(b"x")
                far.recv(10)
                waits.append(time.monotonic() - began)
            assert low_s <= min(waits) < high_s


def test_nodes_are_set_as_the_topology_says(built: Build) -> None:
    network = built(star(1, FAST))
    near, far = sockets(network, "dev1", "edge1", socket.SOCK_STREAM)
    with near, far:
        for one in (near, far):
            assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") == b"cubic"

    def settings() -> list[str]:
        names = ("tcp_slow_start_after_idle", "tcp_no_metrics_save", "conf/all/rp_filter")
        return [open(f"/proc/sys/net/ipv4/{name}").read().strip() for name in names]  # noqa: PTH123

    assert call_in(network.namespace_pid("dev1"), settings) == ["0", "1", "0"]
    assert call_in(network.namespace_pid("edge1"), lambda: socket.if_nameindex())[1:] == [(2, "eth0")]


def test_the_machines_own_namespace_and_settings_stay_as_they_were(built: Build) -> None:
    def found() -> tuple[list[tuple[int, str]], str, str]:
        settings = [open(path).read() for path in ("/proc/sys/fs/file-max", "/proc/sys/net/core/rmem_max")]  # noqa: SIM115, PTH123
        return socket.if_nameindex(), settings[0], settings[1]

    before = found()
    seen: list[bool] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.append(found() == before)
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        built(star(3, FAST))
    finally:
        done.set()
        watcher.join()
    assert len(seen) > 10 and all(seen)


def test_a_network_can_be_built_outside_the_main_thread(built: Build) -> None:
    networks: list[EmulatedNetwork] = []
    thread = threading.Thread(target=lambda: networks.append(built(star(1, FAST))))
    thread.start()
    thread.join()
    near, far = sockets(networks[0], "dev1", "edge1", socket.SOCK_STREAM)
    with near, far:
        near.sendall(b"through")
        assert received(far, 7) == b"through"


def test_two_testbeds_side_by_side(built: Build) -> None:
    one, other = built(star(1, FAST)), built(star(1, FAST))
    assert one.address("edge1") == other.address("edge1")
    near, far = sockets(one, "dev1", "edge1", socket.SOCK_STREAM)
    other.stop()
    assert other.ownership.undo().failures == []
    with near, far:
        near.sendall(b"still here")
        assert received(far, 10) == b"still here"


def test_links_and_nodes_that_are_not_there_are_named(built: Build) -> None:
    network = built(star(1, FAST))
    with pytest.raises(NetworkError, match="no link from ap1 to dev1; it is named the other way round"):
        network.set_link("ap1", "dev1", FAST, FAST)
    with pytest.raises(NetworkError, match="there is no node 'dev2': the nodes are ap1, edge1, dev1"):
        network.namespace_pid("dev2")


def test_a_failed_change_is_noticed(built: Build) -> None:
    network = built(star(1, FAST))
    with pytest.raises(NetworkError, match="out of range"):
        network.set_link("dev1", "ap1", LinkParameters(1e6, loss=2.0), FAST)


def test_nodes_are_mininets_and_obey_its_commands(built: Build) -> None:
    network = built(star(2, FAST))
    net = network.mininet
    assert [host.name for host in net.hosts] == ["edge1", "dev1", "dev2"] and net["dev1"].shell is None
    assert "1 received" in net["dev1"].cmd("ping -c 1 -W 5", network.address("edge1"))
    assert net["dev1"].cmd("readlink /proc/self/ns/net").strip() == str(
        Path(f"/proc/{network.namespace_pid('dev1')}/ns/net").readlink()
    )
    said, _, status = net["dev2"].pexec(["cat", "/proc/self/cgroup"])
    assert status == 0 and (network.ownership.group is None or network.ownership.group.name in said)
    listener = net["edge1"].popen("ping -c 1 -W 5 " + network.address("dev2"))
    assert listener.wait() == 0
    net["ap1"].sendCmd("ip -brief link show master br0")
    assert net["ap1"].waitOutput().count("port") == 3
    assert net["dev1"].IP() == network.address("dev1")
    shells = {net[name].shell.pid for name in ("dev1", "ap1")}
    assert shells <= {one.pid for one in network.ownership.processes()}


@pytest.mark.parametrize("shaping", BACKENDS)
@pytest.mark.parametrize("switch", ["bridge", pytest.param("ovs", marks=OPEN_VSWITCH)])
def test_access_points_behind_one_another_pass_on_what_is_for_others(
    built: Build, shaping: Shaping, switch: Literal["bridge", "ovs"]
) -> None:
    topology = star(1, FAST)
    far, near = (ResolvedLink(a, b, FAST, FAST) for a, b in (("dev1", "far"), ("far", "ap1")))
    behind = ResolvedTopology(
        "t",
        {"far": ResolvedAccessPoint(), **topology.access_points},
        topology.edges,
        {"dev1": ResolvedDevice(("far",), Compute(5e9))},
        (far, near, topology.links[-1]),
        switch=switch,
    )
    network = built(behind, shaping)
    for node, peer in (("dev1", "edge1"), ("edge1", "dev1"), ("dev1", "far"), ("far", "ap1")):
        said = network.mininet[node].cmd("ping -c 1 -W 10", network.address(peer, node))
        assert "1 received" in said, said
    assert network.counters()["far", "ap1", "up"].packets >= 2
