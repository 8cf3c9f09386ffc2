"""Links between machines, which are namespaces on a bridge here: shaped, measured, counted, refused and undone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import msgspec
import pytest

from testbed.documents.resolved import (
    Compute,
    LinkParameters,
    ResolvedAccessPoint,
    ResolvedDevice,
    ResolvedEdge,
    ResolvedLink,
    ResolvedTopology,
    Tolerance,
)
from testbed.network import tunnels
from testbed.network.build import EmulatedNetwork
from testbed.network.certify_parts import Round, certify_parts, probe_part
from testbed.network.counters import Direction, counted_at_rest, joined
from testbed.network.errors import NetworkError, RefusedError
from testbed.network.inside import hosts_text
from testbed.network.links import PlannedChange
from testbed.network.namespace import socket_in
from testbed.network.ownership import RUN_FOLDER, Ownership
from testbed.network.part import Part
from testbed.network.processes import is_alive
from testbed.network.shape import Shaping
from testbed.network.state import read_state
from testbed.network.survey import survey
from testbed.network.underlay import Underlay, measure
from tests.network.conftest import BACKENDS, star
from tests.network.machines import LabMachine, lab, measured, split, spread

pytestmark = pytest.mark.root

TREE = ResolvedTopology(
    name="tree",
    access_points={"ap1": ResolvedAccessPoint(), "ap2": ResolvedAccessPoint()},
    edges={"edge1": ResolvedEdge("ap2", Compute(2e11))},
    devices={name: ResolvedDevice(("ap1",), Compute(5e9)) for name in ("dev1", "dev2")},
    links=(
        ResolvedLink("dev1", "ap1", LinkParameters(10e6, 0.005, 0.001, 0.01), LinkParameters(8e6, 0.010)),
        ResolvedLink("dev2", "ap1", LinkParameters(10e6, 0.005, 0.001, 0.05, burst=3.0), LinkParameters(10e6, 0.005)),
        ResolvedLink("ap1", "ap2", LinkParameters(20e6, 0.004), LinkParameters(20e6, 0.004)),
        ResolvedLink("edge1", "ap2", LinkParameters(40e6, 0.002), LinkParameters(40e6, 0.002)),
    ),
    tolerance=Tolerance(bandwidth=0.05, delay_ms=2.0),
)
"""Devices on an access point, an edge on another behind it."""
PLACEMENT = {"ap1": "lab1", "dev1": "lab1", "dev2": "lab2", "ap2": "lab3", "edge1": "lab3"}
SAID = Underlay(0.0002, (1e9, 1e9), 1500)
"""What the network between the machines is said to give where a test is about something else."""


class Same(NamedTuple):
    """The clock of a machine that is this one."""

    offset_s: float = 0.0
    error_s: float = 0.0


@pytest.fixture(scope="module")
def machines() -> Iterator[list[LabMachine]]:
    with lab(3) as made:
        yield made


def together(networks: dict[str, EmulatedNetwork]) -> Callable[[Round], dict[str, bytes]]:
    """Has all machines do a round."""

    def ask(asked: Round) -> dict[str, bytes]:
        begin_ns = time.monotonic_ns() + round(asked.lead_s * 1e9)
        with ThreadPoolExecutor(len(networks)) as pool:
            said = {name: pool.submit(probe_part, network, asked, begin_ns) for name, network in networks.items()}
        return {name: one.result() for name, one in said.items()}

    return ask


def carried(networks: dict[str, EmulatedNetwork]) -> dict[Direction, tuple[int, ...]]:
    counted = joined(counted_at_rest(network) for network in networks.values())
    return {direction: msgspec.structs.astuple(one) for direction, one in counted.items()}


def round_trip(near: socket.socket, far: socket.socket, size: int) -> bool:
    """Whether a packet with so many bytes gets there, answered by one."""
    near.settimeout(5)
    far.settimeout(5)
    near.send(bytes(size))
    data, sender = far.recvfrom(4096)
    far.sendto(data, sender)
    return len(near.recv(4096)) == size


def tunnel_sockets(machine: LabMachine) -> int:
    return machine.run("ss", "-Huan").count(f":{tunnels.PORT} ")


def eventually(true: Callable[[], bool]) -> None:
    """Waits until something is so; the test's own time limit ends it."""
    while not true():
        time.sleep(0.01)


