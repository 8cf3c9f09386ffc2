"""Access points that switch by Open vSwitch: the same links, nothing but the testbed's own daemons."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from testbed.documents.resolved import LinkParameters, ResolvedTopology
from testbed.network import switches
from testbed.network.build import EmulatedNetwork
from testbed.network.diagnosis import require
from testbed.network.errors import RefusedError
from testbed.network.shape import Shaping
from tests.network.conftest import BACKENDS, OPEN_VSWITCH, star

pytestmark = pytest.mark.root
Build = Callable[..., EmulatedNetwork]


def with_open_vswitch(topology: ResolvedTopology) -> ResolvedTopology:
    return msgspec.structs.replace(topology, switch="ovs")


@OPEN_VSWITCH
@pytest.mark.parametrize("shaping", BACKENDS)
def test_everybody_is_reached_through_open_vswitch_at_the_links_rate(built: Build, shaping: Shaping) -> None:
    from tests.network.test_links import received, sockets

    network = built(with_open_vswitch(star(2, LinkParameters(10e6, 0.002), LinkParameters(50e6))), shaping)
    for node, peer in (("dev1", "edge1"), ("edge1", "dev2"), ("dev2", "ap1"), ("ap1", "edge1")):
        said = network.mininet[node].cmd("ping -c 2 -i 0.2 -W 5", network.address(peer, node))
        assert "2 received" in said, said
    near, far = sockets(network, "dev1", "edge1", socket.SOCK_STREAM)
    with near, far:
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size = 1_000_000
        began = time.monotonic()
        sender = threading.Thread(target=near.sendall, args=(bytes(size),))
        sender.start()
        received(far, size)
        elapsed_s = time.monotonic() - began
        sender.join()
    assert 0.8 * 8 * size / 10e6 < elapsed_s < 2.5 * 8 * size / 10e6
    up, _ = network.readings()["dev1", "ap1"]
    assert up.counters.bytes > size  # it is shaped still, and was by the link


@OPEN_VSWITCH
def test_packets_to_others_are_not_flooded(built: Build) -> None:
    network = built(with_open_vswitch(star(2, LinkParameters(10e6), LinkParameters(50e6))))
    before = network.counters()["dev2", "ap1", "down"].packets
    assert "2 received" in network.mininet["dev1"].cmd("ping -c 2 -i 0.2 -W 5", network.address("edge1"))
    network.mininet["dev1"].cmd("ip neighbour replace 10.1.99.99 lladdr 02:54:0a:63:63:63 dev eth0")
    network.mininet["dev1"].cmd("ping -c 2 -i 0.2 -W 1 10.1.99.99")
    assert network.counters()["dev2", "ap1", "down"].packets == before


@OPEN_VSWITCH
def test_its_daemons_are_the_testbeds_and_its_files_too(built: Build) -> None:
    before = {path for folder in ("/run/openvswitch", "/etc/openvswitch") for path in Path(folder).glob("*")}
    network = built(with_open_vswitch(star(1, LinkParameters(10e6), LinkParameters(50e6))))
    names = [*network.ownership.processes().values()]
    assert names.count("ovs-vswitchd") == names.count("ovsdb-server") == 1
    shown = subprocess.run(["ovs-vsctl", "--timeout=2", "show"], capture_output=True, check=False)
    assert b"br0" not in shown.stdout
    after = {path for folder in ("/run/openvswitch", "/etc/openvswitch") for path in Path(folder).glob("*")}
    assert after == before


def test_without_open_vswitch_a_topology_that_asks_for_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(switches, "_PATH", str(tmp_path))
    topology = star(1, LinkParameters(10e6))
    require(topology)
    with pytest.raises(RefusedError, match=r"no ovsdb-tool.*: apt install openvswitch-switch, or leave the switch out"):
        require(with_open_vswitch(topology))
