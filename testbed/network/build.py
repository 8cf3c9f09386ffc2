"""The emulated network of one machine: built from a resolved topology, changed and counted while it stands."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from testbed.documents.resolved import LinkParameters, ResolvedTopology
from testbed.network.addressing import BRIDGE, Addressing, addressing
from testbed.network.errors import NetworkError
from testbed.network.holders import Holders
from testbed.network.interfaces import Interfaces
from testbed.network.links import (
    AppliedChange,
    Backend,
    Counters,
    Done,
    Planned,
    PlannedChange,
    Reading,
    Readings,
    Wire,
)
from testbed.network.netem import NetemLinks
from testbed.network.ownership import Ownership
from testbed.network.part import Crossing, Part, whole
from testbed.network.relay import RelayLinks
from testbed.network.shape import Shaping
from testbed.network.state import NodeState, State, read_state, write_state
from testbed.network.wires import wires

if TYPE_CHECKING:
    from mininet.net import Mininet

Pair = tuple[str, str]

DIRECTIONS = ("up", "down")
"""`up` is from the node that a link names first to the second."""


class ProbeEnd(NamedTuple):
    """One end of a link as a prober sees it: a process in its namespace, an address there, that address's interface."""

    pid: int
    address: str
    name: str


class EmulatedNetwork:
    """The emulated network of a testbed on this machine. Made by `build`, or by `attach` to one that stands.

    Where a testbed lies on several machines, each has its part: it knows of all links, and makes, changes and counts
    the directions that are sent from here. Its methods may be called from any thread.
    """

    def __init__(self, state: State, plan: Addressing, backend: Backend, ownership: Ownership) -> None:
        self.shaping = state.shaping
        self.topology = state.topology
        self.part = state.part
        self._nodes = state.nodes
        self._plan = plan
        self._backend = backend
        self._ownership = ownership
        pids = {name: node.pid for name, node in state.nodes.items()}
        self._wires = wires(state.topology, plan, pids, state.part)
        self._mtus = state.part.mtus(state.topology, plan)
        links = state.topology.links
        self._crossings = {(links[one.link].a, links[one.link].b): one for one in state.part.crossings}
        self._set = {(link.a, link.b): (link.up, link.down) for link in state.topology.links}
        self._planned: dict[int, PlannedChange] = {}
        self._elsewhere: list[tuple[int, int]] = []  # instants and numbers of changes that other machines make
        self._count = 0
        self._lock = threading.Lock()
        self._holders: Holders | None = None
        self._mininet: Mininet | None = None

    @classmethod
    def build(
        cls,
        topology: ResolvedTopology,
        shaping: Shaping,
        ownership: Ownership,
        *,
        seed: int = 0,
        part: Part | None = None,
    ) -> EmulatedNetwork:
        """Builds a topology. Works in any thread; nothing lies in the machine's own network namespace at any moment but
        the sockets of tunnels.

        The nodes' namespaces end with the calling process.

        Args:
            topology: what to build.
            shaping: how its links are shaped; see `choose_shaping`.
            ownership: whose journal and cgroup are used. When building fails, `ownership.undo()` removes what was made.
            seed: of the relay's losses and jitter.
            part: what of it lies here, to be called in the machine's own namespace; None: all.

        Raises:
            NetworkError: something could not be made; says what and why.
        """
        from testbed.network.mininet_nodes import mininet

        plan, part = addressing(topology), part or whole(topology, ownership.machine)
        here = [name for name in plan.by_node if part.here(name)]
        ownership.record_all({"kind": "namespace", "node": name} for name in here)
        holders = Holders(ownership, here)
        nodes = {}
        for name in here:
            kind = "access_point" if name in plan.groups else "edge" if name in topology.edges else "device"
            addresses = {interface.name: interface.address for interface in plan.by_node[name]}
            nodes[name] = NodeState(kind, *holders.of[name], addresses)
        ownership.record_all(
            {"kind": "interface", "node": end.node, "name": end.name}
            for end in itertools.chain(*plan.ends.values())
            if end.node in nodes
        )
        pids = {name: node.pid for name, node in nodes.items()}
        links = wires(topology, plan, pids, part)
        backend: Backend
        if shaping is Shaping.RELAY:
            backend = RelayLinks.start(ownership, len(links), seed or zlib.crc32(ownership.name.encode()))
        else:
            backend = NetemLinks(ownership)
        state = State(ownership.name, ownership.machine, shaping, topology, nodes, part)
        network = cls(state, plan, backend, ownership)
        network._holders, network._mininet = holders, mininet(plan, holders.of, ownership)
        Interfaces(topology, plan, part, pids, links, backend, ownership).set_up()
        set_to = {pair: network._set[pair] for pair in links}
        asked = [(network._emulated(pair, up), network._emulated(pair, down)) for pair, (up, down) in set_to.items()]
        backend.shape([*links.values()], asked)
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
            where = self.part.placement.get(node)
            raise NetworkError(
                f"{node} lies on {where}, not here"
                if where
                else f"there is no node {node!r}: the nodes are {', '.join(self._nodes)}"
            )
        return self._nodes[node].pid

    def wire(self, a: str, b: str) -> Wire:
        """A link's interfaces and namespaces here.

        Raises:
            NetworkError: there is no such link, it is named the other way round, or no end of it lies here.
        """
        self._known((a, b))
        if (a, b) not in self._wires:
            raise NetworkError(f"the link from {a} to {b} lies on {self.part.placement[a]}, not here")
        return self._wires[a, b]

    def _known(self, link: Pair) -> None:
        if link not in self._set:
            turned = "; it is named the other way round" if link[::-1] in self._set else ""
            raise NetworkError(f"there is no link from {link[0]} to {link[1]}{turned}")

    def sends(self, link: Pair, direction: int) -> bool:
        """Whether one direction (0: up) of a link is sent, and so shaped, on this machine."""
        return self.part.here(link[direction])

    def _emulated(self, link: Pair, parameters: LinkParameters) -> LinkParameters:
        """What of a direction is left to the backend."""
        crossing = self._crossings.get(link)
        return crossing.emulated(parameters) if crossing else parameters

    def fault(self, link: Pair, direction: int, parameters: LinkParameters) -> str | None:
        """Why one direction (0: up) of a link cannot be so over the network between the machines of its ends; None if
        it can, or if there is but one."""
        crossing = self._crossings.get(link)
        return crossing.fault(direction, parameters) if crossing else None

    def mtu(self, a: str, b: str) -> int:
        """The largest packet that a link takes, in IP bytes."""
        return self._mtus[self._plan.groups[a if a in self._plan.groups else b]]

    def probe_end(self, a: str, b: str, side: int) -> ProbeEnd:
        """Where probes of a link are sent from or received: at its first (0) or second (1) node. The process is 0 where
        that node lies on another machine."""
        self._known((a, b))
        node, name = self._plan.ends[a, b][side].node, self._plan.ends[a, b][side].name
        here = next(one for one in self._plan.by_node[node] if one.name in (name, BRIDGE))
        return ProbeEnd(self._nodes[node].pid if node in self._nodes else 0, here.address, here.name)

    def set_link(self, a: str, b: str, up: LinkParameters, down: LinkParameters) -> None:
        """Changes a link in place, at once: no queued packet is lost. What is sent on another machine is changed there.

        Raises:
            NetworkError: there is no such link, or the change was refused.
        """
        self._known((a, b))
        with self._lock:
            if wire := self._wires.get((a, b)):
                for direction in wire.directions:  # known or not: a refused change leaves doubt
                    self._backend.change(wire, direction, self._emulated((a, b), (up, down)[direction]))
            self._set[a, b] = (up, down)

    def schedule(self, changes: Sequence[PlannedChange]) -> None:
        """Has links changed in place at their instants, as `set_link` does; returns before. Of what is sent on another
        machine, which is to be told the same, it is taken that it is changed in time.

        Raises:
            NetworkError: there is no such link.
        """
        with self._lock:
            planned = []
            for change in changes:
                self._known(change.link)
                self._planned[self._count] = change
                if self.sends(change.link, change.direction):
                    emulated = self._emulated(change.link, change.parameters)
                    wire = self._wires[change.link]
                    planned.append(Planned(self._count, change.at_ns, wire, change.direction, emulated))
                else:
                    heapq.heappush(self._elsewhere, (change.at_ns, self._count))
                self._count += 1
            self._backend.schedule(planned)

    def applied(self) -> list[AppliedChange]:
        """The scheduled changes that were applied since the last call, in the order in which they were.

        Raises:
            NetworkError: one was refused.
        """
        with self._lock:
            found = []
            for number, applied_ns in self._done():
                change = self._planned.pop(number)
                both = self._set[change.link]
                self._set[change.link] = (
                    (change.parameters, both[1]) if change.direction == 0 else (both[0], change.parameters)
                )
                found.append(AppliedChange(change, applied_ns))
            return found

    def _done(self) -> list[Done]:
        """What the backend has applied, and what should have been elsewhere."""
        done, now_ns = self._backend.done(), time.monotonic_ns()
        if not (self._elsewhere and self._elsewhere[0][0] <= now_ns):
            return done
        while self._elsewhere and self._elsewhere[0][0] <= now_ns:
            at_ns, number = heapq.heappop(self._elsewhere)
            done.append(Done(number, at_ns))
        return sorted(done, key=lambda one: one.applied_ns)

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
            self._elsewhere.clear()

    def links(self) -> dict[tuple[str, str], tuple[LinkParameters, LinkParameters]]:
        """Each link's two directions, `up` and `down`, as they are set now."""
        with self._lock:
            return dict(self._set)

    def readings(self) -> dict[tuple[str, str], Readings]:
        """Both directions of the links that have an end here, as the system has them, and what they have carried since
        they were built; None of the one that is sent on another machine, and of what crosses to one, with the real
        network's delay."""
        with self._lock:
            found = dict(zip(self._wires, self._backend.read([*self._wires.values()]), strict=True))
        for pair, crossing in self._crossings.items():
            if pair in found:
                up, down = found[pair]
                found[pair] = (up and _crossed(up, crossing), down and _crossed(down, crossing))
        return found

    def counters(self) -> dict[tuple[str, str, str], Counters]:
        """What each direction that is sent here has carried since it was built, by the link's nodes and `up` or `down`;
        of what crosses to another machine, up to the tunnel."""
        return {
            (a, b, direction): one.counters
            for (a, b), both in self.readings().items()
            for direction, one in zip(DIRECTIONS, both, strict=True)
            if one is not None
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


def _crossed(reading: Reading, crossing: Crossing) -> Reading:
    """A reading with the delay of the real network."""
    own = reading.parameters
    return reading._replace(parameters=msgspec.structs.replace(own, delay_s=own.delay_s + crossing.delay_s))