@pytest.mark.parametrize("shaping", BACKENDS)
def test_a_testbed_over_three_machines_is_one(
    machines: list[LabMachine], fresh_name: Callable[[], str], shaping: Shaping
) -> None:
    before = [machine.run("ip", "-brief", "link") for machine in machines]
    parts = split(TREE, PLACEMENT, machines)
    with spread(fresh_name(), TREE, parts, machines, shaping) as networks:
        lab1, lab2, lab3 = networks.values()
        # Nothing of it lies in the machines' own namespaces but a socket for the tunnels.
        assert [machine.run("ip", "-brief", "link") for machine in machines] == before
        assert [tunnel_sockets(machine) for machine in machines] == [1, 1, 1]
        # Each machine has its nodes, and knows of the others.
        assert [[*read_state(one.ownership).nodes] for one in networks.values()] == [
            ["ap1", "dev1"],
            ["dev2"],
            ["ap2", "edge1"],
        ]
        assert f"{lab1.address('edge1')} edge1" in hosts_text(read_state(lab1.ownership), "dev1")
        with pytest.raises(NetworkError, match="edge1 lies on lab3, not here"):
            lab1.namespace_pid("edge1")
        with pytest.raises(NetworkError, match="the link from dev2 to ap1 lies on lab2, not here"):
            lab3.wire("dev2", "ap1")
        assert [len(one.links()) for one in networks.values()] == [4, 4, 4]
        # Whoever is where, packets get there, the largest too: all have one largest packet.
        assert {one.mtu("dev1", "ap1") for one in networks.values()} == {1450}
        for start, end in (("dev1", "edge1"), ("dev2", "edge1"), ("dev2", "dev1"), ("edge1", "ap1")):
            here, there = networks[PLACEMENT[start]], networks[PLACEMENT[end]]
            near = socket_in(here.namespace_pid(start), socket.AF_INET, socket.SOCK_DGRAM)
            far = socket_in(there.namespace_pid(end), socket.AF_INET, socket.SOCK_DGRAM)
            with near, far:
                near.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
                far.bind((there.address(end, start), 0))
                near.connect(far.getsockname())
                for _ in range(20):  # links lose packets
                    try:
                        assert round_trip(near, far, 1450 - 28)
                        break
                    except TimeoutError:
                        continue
                else:
                    pytest.fail(f"nothing gets from {start} to {end}")
                with pytest.raises(OSError, match="Message too long"):
                    near.send(bytes(1450 - 27))
        # Links between machines are certified as any.
        counted = carried(networks)
        for _ in range(3):  # on an overloaded machine packets do come late
            entries = certify_parts(
                TREE, lab1.links(), parts["lab1"], lambda: dict.fromkeys(networks, Same()), together(networks)
            )
            if all(entry.ok for entry in entries):
                break
        assert [entry.reason for entry in entries if not entry.ok] == []
        assert len(entries) == 8
        # What they carried is counted by whom it concerns, each direction once; what was lost is known.
        after = carried(networks)
        assert {*after} == {(*link, direction) for link in lab1.links() for direction in ("up", "down")}
        for direction, (entered, packets, delivered, delivered_packets, dropped) in after.items():
            was = counted[direction]
            assert entered - was[0] >= delivered - was[2] > 100_000
            assert packets - was[1] == delivered_packets - was[3] + dropped - was[4]
        # The system has them as asked.
        for name, network in networks.items():
            for pair, readings in network.readings().items():
                for node, reading, asked in zip(pair, readings, network.links()[pair], strict=True):
                    assert (reading is not None) is (PLACEMENT[node] == name)
                    if reading:
                        assert reading.parameters.delay_s == pytest.approx(asked.delay_s, abs=1e-6)
                        assert reading.parameters.bandwidth_bps == pytest.approx(asked.bandwidth_bps, abs=8)
        assert {(*one.link, one.direction) for one in survey(lab2.ownership.name).links} <= {*after}
    assert [tunnel_sockets(machine) for machine in machines] == [0, 0, 0]


