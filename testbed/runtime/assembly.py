"""A testbed's actors as one thing: brought up together, found again by name, told of a run together."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from testbed.documents.resolved import Event, Limits, LinkChange, ResolvedTopology
from testbed.jobs.ledger import LedgerRow
from testbed.jobs.slot import LAST_FOR, SlotRow
from testbed.network.certify import CertificateEntry
from testbed.network.counters import Carried, Direction
from testbed.network.event_log import Happened
from testbed.network.record import LinkRows
from testbed.network.shape import Shaping
from testbed.runtime.decider_actor import DeciderActor
from testbed.runtime.device_actor import DeviceActor
from testbed.runtime.edge_actor import EdgeActor
from testbed.runtime.network_actor import NetworkActor, node_addresses
from testbed.runtime.playing import Played
from testbed.runtime.run_spec import NodeAddress, RunSpec
from testbed.runtime.tally import Tally

DEVICES_PER_ACTOR = 50


class AssemblyError(Exception):
    """A process of the testbed is gone, or could not do what it was asked."""


class Ending(msgspec.Struct):
    """What is left to tell when a run has ended."""

    rows: list[LedgerRow] = []
    links: LinkRows = msgspec.field(default_factory=LinkRows)  # as set
    slots: list[SlotRow] = []
    events: list[Happened] = []
    overruns: int = 0  # paced computations that outlasted their pace
    losses: list[str] = []  # processes that died, and links that were not as planned or could not be put back


_NETWORK, _DECIDER = "network", "the decider"
_ANSWERS_WITHIN_S = 10.0  # a user's policy may hold its whole process
_UNDECIDED = (
    f"the decider died, or did not answer for {_ANSWERS_WITHIN_S:g} s: devices went on with its last decision for "
    f"{LAST_FOR} slots, then with greedy"
)
_HERE = {"machine:local": 1}


class Assembly:
    """The actors of one testbed, as handles: the network, its edges, and the hosts of its devices."""

    def __init__(self, ray: Any, topology: ResolvedTopology, board: Path) -> None:
        self._ray, self.topology, self._board = ray, topology, board
        self._nodes: dict[str, NodeAddress] = {}
        self._network: Any = None
        self._edges: dict[str, Any] = {}
        self._devices: dict[str, Any] = {}
        self._lost: dict[str, str] = {}
        self._decider: Any = None  # of the run, if it is decided by slots
        self._decider_lives = False
        self._slot_s: float | None = None

    @classmethod
    def bring_up(cls, ray: Any, topology: ResolvedTopology, board: Path, shaping: Shaping) -> Assembly:
        """Start the network's actor, which builds the network, then one actor per edge and per fifty devices.

        All are detached: they outlive the command.

        Raises:
            AssemblyError: the network cannot be built, or a process does not start.
        """
        assembly = cls(ray, topology, board)
        assembly._network = assembly._actor(NetworkActor, _NETWORK, max_concurrency=4).remote(
            topology.name, msgspec.msgpack.encode(topology), shaping.value, str(board)
        )
        assembly._nodes = node_addresses(assembly._get(assembly._network.nodes.remote(), _NETWORK))
        for edge in topology.edges:
            assembly._edges[edge] = assembly._start_edge(edge)
        for host, names in _hosts(topology).items():
            actor = assembly._actor(DeviceActor, host)
            assembly._devices[host] = actor.remote(names, msgspec.msgpack.encode(topology), str(board))
        for who, actor in (assembly._edges | assembly._devices).items():
            assembly._get(actor.pid.remote(), who)
        return assembly

    @classmethod
    def find(cls, ray: Any, topology: ResolvedTopology, board: Path) -> Assembly:
        """The actors that an earlier command brought up. An edge that was killed since is started anew.

        Raises:
            AssemblyError: the network's or a device host's process is gone.
        """
        assembly = cls(ray, topology, board)
        assembly._network = assembly._found(_NETWORK)
        assembly._nodes = node_addresses(assembly._get(assembly._network.nodes.remote(), _NETWORK))
        assembly._devices = {host: assembly._found(host) for host in _hosts(topology)}
        for edge in topology.edges:
            try:
                assembly._edges[edge] = assembly._found(f"edge-{edge}")
            except AssemblyError:
                assembly._edges[edge] = assembly._start_edge(edge)
        return assembly

    @property
    def nodes(self) -> dict[str, NodeAddress]:
        """Where devices and edges live."""
        return self._nodes

    def certify(
        self, tell: Callable[[str], None] = lambda step: None, *, thorough: bool = False
    ) -> list[CertificateEntry]:
        """Measure every direction of every link against what it is set to now, batch by batch; `tell` hears of each,
        and about how long is left."""
        batches = self._get(self._network.certify_batches.remote(thorough), _NETWORK)
        left_s, entries = sum(seconds for _, seconds in batches), list[CertificateEntry]()
        for links, seconds in batches:
            done = f"{len(entries) // 2} of {len(self.topology.links)} links certified"
            tell(f"{done}, about {left_s:.0f} s left")
            encoded = self._get(self._network.certify.remote(links, thorough), _NETWORK)
            entries += msgspec.json.decode(encoded, type=list[CertificateEntry])
            left_s -= seconds
        return entries

    def counters(self) -> dict[tuple[str, str, str], tuple[int, int, int]]:
        """IP bytes and packets that each direction of each link delivered, and packets it dropped."""
        counters: dict[tuple[str, str, str], tuple[int, int, int]] = self._get(
            self._network.counters.remote(), _NETWORK
        )
        return counters

    def carried(self) -> dict[Direction, Carried]:
        """What each direction of each link has carried, once nothing is on its way any more."""
        carried: dict[Direction, Carried] = self._get(self._network.carried.remote(), _NETWORK)
        return carried

    def tallies(self) -> list[Tally]:
        """What devices and edges sent in the last run, by TCP's count; nothing of those whose process has died."""
        tallies = []
        for who, actor in (self._edges | self._devices).items():
            with contextlib.suppress(AssemblyError):
                tallies += msgspec.msgpack.decode(self._get(actor.tallies.remote(), who), type=list[Tally])
        return tallies

    def change(self, a: str, b: str, up: LinkChange, down: LinkChange) -> str | None:
        """Change a link by hand; why it cannot be so, if it cannot."""
        changing = self._network.change.remote(a, b, msgspec.json.encode(up), msgspec.json.encode(down))
        problem: str | None = self._get(changing, _NETWORK)
        return problem

    def prepare(self, spec: RunSpec) -> None:
        """Make everybody ready for a run: edges listen before devices connect.

        A run that is decided by slots has a decider, which ends with it, or with the command.
        """
        packed = self._ray.put(spec.encode())
        self._slot_s = spec.slots.slot_s if spec.slots else None
        if spec.slots:
            decider = self._ray.remote(DeciderActor).options(num_cpus=0, resources=_HERE, max_concurrency=2)
            self._decider = decider.remote(msgspec.msgpack.encode(self.topology), str(self._board), packed)
            self._decider_lives = True
            self._get(self._decider.pid.remote(), _DECIDER)
        for actors in (self._edges, self._devices):
            for who, waiting in [(who, actor.prepare.remote(packed)) for who, actor in actors.items()]:
                self._get(waiting, who)

    def start(self, events: Sequence[Event], seed: int, lead_s: float) -> float:
        """Let the run begin so many seconds from now, everywhere, with the channels that the seed gives.

        Returns that instant (monotonic clock).
        """
        pids = {edge: self._get(actor.pid.remote(), edge) for edge, actor in self._edges.items()}
        start_s = time.monotonic() + lead_s
        play = self._network.play.remote(start_s, msgspec.msgpack.encode(events), seed, pids, self._slot_s)
        deciders = {_DECIDER: self._decider} if self._decider else {}
        waits = {_NETWORK: play} | {
            who: actor.start.remote(start_s) for who, actor in (deciders | self._edges | self._devices).items()
        }
        for who, waiting in waits.items():
            self._get(waiting, who)
        return start_s

    def collect(self) -> tuple[list[LedgerRow], bool]:
        """The rows since the last call, and whether there is nobody left to wait for."""
        rows, finished = [], True
        waits = {host: actor.collect.remote() for host, actor in self._devices.items() if host not in self._lost}
        for host, waiting in waits.items():
            try:
                more, ended = msgspec.msgpack.decode(self._get(waiting, host), type=tuple[list[LedgerRow], bool])
            except AssemblyError as error:
                self._lost[host] = str(error)
                continue
            rows += more
            finished = finished and ended
        return rows, finished

    def collect_links(self) -> LinkRows:
        """The links as set since the last call.

        Raises:
            AssemblyError: the network's process is gone.
        """
        return msgspec.msgpack.decode(self._get(self._network.collect.remote(), _NETWORK), type=LinkRows)

    def collect_slots(self) -> list[SlotRow]:
        """The slots decided since the last call; none of a decider that has died."""
        return self._of_decider("collect")

    def lost(self, device: str) -> str | None:
        """Why the process of a device is gone, None while it lives."""
        return next(
            (
                self._lost[host]
                for host, names in _hosts(self.topology).items()
                if device in names and host in self._lost
            ),
            None,
        )

    def finish(self) -> Ending:
        """End the run on every actor and put links and edges back, as far as they live."""
        ending = Ending(losses=list(self._lost.values()))
        if self._decider:
            ending.slots = self._of_decider("finish")
            if not self._decider_lives:
                ending.losses.append(_UNDECIDED)
            self._ray.kill(self._decider)
            self._decider = None
        for host, actor in self._devices.items():
            if host not in self._lost:
                try:
                    rows, overruns = msgspec.msgpack.decode(
                        self._get(actor.finish.remote(), host), type=tuple[list[LedgerRow], int]
                    )
                    ending.rows += rows
                    ending.overruns += overruns
                except AssemblyError as error:
                    self._lost[host] = str(error)
                    ending.losses.append(str(error))
        for edge, actor in self._edges.items():
            try:
                ending.overruns += self._get(actor.finish.remote(), edge)
            except AssemblyError:  # killed: the next run finds it alive again
                self._edges[edge] = self._start_edge(edge)
        try:
            played = msgspec.msgpack.decode(self._get(self._network.rewind.remote(), _NETWORK), type=Played)
            ending.links, ending.events = played.rows, played.events
            ending.losses += played.faults
        except AssemblyError as error:
            ending.losses.append(str(error))
        return ending

    def _of_decider(self, method: str) -> list[SlotRow]:
        if not self._decider or not self._decider_lives:
            return []
        try:
            rows = self._get(getattr(self._decider, method).remote(), _DECIDER, _ANSWERS_WITHIN_S)
        except AssemblyError:  # the run goes on without it
            self._decider_lives = False
            self._ray.kill(self._decider)
            return []
        return msgspec.msgpack.decode(rows, type=list[SlotRow])

    def _start_edge(self, name: str) -> Any:
        actor = self._actor(EdgeActor, f"edge-{name}")
        return actor.remote(name, self._nodes[name], msgspec.msgpack.encode(self.topology), str(self._board))

    def _actor(self, cls: Callable[..., object], name: str, **options: Any) -> Any:
        return self._ray.remote(cls).options(name=name, lifetime="detached", num_cpus=0, resources=_HERE, **options)

    def _found(self, name: str) -> Any:
        try:
            return self._ray.get_actor(name)
        except ValueError as error:
            raise AssemblyError(f"the process of {name} is gone; run `testbed down`, then up again") from error

    def _get(self, waiting: Any, who: str, within_s: float | None = None) -> Any:
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(waiting, timeout=within_s)
        except exceptions.RayTaskError as error:
            raise AssemblyError(str(error.cause or error)) from error
        except exceptions.RayError as error:
            raise AssemblyError(f"the process of {who} died: {_first_line(error)}") from error


def _hosts(topology: ResolvedTopology) -> dict[str, list[str]]:
    """The device actors' names, and the devices of each; one with limits has an actor of its own, which keeps them."""
    alone = [name for name, device in topology.devices.items() if device.limits != Limits()]
    devices = [name for name, device in topology.devices.items() if device.limits == Limits()]
    firsts = range(0, len(devices), DEVICES_PER_ACTOR)
    shares = [devices[first : first + DEVICES_PER_ACTOR] for first in firsts] + [[name] for name in alone]
    return {f"devices-{index}": share for index, share in enumerate(shares)}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
