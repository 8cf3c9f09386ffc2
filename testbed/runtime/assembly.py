"""A testbed's actors as one thing: brought up together, found again by name, told of a run together."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from testbed.cluster.ports import Ports
from testbed.documents.resolved import Event, Limits, LinkChange, ResolvedTopology
from testbed.jobs.ledger import LedgerRow
from testbed.jobs.slot import LAST_FOR, SlotRow
from testbed.network.certify import CertificateEntry
from testbed.network.counters import Carried, Direction
from testbed.network.event_log import Happened, together
from testbed.network.record import LinkRows
from testbed.network.shape import Shaping
from testbed.runtime.asking import Asking, AssemblyError, on
from testbed.runtime.decider_actor import DeciderActor
from testbed.runtime.device_actor import DeviceActor
from testbed.runtime.edge_actor import EdgeActor
from testbed.runtime.networks import COLLECTED_WITHIN_S, Networks
from testbed.runtime.playing import Played
from testbed.runtime.polls import Polls
from testbed.runtime.run_spec import NodeAddress, RunSpec
from testbed.runtime.tally import Tally
from testbed.runtime.times import ClockTold

DEVICES_PER_ACTOR = 150
"""A process that wakes costs far more than what it does then: with 3.34 jobs a second and device, over the loopback, a
job took 0.63 ms of CPU time in a process of 50 devices, and 0.43 in one of 150."""


class Ending(msgspec.Struct):
    """What is left to tell when a run has ended."""

    rows: list[LedgerRow] = []
    links: LinkRows = msgspec.field(default_factory=LinkRows)  # as set
    slots: list[SlotRow] = []
    events: list[Happened] = []
    overruns: int = 0  # paced computations that outlasted their pace
    losses: list[str] = []  # processes that died, and links that were not as planned or could not be put back
    cpu_busy: dict[str, list[float]] = {}  # by machine: of its CPUs, 0 to 1, in equal parts of the run
    clocks: dict[str, ClockTold] = {}  # of the machines beside the driver's


_DECIDER = "the decider"
_ANSWERS_WITHIN_S = 10.0  # a user's policy may hold its whole process
_UNDECIDED = (
    f"the decider died, or did not answer for {_ANSWERS_WITHIN_S:g} s: devices went on with its last decision for "
    f"{LAST_FOR} slots, then with greedy"
)


class Assembly:
    """The actors of one testbed, as handles: the networks of its machines, its edges, and the hosts of its devices."""

    def __init__(self, ray: Any, topology: ResolvedTopology, ports: Ports | None = None) -> None:
        self._ray, self.topology = ray, topology
        self._asking = Asking(ray)
        self._networks = Networks(self._asking, topology, ports)
        self._hosts = _hosts(topology, self._networks.placed)
        self._nodes: dict[str, NodeAddress] = {}
        self._edges: dict[str, Any] = {}
        self._devices: dict[str, Any] = {}
        self._lost: dict[str, str] = {}  # device hosts
        self._collects = Polls(ray, "collect")
        self._decider: Any = None  # of the run, if it is decided by slots
        self._decider_lives = False
        self._slot_s: float | None = None

    @classmethod
    def bring_up(
        cls,
        ray: Any,
        topology: ResolvedTopology,
        shaping: Shaping,
        ports: Ports | None = None,
        tell: Callable[[str], None] = lambda step: None,
    ) -> Assembly:
        """Start the network's actor on each machine, which builds what lies there, then one actor per edge and per
        `DEVICES_PER_ACTOR` devices, each on its machine.

        All are detached: they outlive the command.

        Raises:
            AssemblyError: the network cannot be built, or a process does not start.
            RefusedError: the network between the machines cannot give what links ask for.
        """
        assembly = cls(ray, topology, ports)
        assembly._networks.start(shaping, tell)
        assembly._nodes = assembly._networks.nodes()
        for edge in topology.edges:
            assembly._edges[edge] = assembly._start_edge(edge)
        packed = msgspec.msgpack.encode(topology)
        for host, names in assembly._hosts.items():
            machine = assembly._machine(host)
            actor = assembly._asking.actor(DeviceActor, host, machine)
            assembly._devices[host] = actor.remote(names, packed, assembly._networks.boards[machine])
        for who, actor in (assembly._edges | assembly._devices).items():
            assembly._asking.get(actor.pid.remote(), who)
        return assembly

    @classmethod
    def find(cls, ray: Any, topology: ResolvedTopology, ports: Ports | None = None) -> Assembly:
        """The actors that an earlier command brought up. An edge that was killed since is started anew.

        Raises:
            AssemblyError: a network's or a device host's process is gone.
        """
        assembly = cls(ray, topology, ports)
        assembly._networks.find()
        assembly._nodes = assembly._networks.nodes()
        assembly._devices = {host: assembly._asking.found(host) for host in assembly._hosts}
        for edge in topology.edges:
            try:
                assembly._edges[edge] = assembly._asking.found(f"edge-{edge}")
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
        return self._networks.certify(tell, thorough=thorough)

    def counters(self) -> dict[tuple[str, str, str], tuple[int, int, int]]:
        """IP bytes and packets that each direction of each link delivered, and packets it dropped."""
        return self._networks.counters()

    def carried(self) -> dict[Direction, Carried]:
        """What each direction of each link has carried, once nothing is on its way any more."""
        return self._networks.carried()

    def facts(self) -> dict[str, Any]:
        """What the manifest tells of each machine; JSON values. Nothing where there is one, the driver's."""
        return self._networks.facts()

    def backlogs_s(self) -> dict[str, float]:
        """Seconds of work that each edge holds now, by this machine's board: nobody is asked."""
        return self._networks.backlogs_s()

    def cpu_s(self) -> float:
        """CPU seconds that the testbed's processes have used, on all machines."""
        return self._networks.cpu_s()

    def tallies(self) -> list[Tally]:
        """What devices and edges sent in the last run, by TCP's count; nothing of those whose process has died."""
        tallies = []
        for who, actor in (self._edges | self._devices).items():
            with contextlib.suppress(AssemblyError):
                tallies += msgspec.msgpack.decode(self._asking.get(actor.tallies.remote(), who), type=list[Tally])
        return tallies

    def change(self, a: str, b: str, up: LinkChange, down: LinkChange) -> str | None:
        """Change a link by hand; why it cannot be so, if it cannot."""
        return self._networks.change(a, b, up, down)

    def event_faults(self, events: Sequence[Event]) -> list[str]:
        """What events ask of links between machines that the network between these cannot give."""
        return self._networks.event_faults(events)

    def prepare(self, spec: RunSpec) -> None:
        """Make everybody ready for a run: edges listen before devices connect.

        A run that is decided by slots has a decider, which ends with it, or with the command.
        """
        folders = self._networks.payload_folders(Path(spec.store))
        packed = {
            machine: self._ray.put(msgspec.structs.replace(spec, store=folder).encode())
            for machine, folder in folders.items()
        }
        self._collects = Polls(self._ray, "collect")
        self._slot_s = spec.slots.slot_s if spec.slots else None
        self._networks.begin_clocks()
        self._compare_clocks()
        if spec.slots:
            self._networks.clear_slots()
            here, others = self._networks.here, [*self._networks.others.values()]
            decider = self._ray.remote(DeciderActor).options(max_concurrency=2, **on(here))
            self._decider = decider.remote(
                msgspec.msgpack.encode(self.topology), self._networks.boards[here], packed[here], others
            )
            self._decider_lives = True
            self._asking.get(self._decider.pid.remote(), _DECIDER)
        for actors in (self._edges, self._devices):
            waits = [(who, actor.prepare.remote(packed[self._machine(who)])) for who, actor in actors.items()]
            for who, waiting in waits:
                self._asking.get(waiting, who)

    def start(self, events: Sequence[Event], seed: int, lead_s: float) -> float:
        """Let the run begin so many seconds from now, everywhere, with the channels that the seed gives.

        Returns that instant (this machine's monotonic clock).
        """
        pids = {edge: self._asking.get(actor.pid.remote(), edge) for edge, actor in self._edges.items()}
        start_s = time.monotonic() + lead_s
        waits = self._networks.play(start_s, events, seed, pids, self._slot_s)
        deciders = {_DECIDER: self._decider} if self._decider else {}
        for who, actor in (deciders | self._edges | self._devices).items():
            waits[who] = actor.start.remote(self._networks.there(self._machine(who), start_s))
        for who, waiting in waits.items():
            self._asking.get(waiting, who)
        return start_s

    def collect(self) -> tuple[list[LedgerRow], bool]:
        """The rows since the last call, and whether there is nobody left to wait for.

        A host that does not answer now is asked no more until it does; one that has died is lost.
        """
        self._compare_clocks(only_if_due=True)
        living = {host: actor for host, actor in self._devices.items() if host not in self._lost}
        rows, finished = [], dict.fromkeys(living, False)
        for host, answer in self._collects.answers(living, COLLECTED_WITHIN_S):
            try:
                more, finished[host] = msgspec.msgpack.decode(
                    self._asking.answered(answer, host), type=tuple[list[LedgerRow], bool]
                )
            except AssemblyError as error:
                self._lost[host] = str(error)
                del finished[host]
                if not self._networks.is_reached(machine := self._machine(host)):
                    self._lose(machine)
                continue
            rows += more
        return rows, all(finished.values())

    def collect_links(self) -> LinkRows:
        """The links as set since the last call.

        A machine of several whose network's process has died is lost: edges there are given up by all devices, and
        what its own devices are at ends.

        Raises:
            AssemblyError: the only network's process is gone.
        """
        rows, gone = self._networks.collect()
        for machine in gone:
            self._lose(machine)
        return rows

    def _lose(self, machine: str) -> None:
        """Go on without a machine."""
        if machine in self._networks.lost:
            return
        reason = self._networks.lose(machine)
        edges = [edge for edge in self._edges if self._machine(edge) == machine]
        for host, actor in self._devices.items():
            if host not in self._lost:  # no answer is waited for: a process may be gone, and not known to be
                if self._machine(host) == machine:
                    actor.abandon.remote(reason)
                else:
                    actor.give_up.remote(edges, reason)

    @property
    def lost_machines(self) -> list[str]:
        """Why machines were lost since the command began."""
        return list(self._networks.lost.values())

    def collect_slots(self) -> list[SlotRow]:
        """The slots decided since the last call; none of a decider that has died."""
        return self._of_decider("collect")

    def lost(self, device: str) -> str | None:
        """Why the process of a device is gone, None while it lives."""
        return next(
            (
                self._networks.lost.get(self._machine(host)) or self._lost[host]
                for host, names in self._hosts.items()
                if device in names and host in self._lost
            ),
            None,
        )

    def finish(self) -> Ending:
        """End the run on every actor and put links and edges back, as far as they live."""
        ending = Ending()
        if self._decider:
            ending.slots = self._of_decider("finish")
            if not self._decider_lives:
                ending.losses.append(_UNDECIDED)
            self._ray.kill(self._decider)
            self._decider = None
        waits = {host: actor.finish.remote() for host, actor in self._devices.items() if host not in self._lost}
        for host, waiting in waits.items():
            try:
                rows, overruns = msgspec.msgpack.decode(
                    self._asking.get(waiting, host), type=tuple[list[LedgerRow], int]
                )
                ending.rows += rows
                ending.overruns += overruns
            except AssemblyError as error:
                self._lost[host] = str(error)
        for edge, waiting in {edge: actor.finish.remote() for edge, actor in self._edges.items()}.items():
            try:
                ending.overruns += self._asking.get(waiting, edge)
            except AssemblyError:  # killed: the next run finds it alive again
                if self._machine(edge) not in self._networks.lost:
                    self._edges[edge] = self._start_edge(edge)
        told: dict[str, Played] = {}
        try:
            told, gone = self._networks.rewind()
            for machine in gone:
                self._lose(machine)
        except AssemblyError as error:
            ending.losses.append(str(error))
        for name, played in told.items():
            ending.cpu_busy[name] = played.cpu_busy
            ending.links.extend(played.rows)
            ending.losses += played.faults
        ending.events = together([played.events for played in told.values()])
        lost = self._networks.lost
        hosts = [why for host, why in self._lost.items() if self._machine(host) not in lost]
        ending.losses = [*lost.values(), *hosts, *ending.losses]
        if self._compare_clocks():
            ending.clocks = self._networks.told_clocks()
        return ending

    def _of_decider(self, method: str) -> list[SlotRow]:
        if not self._decider or not self._decider_lives:
            return []
        try:
            rows = self._asking.get(getattr(self._decider, method).remote(), _DECIDER, _ANSWERS_WITHIN_S)
        except AssemblyError:  # the run goes on without it
            self._decider_lives = False
            self._ray.kill(self._decider)
            return []
        return msgspec.msgpack.decode(rows, type=list[SlotRow])

    def _start_edge(self, name: str) -> Any:
        machine = self._networks.placed[name]
        actor = self._asking.actor(EdgeActor, f"edge-{name}", machine)
        board = self._networks.boards[machine]
        return actor.remote(name, self._nodes[name], msgspec.msgpack.encode(self.topology), board)

    def _machine(self, who: str) -> str:
        """Where an edge, a host of devices, or the decider lives."""
        if who == _DECIDER:
            return self._networks.here
        return self._networks.placed[self._hosts[who][0] if who in self._hosts else who]

    def _compare_clocks(self, *, only_if_due: bool = False) -> bool:
        """Measure the machines' clocks and tell all who need to know; whether that was done."""
        compared = self._networks.compare_clocks(only_if_due=only_if_due)
        if compared:
            self._tell_clocks()
        return compared

    def _tell_clocks(self) -> None:
        """Tell devices how far the clocks of edges on other machines are ahead; no answer is waited for."""
        for host, actor in self._devices.items():
            machine = self._machine(host)
            seen = self._networks.clocks_from(machine)
            edges = {edge: seen[where] for edge in self._edges if (where := self._machine(edge)) != machine}
            if edges:
                actor.compare.remote(msgspec.msgpack.encode(edges))


def _hosts(topology: ResolvedTopology, placement: Mapping[str, str]) -> dict[str, list[str]]:
    """The device actors' names, and the devices of each, which lie on one machine; one with limits has an actor of its
    own, which keeps them."""
    free = {name: device.limits == Limits() for name, device in topology.devices.items()}
    shares = []
    for machine in dict.fromkeys(placement[name] for name in free):
        own = [name for name in free if free[name] and placement[name] == machine]
        shares += [own[first : first + DEVICES_PER_ACTOR] for first in range(0, len(own), DEVICES_PER_ACTOR)]
    shares += [[name] for name in free if not free[name]]
    return {f"devices-{index}": share for index, share in enumerate(shares)}
