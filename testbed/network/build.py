"""The emulated network of one machine: built from a resolved topology, changed and counted while it stands."""

from __future__ import annotations

import itertools
import os
import threading
import zlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from testbed.documents.resolved import LinkParameters, ResolvedTopology
from testbed.network.addressing import BRIDGE, Addressing, addressing
from testbed.network.batch import run_batch
from testbed.network.errors import NetworkError
from testbed.network.holders import Holders
from testbed.network.links import Air, AppliedChange, Backend, Counters, Planned, PlannedChange, Reading, Wire
from testbed.network.namespace import call_in
from testbed.network.netem import NetemLinks
from testbed.network.node_settings import set_kernel, settings
from testbed.network.offload import finish_before_sending
from testbed.network.ownership import Ownership
from testbed.network.relay import RelayLinks
from testbed.network.shape import Shaping
from testbed.network.state import NodeState, State, read_state, write_state
from testbed.network.switches import LinuxBridge, OpenVSwitch

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
            backend = RelayLinks.start(ownership, len(topology.links), seed or zlib.crc32(ownership.name.encode()))
        else:
            backend = NetemLinks(ownership)
        state = State(ownership.name, ownership.machine, shaping, topology, nodes)
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
        backend = RelayLinks.attach(ownership) if state.shaping is Shaping.RELAY else NetemLinks(ownership)
        return cls(state, addressing(state.topology), backend, ownership)

    def _set_up(self) -> None:
        """Makes and configures every interface: those of the links, then the switches, then all else."""
        plan, switch = self._plan, OpenVSwitch if self.topology.switch == "ovs" else LinuxBridge
        ports: dict[str, list[str]] = {name: [] for name in plan.groups}
        for end in itertools.chain(*plan.ends.values()):
            if end.node in ports:
                ports[end.node].append(end.name)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self._set_kernel, plan.by_node))
            first, then = self._making()
            list(pool.map(self._configure, first, first.values()))
            switches = {name: switch(self._ownership, name, self._nodes[name].pid) for name in plan.groups}
            macs = {name: plan.by_node[name][0].mac for name in switches}
            made = pool.map(lambda name: switches[name].making(ports[name], macs[name]), switches)
            for name, commands in zip(switches, made, strict=True):
                then[name] += commands
            for name, commands in settings(plan, self.topology).items():
                then[name] += commands
            list(pool.map(self._configure, then, then.values()))
            list(pool.map(lambda name: switches[name].lead(plan.ports[name]), switches))
        if not all(one.kernel for one in switches.values()):
            for wire in self._wires.values():
                for end, pid in zip(wire.ends, wire.pids, strict=True):
                    call_in(pid, lambda name=end.name: finish_before_sending(name))  # type: ignore[misc]

    def _making(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """The `ip` commands that make the links' interfaces in each node: those of the links' second ends, which make
        both, and then those of the first."""
        second: dict[str, list[str]] = {}
        first: dict[str, list[str]] = {name: ["link set lo up"] for name in self._plan.by_node}
        for wire in self._wires.values():
            near, far = self._backend.making(wire)
            first[wire.ends[0].node] += near
            second.setdefault(wire.ends[1].node, []).extend(far)
        return second, first

    def _set_kernel(self, node: str) -> None:
        call_in(self._nodes[node].pid, lambda: set_kernel(self.topology.congestion_control))

    def _configure(self, node: str, commands: list[str]) -> None:
        run_batch(self._ownership, self._nodes[node].pid, "ip", commands)

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
            for direction, new in enumerate((up, down)):  # known or not: a refused change leaves doubt
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
        """Forgets what is scheduled and not applied; what was applied since the last call of `applied`.

        Raises:
            NetworkError: a change was refused.
        """
        with self._lock:
            self._backend.cancel()
        try:
            return self.applied()
        finally:
            self._planned.clear()

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
