"""The emulated network of one machine: built from a resolved topology, changed and counted while it stands."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from testbed.documents.resolved import LinkParameters, ResolvedTopology
from testbed.network.addressing import BRIDGE, PREFIX, Addressing, addressing
from testbed.network.batch import run_batch
from testbed.network.errors import NetworkError
from testbed.network.holders import Holders
from testbed.network.links import Air, AppliedChange, Backend, Counters, Planned, PlannedChange, Reading, Wire
from testbed.network.namespace import call_in
from testbed.network.netem import NetemLinks
from testbed.network.ownership import Ownership
from testbed.network.relay import RelayLinks
from testbed.network.shape import MTU, Shaping
from testbed.network.state import NodeState, State, read_state, write_state

if TYPE_CHECKING:
    from mininet.net import Mininet

DIRECTIONS = ("up", "down")
"""`up` is from the node that a link names first to the second."""


class ProbeEnd(NamedTuple):
    """One end of a link as a prober sees it: a process in its namespace, an address there, that address's interface."""

    pid: int
    address: str
    name: str


class EmulatedNetwork:
    """The emulated network of a testbed on this machine. Made by `build`, or by `attach` to one that stands.

    Its methods may be called from any thread.
    """

    def __init__(self, state: State, plan: Addressing, backend: Backend, ownership: Ownership) -> None:
        self.shaping = state.shaping
        self.topology = state.topology
        self._nodes = state.nodes
        self._plan = plan
        self._backend = backend
        self._ownership = ownership
        self._wires = _wires(state.topology, plan, {name: node.pid for name, node in state.nodes.items()})
        self._set = {(link.a, link.b): (link.up, link.down) for link in state.topology.links}
        self._planned: dict[int, PlannedChange] = {}
        self._count = 0
        self._lock = threading.Lock()
        self._holders: Holders | None = None
        self._mininet: Mininet | None = None

    @classmethod
    def build(
        cls, topology: ResolvedTopology, shaping: Shaping, ownership: Ownership, *, seed: int = 0
    ) -> EmulatedNetwork:
        """Builds a topology. Works in any thread; nothing lies in the machine's own network namespace at any moment.

        The nodes' namespaces end with the calling process.

        Args:
            topology: what to build.
            shaping: how its links are shaped; see `choose_shaping`.
            ownership: whose journal and cgroup are used. When building fails, `ownership.undo()` removes what was made.
            seed: of the relay's losses and jitter.

        Raises:
            NetworkError: something could not be made; says what and why.
        """
        from testbed.network.mininet_nodes import mininet

        plan = addressing(topology)
        ownership.record_all({"kind": "namespace", "node": name} for name in plan.by_node)
        holders = Holders(ownership, [*plan.by_node])
        nodes = {}
        for name, interfaces in plan.by_node.items():
            kind = "access_point" if name in plan.groups else "edge" if name in topology.edges else "device"
            addresses = {interface.name: interface.address for interface in interfaces}
            nodes[name] = NodeState(kind, *holders.of[name], addresses)
        ownership.record_all(
            {"kind": "interface", "node": end.node, "name": end.name} for ends in plan.ends.values() for end in ends
        )
        backend: Backend
        if shaping is Shaping.RELAY:
            backend = RelayLinks(ownership, seed or zlib.crc32(ownership.name.encode()), start=True)
        else:
            backend = NetemLinks(ownership)
        relay_socket = str(backend.path) if isinstance(backend, RelayLinks) else None
        state = State(ownership.name, ownership.machine, shaping, topology, nodes, relay_socket)
        network = cls(state, plan, backend, ownership)
        network._holders, network._mininet = holders, mininet(plan, holders.of, ownership)
        network._set_up()
        backend.shape([*network._wires.values()], [*network._set.values()])
        write_state(ownership, state)
        return network

    @classmethod
    def attach(cls, ownership: Ownership) -> EmulatedNetwork:
        """The network of a testbed that stands, seen from another process. `links` then tells what was built, not what
        its owner has set since.

        Raises:
            NotUpError: the testbed is not whole.
            NetworkError: its relay does not answer.
        """
        state = read_state(ownership)
        backend = RelayLinks(ownership, start=False) if state.shaping is Shaping.RELAY else NetemLinks(ownership)
        return cls(state, addressing(state.topology), backend, ownership)

    def _set_up(self) -> None:
        """Makes and configures every interface."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            pids = [node.pid for node in self._nodes.values()]
            list(pool.map(lambda pid: call_in(pid, lambda: _set_kernel(self.topology.congestion_control)), pids))
            for commands in self._commands():
                list(pool.map(self._configure, commands, commands.values()))
            list(pool.map(self._switch, self._plan.ports))

    def _commands(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """What `ip` is to do in each node: first what makes both ends of links, then all else."""
        plan = self._plan
        first: dict[str, list[str]] = {}
        then: dict[str, list[str]] = {name: ["link set lo up"] for name in plan.by_node}
        for access_point in plan.groups:
            then[access_point].append(f"link add {BRIDGE} type bridge forward_delay 0 stp_state 0 mcast_snooping 0")
        for wire in self._wires.values():
            (near, far), (near_made, far_made) = wire.ends, self._backend.making(wire)
            first.setdefault(far.node, []).extend(far_made)
            then[near.node] += near_made
            for end in (near, far):
                if end.node in plan.groups:
                    then[end.node].append(f"link set {end.name} mtu {MTU} master {BRIDGE} up")
        known = plan.neighbours(frozenset(self.topology.edges))
        for name, interfaces in plan.by_node.items():
            for interface in interfaces:
                then[name] += [
                    f"link set {interface.name} mtu {MTU} address {interface.mac}",
                    f"address add {interface.address}/{PREFIX} broadcast + dev {interface.name} noprefixroute",
                    f"link set {interface.name} up",
                ]
            for own, other in known[name]:
                then[name].append(f"neighbour replace {other.address} lladdr {other.mac} nud permanent dev {own}")
            then[name] += _routes(plan, name, self.topology.congestion_control)
        return first, then

    def _configure(self, node: str, commands: list[str]) -> None:
        run_batch(self._ownership, self._nodes[node].pid, "ip", commands)

    def _switch(self, access_point: str) -> None:
        """Tells an access point's bridge which port leads where, and waits until it forwards."""
        ports = self._plan.ports[access_point]
        entries = [f"fdb add {mac} dev {port} master static" for mac, port in ports.items()]
        run_batch(self._ownership, self._nodes[access_point].pid, "bridge", entries)
        self._wait_until_forwarding(access_point, set(ports.values()))

    def _wait_until_forwarding(self, access_point: str, ports: set[str]) -> None:
        until = time.monotonic() + 10
        while True:
            child = self._ownership.popen(
                ["bridge", "-json", "link", "show"], in_pid_netns=self._nodes[access_point].pid, stdout=subprocess.PIPE
            )
            said = child.communicate()[0]
            forwarding = {port["ifname"] for port in json.loads(said or b"[]") if port.get("state") == "forwarding"}
            if ports <= forwarding:
                return
            if time.monotonic() > until:
                raise NetworkError(f"ports of {access_point} do not forward: {', '.join(sorted(ports - forwarding))}")
            time.sleep(0.005)

    # What stands.

    def address(self, node: str, peer: str | None = None) -> str:
        """The address by which `peer` reaches `node`; without a peer, the node's first.

        Raises:
            NetworkError: there is no such node, or no way between the two.
        """
        return self._plan.address(node, peer)

    def namespace_pid(self, node: str) -> int:
        """The process that holds a node's namespace.

        Raises:
            NetworkError: there is no such node.
        """
        if node not in self._nodes:
            raise NetworkError(f"there is no node {node!r}: the nodes are {', '.join(self._nodes)}")
        return self._nodes[node].pid

    def wire(self, a: str, b: str) -> Wire:
        """A link's interfaces and namespaces.

        Raises:
            NetworkError: there is no such link, or it is named the other way round.
        """
        if (a, b) not in self._wires:
            turned = "; it is named the other way round" if (b, a) in self._wires else ""
            raise NetworkError(f"there is no link from {a} to {b}{turned}")
        return self._wires[a, b]

    def probe_end(self, a: str, b: str, side: int) -> ProbeEnd:
        """Where probes of a link are sent from or received: at its first (0) or second (1) node."""
        wire = self.wire(a, b)
        node, name = wire.ends[side].node, wire.ends[side].name
        here = next(one for one in self._plan.by_node[node] if one.name in (name, BRIDGE))
        return ProbeEnd(wire.pids[side], here.address, here.name)

    def set_link(self, a: str, b: str, up: LinkParameters, down: LinkParameters) -> None:
        """Changes a link in place, at once: no queued packet is lost.

        Raises:
            NetworkError: there is no such link, or the change was refused.
        """
        wire = self.wire(a, b)
        with self._lock:
            for direction, (old, new) in enumerate(zip(self._set[a, b], (up, down), strict=True)):
                if new != old:
                    self._backend.change(wire, direction, new)
            self._set[a, b] = (up, down)

    def schedule(self, changes: Sequence[PlannedChange]) -> None:
        """Has links changed in place at their instants, as `set_link` does; returns before.

        Raises:
            NetworkError: there is no such link.
        """
        with self._lock:
            planned = []
            for change in changes:
                self._planned[self._count] = change
                wire = self.wire(*change.link)
                planned.append(Planned(self._count, change.at_ns, wire, change.direction, change.parameters))
                self._count += 1
            self._backend.schedule(planned)

    def applied(self) -> list[AppliedChange]:
        """The scheduled changes that were applied since the last call, in the order in which they were.

        Raises:
            NetworkError: one was refused.
        """
        with self._lock:
            found = []
            for number, applied_ns in self._backend.done():
                change = self._planned.pop(number)
                both = self._set[change.link]
                self._set[change.link] = (
                    (change.parameters, both[1]) if change.direction == 0 else (both[0], change.parameters)
                )
                found.append(AppliedChange(change, applied_ns))
            return found

    def cancel(self) -> list[AppliedChange]:
        """Forgets what is scheduled and not applied; what was applied since the last call of `applied`."""
        with self._lock:
            self._backend.cancel()
        found = self.applied()
        self._planned.clear()
        return found

    def links(self) -> dict[tuple[str, str], tuple[LinkParameters, LinkParameters]]:
        """Each link's two directions, `up` and `down`, as they are set now."""
        with self._lock:
            return dict(self._set)

    def readings(self) -> dict[tuple[str, str], tuple[Reading, Reading]]:
        """Each link's two directions as the system has them, and what they have carried since they were built."""
        with self._lock:
            return dict(zip(self._wires, self._backend.read([*self._wires.values()]), strict=True))

    def counters(self) -> dict[tuple[str, str, str], Counters]:
        """What each direction has carried since it was built, by the link's nodes and `up` or `down`."""
        return {
            (a, b, direction): one.counters
            for (a, b), both in self.readings().items()
            for direction, one in zip(DIRECTIONS, both, strict=True)
        }

    def stop(self) -> None:
        """Ends the namespaces, if this object made them, and lets go of helpers; `Ownership.undo` ends the rest."""
        self._backend.close()
        if self._mininet is not None:
            self._mininet.stop()
            self._mininet = None
        if self._holders is not None:
            self._holders.close()
            self._holders = None

    @property
    def mininet(self) -> Mininet:
        """Mininet's own objects, as its users know them.

        Raises:
            NetworkError: the network was built by another process, or has been stopped.
        """
        if self._mininet is None:
            raise NetworkError("Mininet's objects are only where the network was built")
        return self._mininet

    @property
    def ownership(self) -> Ownership:
        """The testbed that this network belongs to."""
        return self._ownership


