"""A testbed's actors as one thing: brought up together, found again by name, told of a run together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from testbed.documents.resolved import KillEvent, LinkChange, LinkEvent, ResolvedTopology
from testbed.jobs.ledger import LedgerRow
from testbed.network.certify import CertificateEntry
from testbed.network.probe import Shaping
from testbed.runtime.device_actor import DeviceActor
from testbed.runtime.edge_actor import EdgeActor
from testbed.runtime.network_actor import Applied, NetworkActor, node_addresses
from testbed.runtime.run_spec import NodeAddress, RunSpec

DEVICES_PER_ACTOR = 50

_NETWORK = "network"


class Assembly:
    """The actors of one testbed, as handles: the network, its edges, and the hosts of its devices."""

    def __init__(self, ray: Any, topology: ResolvedTopology, board: Path) -> None:
        self._ray, self.topology, self._board = ray, topology, board
        self._nodes: dict[str, NodeAddress] = {}
        self._network: Any = None
        self._edges: dict[str, Any] = {}
        self._devices: list[Any] = []

    @classmethod
    def bring_up(cls, ray: Any, topology: ResolvedTopology, board: Path, shaping: Shaping) -> Assembly:
        """Start the network's actor, which builds the network, then one actor per edge and per fifty devices.

        All are detached: they outlive the command.
        """
        assembly = cls(ray, topology, board)
        assembly._network = assembly._actor(NetworkActor, _NETWORK, max_concurrency=4).remote(
            topology.name, msgspec.msgpack.encode(topology), shaping.value, str(board)
        )
        assembly._nodes = node_addresses(ray.get(assembly._network.nodes.remote()))
        for edge in topology.edges:
            assembly._edges[edge] = assembly._start_edge(edge)
        for index, names in enumerate(_groups(list(topology.devices))):
            host = assembly._actor(DeviceActor, f"devices-{index}")
            assembly._devices.append(host.remote(names, msgspec.msgpack.encode(topology), str(board)))
        ray.get([actor.pid.remote() for actor in (*assembly._edges.values(), *assembly._devices)])
        return assembly

    @classmethod
    def find(cls, ray: Any, topology: ResolvedTopology, board: Path) -> Assembly:
        """The actors that an earlier command brought up. An edge that was killed since is started anew.

        Raises:
            ValueError: the network's or a device host's actor is gone.
        """
        assembly = cls(ray, topology, board)
        assembly._network = ray.get_actor(_NETWORK)
        assembly._nodes = node_addresses(ray.get(assembly._network.nodes.remote()))
        assembly._devices = [
            ray.get_actor(f"devices-{index}") for index, _ in enumerate(_groups(list(topology.devices)))
        ]
        for edge in topology.edges:
            try:
                assembly._edges[edge] = ray.get_actor(f"edge-{edge}")
            except ValueError:
                assembly._edges[edge] = assembly._start_edge(edge)
        return assembly

    @property
    def nodes(self) -> dict[str, NodeAddress]:
        """Where devices and edges live."""
        return self._nodes

    def certify(self) -> list[CertificateEntry]:
        """Measure every direction of every link against what it is set to now."""
        return msgspec.json.decode(self._ray.get(self._network.certify.remote()), type=list[CertificateEntry])

    def change(self, a: str, b: str, up: LinkChange, down: LinkChange) -> None:
        """Change a link by hand."""
        self._ray.get(self._network.change.remote(a, b, msgspec.json.encode(up), msgspec.json.encode(down)))

    def prepare(self, spec: RunSpec) -> None:
        """Make everybody ready for a run: edges listen before devices connect."""
        packed = self._ray.put(spec.encode())
        self._ray.get([edge.prepare.remote(packed) for edge in self._edges.values()])
        self._ray.get([host.prepare.remote(packed) for host in self._devices])

    def start(self, events: tuple[LinkEvent | KillEvent, ...], lead_s: float) -> float:
        """Let the run begin so many seconds from now, everywhere; returns that instant (monotonic clock)."""
        pids = dict(zip(self._edges, self._ray.get([edge.pid.remote() for edge in self._edges.values()]), strict=True))
        start_s = time.monotonic() + lead_s
        waits = [self._network.play.remote(start_s, msgspec.json.encode(events), pids)]
        waits += [host.start.remote(start_s) for host in self._devices]
        self._ray.get(waits)
        return start_s

    def collect(self) -> tuple[list[LedgerRow], bool]:
        """The rows since the last call, and whether every device has finished."""
        answers = [
            msgspec.msgpack.decode(answer, type=tuple[list[LedgerRow], bool])
            for answer in self._ray.get([host.collect.remote() for host in self._devices])
        ]
        return [row for rows, _ in answers for row in rows], all(finished for _, finished in answers)

    def finish(self) -> tuple[list[Applied], int]:
        """End the run on every actor and put links and edges back.

        Returns:
            The channel as applied, and the number of pacing overruns.
        """
        overruns = sum(self._ray.get([host.finish.remote() for host in self._devices]))
        for name, edge in self._edges.items():
            try:
                overruns += self._ray.get(edge.finish.remote())
            except self._ray.exceptions.RayActorError:
                self._edges[name] = self._start_edge(name)
        applied = msgspec.json.decode(self._ray.get(self._network.rewind.remote()), type=list[Applied])
        return applied, overruns

    def _start_edge(self, name: str) -> Any:
        actor = self._actor(EdgeActor, f"edge-{name}", get_if_exists=True)
        return actor.remote(name, self._nodes[name], msgspec.msgpack.encode(self.topology), str(self._board))

    def _actor(self, cls: Callable[..., object], name: str, **options: Any) -> Any:
        return self._ray.remote(cls).options(
            name=name, lifetime="detached", num_cpus=0, resources={"machine:local": 1}, **options
        )


def _groups(devices: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(devices), DEVICES_PER_ACTOR):
        yield devices[first : first + DEVICES_PER_ACTOR]