@pytest.mark.parametrize("shaping", BACKENDS)
def test_links_between_machines_change_on_both(
    machines: list[LabMachine], fresh_name: Callable[[], str], shaping: Shaping
) -> None:
    name, link = fresh_name(), ("dev2", "ap1")
    with spread(name, TREE, split(TREE, PLACEMENT, machines, SAID), machines, shaping) as networks:
        ap1, dev2 = networks["lab1"], networks["lab2"]
        assert (dev2.sends(link, 0), dev2.sends(link, 1), ap1.sends(link, 0)) == (True, False, False)
        assert "takes 0.100 ms itself" in str(networks["lab3"].fault(link, 0, LinkParameters(1e6)))
        assert networks["lab3"].fault(("dev1", "ap1"), 0, LinkParameters(1e6)) is None
        slow, quick = LinkParameters(1e6, 0.010), LinkParameters(5e6, 0.002)
        for network in networks.values():
            network.set_link(*link, slow, quick)
            assert network.links()[link] == (slow, quick)
        up, down = dev2.readings()[link][0], ap1.readings()[link][1]
        assert up and down
        assert (up.parameters.bandwidth_bps, down.parameters.bandwidth_bps) == pytest.approx((1e6, 5e6))
        assert (up.parameters.delay_s, down.parameters.delay_s) == pytest.approx((0.010, 0.002))
        at_ns = time.monotonic_ns() + 200_000_000
        changes = [PlannedChange(at_ns, link, direction, LinkParameters(2e6, 0.003)) for direction in (0, 1)]
        for network in networks.values():
            network.schedule(changes)
        applied: dict[str, list[int]] = {one: [] for one in networks}
        eventually(
            lambda: all(
                len(found := applied[one]) == 2
                or found.extend(done.planned.direction for done in networks[one].applied())
                for one in networks
            )
        )
        up, down = dev2.readings()[link][0], ap1.readings()[link][1]
        assert up and down
        assert {up.parameters.bandwidth_bps, down.parameters.bandwidth_bps} == {2e6}
        assert all(network.links()[link][0].bandwidth_bps == 2e6 for network in networks.values())