def _wires(topology: ResolvedTopology, plan: Addressing, pids: dict[str, int]) -> dict[tuple[str, str], Wire]:
    """The links by their nodes, in the topology's order."""
    sharing = Counter(name for device in topology.devices.values() for name in device.access_points)
    wires = {}
    for number, link in enumerate(topology.links):
        pair = (link.a, link.b)
        wires[pair] = Wire(number, plan.ends[pair], (pids[link.a], pids[link.b]), _air(topology, sharing, pair))
    return wires


def _air(topology: ResolvedTopology, sharing: Counter[str], pair: tuple[str, str]) -> Air | None:
    """What a link shares: that of a device does, where its access point has a total rate."""
    for side, node in enumerate(pair):
        if pair[1 - side] in topology.devices and (total_bps := topology.access_points[node].bandwidth_bps) is not None:
            return Air(node, side, total_bps, sharing[node])
    return None


def _routes(plan: Addressing, node: str, congestion_control: str) -> list[str]:
    """A node's routes, each saying which congestion control TCP uses on it. Where a node has several interfaces in one
    subnet, the first is used unless a socket is bound to the address of another."""
    lines = []
    for number, interface in enumerate(plan.by_node[node]):
        route = f"10.{interface.group}.0.0/{PREFIX} dev {interface.name} src {interface.address}"
        route += f" congctl {congestion_control}"
        lines += [
            f"route add {route} metric {number}",
            f"rule add from {interface.address} table {100 + number}",
            f"route add {route} table {100 + number}",
        ][: 1 if len(plan.by_node[node]) == 1 else 3]
    return lines


def _set_kernel(congestion_control: str) -> None:
    """Sets the network namespace of the calling thread; no other is changed."""
    net = Path("/proc/sys/net")
    with contextlib.suppress(OSError):  # not every kernel lets a namespace have every default: the routes see to it too
        (net / "ipv4/tcp_congestion_control").write_text(congestion_control)
    available = (net / "ipv4/tcp_available_congestion_control").read_text().split()
    if congestion_control not in available:
        raise NetworkError(
            f"this kernel has no congestion control {congestion_control!r}: it has {', '.join(available)}"
            f" (try: modprobe tcp_{congestion_control})"
        )
    (net / "ipv4/tcp_slow_start_after_idle").write_text("0")  # a connection keeps its window while idle
    (net / "ipv4/tcp_no_metrics_save").write_text("1")  # a connection learns nothing from those before it
    for which in ("all", "default"):
        (net / f"ipv4/conf/{which}/rp_filter").write_text("0")
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6 has nothing to disable
            (net / f"ipv6/conf/{which}/disable_ipv6").write_text("1")