def test_the_network_between_machines_is_measured_before_anything_is_made(machines: list[LabMachine]) -> None:
    first, second, third = machines
    began = time.monotonic()
    found = measured(first, second)
    assert time.monotonic() - began < 5
    assert 0 < found.delay_s < 0.05 and found.mtu == 1500 and min(found.rates_bps) > 20e6
    narrow = ["tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "20mbit", "burst", "10k", "latency", "20ms"]
    third.run(*narrow)
    third.run("ip", "link", "set", "eth0", "mtu", "1400")
    try:
        found = measured(first, third)
        assert found.rates_bps[0] > 2 * found.rates_bps[1] and 10e6 < found.rates_bps[1] < 30e6  # its burst counts
        assert found.mtu == 1400
    finally:
        third.run("ip", "link", "set", "eth0", "mtu", "1500")
        third.run("tc", "qdisc", "delete", "dev", "eth0", "root")
    with pytest.raises(NetworkError, match=r"from 10\.9\.0\.1 to 10\.9\.0\.2 could not be measured: .*firewall"):
        first.do(lambda: measure("10.9.0.1", "10.9.0.2", 9))


def test_what_a_slow_network_takes_is_taken_off_and_what_it_cannot_give_is_refused(
    built: Callable[..., EmulatedNetwork], fresh_name: Callable[[], str]
) -> None:
    slow = built(star(2, LinkParameters(50e6, 0.002)))  # a testbed's nodes are the machines of another
    machines = [
        LabMachine(f"lab{number}", slow.namespace_pid(f"dev{number}"), slow.address(f"dev{number}"))
        for number in (1, 2)
    ]
    underlay = measured(*machines)
    assert 0.004 < underlay.delay_s < 0.006 and 30e6 < min(underlay.rates_bps) <= max(underlay.rates_bps) < 52e6
    asked = LinkParameters(5e6, 0.010, 0.002)
    topology = msgspec.structs.replace(star(1, asked, asked), tolerance=Tolerance(0.05, 2.0))
    placement = {"ap1": "lab1", "edge1": "lab1", "dev1": "lab2"}
    parts = split(topology, placement, machines, underlay)
    with spread(fresh_name(), topology, parts, machines, Shaping.RELAY) as networks:
        links, clocks = networks["lab1"].links(), dict.fromkeys(networks, Same())
        entries = certify_parts(topology, links, parts["lab1"], lambda: clocks, together(networks), only=[0])
        assert [entry.reason for entry in entries if not entry.ok] == []
        assert {entry.asked.delay_ms for entry in entries} == {10.0}
    for ask, complaint in (
        (
            LinkParameters(5e6, 0.003),
            r"asks for a delay of 3\.000 ms but the network from lab2 to lab1 takes [45]\.\d\d\d",
        ),
        (
            LinkParameters(90e6, 0.010),
            r"asks for 90 Mbit/s but the network from lab2 to lab1 gives [345]\d(\.\d+)? Mbit/s",
        ),
    ):
        with pytest.raises(RefusedError, match=complaint):
            split(star(1, ask), placement, machines, underlay)


def test_tunnels_that_another_testbed_has_are_not_taken(
    machines: list[LabMachine], fresh_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnels, "_PATIENCE_S", 0.1)
    parts = split(TREE, PLACEMENT, machines, SAID)
    alone = {"lab2": parts["lab2"]}
    with spread(fresh_name(), TREE, alone, machines, Shaping.RELAY):
        with (
            pytest.raises(NetworkError, match=r"the tunnel from 10\.9\.0\.2 to 10\.9\.0\.1 for dev2 cannot be made"),
            spread(fresh_name(), TREE, alone, machines, Shaping.RELAY),
        ):
            pytest.fail("it was built")
        assert tunnel_sockets(machines[1]) == 1


BUILDER = """
import sys
import msgspec
from testbed.documents.resolved import ResolvedTopology
from testbed.network.build import EmulatedNetwork
from testbed.network.ownership import Ownership
from testbed.network.part import Part
from testbed.network.probe import choose_shaping
topology, part = msgspec.json.decode(sys.stdin.readline(), type=tuple[ResolvedTopology, Part])
network = EmulatedNetwork.build(topology, choose_shaping(), Ownership.create(sys.argv[1], part.machine), part=part)
print("built", flush=True)
sys.stdin.readline()
"""


def killed_while_building(name: str, machine: LabMachine, part: Part, lines: int | None) -> None:
    """Builds a part in a process on its machine, killed when the journal has so many lines, or when all is built."""
    journal = RUN_FOLDER / name / machine.name / "journal.jsonl"
    command = ["nsenter", f"--net=/proc/{machine.pid}/ns/net", sys.executable, "-c", BUILDER, name]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as builder:
        assert builder.stdin and builder.stdout
        builder.stdin.write(msgspec.json.encode((TREE, part)) + b"\n")
        builder.stdin.flush()
        if lines is None:
            assert builder.stdout.readline() == b"built\n"
        else:
            while not journal.exists():
                time.sleep(0.0005)
            while journal.read_text().count('"kind"') < lines and not (journal.parent / "state.json").exists():
                time.sleep(0.0002)
        builder.send_signal(signal.SIGKILL)


def undone_after_a_kill(name: str, machine: LabMachine, part: Part, lines: int | None) -> None:
    killed_while_building(name, machine, part, lines)
    ownership = Ownership.open(name)
    processes = set(ownership.processes())
    assert machine.do(ownership.undo).failures == []
    assert tunnel_sockets(machine) == 0
    assert not (RUN_FOLDER / name).exists() and not any(is_alive(one) for one in processes)
    assert ownership.group is None or not ownership.group.exists()
    assert json.loads(machine.run("ip", "-json", "link"))[1:][-1]["ifname"] == "eth0"


@pytest.mark.parametrize("lines", [5, 12, 20, None])
def test_a_part_killed_while_it_is_built_is_undone_and_the_others_stay(
    machines: list[LabMachine], fresh_name: Callable[[], str], lines: int | None
) -> None:
    parts = split(TREE, PLACEMENT, machines, SAID)
    with spread(fresh_name(), TREE, {"lab3": parts["lab3"]}, machines, Shaping.RELAY):
        undone_after_a_kill(fresh_name(), machines[0], parts["lab1"], lines)
        assert tunnel_sockets(machines[2]) == 1


@pytest.mark.kill
@pytest.mark.timeout(3600)
def test_a_part_killed_after_each_thing_made(machines: list[LabMachine], fresh_name: Callable[[], str]) -> None:
    part = split(TREE, PLACEMENT, machines, SAID)["lab1"]
    for lines in range(1, 40):
        undone_after_a_kill(fresh_name(), machines[0], part, lines)
