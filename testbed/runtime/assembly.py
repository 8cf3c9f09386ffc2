"""A testbed's actors as one thing: brought up together, found again by name, told of a run together."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from testbed.cluster.clocks import Offset
from testbed.cluster.placement import here, placed, used
from testbed.cluster.ports import Ports
from testbed.documents.resolved import Event, Limits, LinkChange, LinkParameters, ResolvedTopology
from testbed.jobs.ledger import LedgerRow
from testbed.jobs.slot import LAST_FOR, SlotRow
from testbed.network.certify import CertificateEntry
from testbed.network.certify_parts import Round, certify_parts
from testbed.network.counters import Carried, Direction, joined
from testbed.network.event_log import Happened, together
from testbed.network.ownership import LOCAL
from testbed.network.part import Part, event_faults, pairs, parts
from testbed.network.record import LinkRows
from testbed.network.shape import Shaping
from testbed.network.underlay import Underlay
from testbed.runtime import payload_store
from testbed.runtime.board import Board
from testbed.runtime.decider_actor import DeciderActor
from testbed.runtime.device_actor import DeviceActor
from testbed.runtime.edge_actor import EdgeActor
from testbed.runtime.network_actor import NetworkActor
from testbed.runtime.playing import Played
from testbed.runtime.polls import Polls
from testbed.runtime.run_spec import NodeAddress, RunSpec
from testbed.runtime.tally import Tally
from testbed.runtime.times import Clocks, ClockTold

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
    cpu_busy: dict[str, list[float]] = {}  # by machine: of its CPUs, 0 to 1, in equal parts of the run
    clocks: dict[str, ClockTold] = {}  # of the machines beside the driver's


_DECIDER = "the decider"
_ANSWERS_WITHIN_S = 10.0  # a user's policy may hold its whole process
_UNDECIDED = (
    f"the decider died, or did not answer for {_ANSWERS_WITHIN_S:g} s: devices went on with its last decision for "
    f"{LAST_FOR} slots, then with greedy"
)
_COLLECTED_WITHIN_S = 2.0  # a machine that cannot be reached holds the others up no longer
_COMPARE_CLOCKS_S = 5.0  # so often, while a run goes on
Links = dict[tuple[str, str], tuple[LinkParameters, LinkParameters]]


class Assembly:
    """The actors of one testbed, as handles: the networks of its machines, its edges, and the hosts of its devices."""

    def __init__(self, ray: Any, topology: ResolvedTopology, ports: Ports | None = None) -> None:
        self._ray, self.topology = ray, topology
        self._placed = placed(topology)
        self._here = here(topology)
        self._hosts = _hosts(topology, self._placed)
        self._networks: dict[str, Any] = {}
        self._boards: dict[str, str] = {}
        self._nodes: dict[str, NodeAddress] = {}
        self._edges: dict[str, Any] = {}
        self._devices: dict[str, Any] = {}
        self._lost: dict[str, str] = {}  # device hosts
        self._lost_machines: dict[str, str] = {}
        self._collects, self._collects_links = Polls(ray, "collect"), Polls(ray, "collect")
        self._decider: Any = None  # of the run, if it is decided by slots
        self._decider_lives = False
        self._slot_s: float | None = None
        self._clocks = Clocks(topology, self._here, ports)

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
        fifty devices, each on its machine.

        All are detached: they outlive the command.

        Raises:
            AssemblyError: the network cannot be built, or a process does not start.
            RefusedError: the network between the machines cannot give what links ask for.
        """
        assembly = cls(ray, topology, ports)
        packed = msgspec.msgpack.encode(topology)
        for machine in used(topology):
            actor = assembly._actor(NetworkActor, _network(machine), machine, max_concurrency=8)
            assembly._networks[machine] = actor.remote(topology.name, packed)
        assembly._meet()
        parts = assembly._parts(tell)
        tell(f"building {len(topology.links)} links ({shaping.value})")
        assembly._of_networks(
            {name: actor.build.remote(shaping.value, parts.get(name)) for name, actor in assembly._networks.items()}
        )
        assembly._look()
        for edge in topology.edges:
            assembly._edges[edge] = assembly._start_edge(edge)
        for host, names in assembly._hosts.items():
            machine = assembly._placed[names[0]]
            actor = assembly._actor(DeviceActor, host, machine)
            assembly._devices[host] = actor.remote(names, packed, assembly._boards[machine])
        for who, actor in (assembly._edges | assembly._devices).items():
            assembly._get(actor.pid.remote(), who)
        return assembly

    @classmethod
    def find(cls, ray: Any, topology: ResolvedTopology, ports: Ports | None = None) -> Assembly:
        """The actors that an earlier command brought up. An edge that was killed since is started anew.

        Raises:
            AssemblyError: a network's or a device host's process is gone.
        """
        assembly = cls(ray, topology, ports)
        assembly._networks = {machine: assembly._found(_network(machine)) for machine in used(topology)}
        assembly._meet()
        assembly._look()
        assembly._devices = {host: assembly._found(host) for host in assembly._hosts}
        for edge in topology.edges:
            try:
                assembly._edges[edge] = assembly._found(f"edge-{edge}")
            except AssemblyError:
                assembly._edges[edge] = assembly._start_edge(edge)
        return assembly

    def _meet(self) -> None:
        """Let the machines' actors know each other, and where their boards lie; let them tell the time."""
        self._boards = self._of_networks({name: actor.board.remote() for name, actor in self._networks.items()})
        if len(self._networks) > 1:
            meeting = {}
            for name, actor in self._networks.items():
                peers = {other: peer for other, peer in self._networks.items() if other != name}
                meeting[name] = actor.meet.remote(peers)
            self._of_networks(meeting)
            self._of_networks(
                {name: self._networks[name].answer.remote(*self._clocks.at(name)) for name in self._clocks.machines}
            )
            self._compare_clocks()

    def _look(self) -> None:
        """Learn where nodes live."""
        found = self._of_networks({name: actor.nodes.remote() for name, actor in self._networks.items()})
        self._nodes = {node: NodeAddress(*where) for nodes in found.values() for node, where in nodes.items()}

    def _parts(self, tell: Callable[[str], None]) -> dict[str, bytes]:
        """What each of several machines is to build; nothing where there is one."""
        if len(self._networks) == 1:
            return {}
        addresses = {one.name: one.tunnel_address for one in self.topology.machines if one.name in self._networks}
        between = pairs(self.topology, self._placed)
        concerned = {name: self._networks[name] for pair in between for name in pair}
        if between:
            tell(f"measuring the network between {len(concerned)} machines")
        ports = self._of_networks(
            {name: actor.answer_underlay.remote(addresses[name]) for name, actor in concerned.items()}
        )
        underlays = {}
        for a, b in between:  # one after the other, or they would measure each other
            measuring = self._networks[a].measure_underlay.remote(addresses[a], addresses[b], ports[b])
            underlays[a, b] = msgspec.msgpack.decode(self._get(measuring, _named(a)), type=Underlay)
        self._of_networks({name: actor.end_underlay.remote() for name, actor in concerned.items()})
        found = parts(self.topology, self._placed, addresses, underlays)
        every = next(iter(found.values()))
        return {
            name: msgspec.msgpack.encode(found.get(name) or msgspec.structs.replace(every, machine=name))
            for name in self._networks
        }

    @property
    def nodes(self) -> dict[str, NodeAddress]:
        """Where devices and edges live."""
        return self._nodes

    def certify(
        self, tell: Callable[[str], None] = lambda step: None, *, thorough: bool = False
    ) -> list[CertificateEntry]:
        """Measure every direction of every link against what it is set to now, batch by batch; `tell` hears of each,
        and about how long is left."""
        network = self._networks[self._here]
        batches = self._get(network.certify_batches.remote(thorough), _named(self._here))
        left_s, entries = sum(seconds for _, seconds in batches), list[CertificateEntry]()
        for links, seconds in batches:
            done = f"{len(entries) // 2} of {len(self.topology.links)} links certified"
            tell(f"{done}, about {left_s:.0f} s left")
            entries += self._certified(links, thorough)
            left_s -= seconds
        return entries

    def _certified(self, links: tuple[int, ...], thorough: bool) -> list[CertificateEntry]:
        network, who = self._networks[self._here], _named(self._here)
        if len(self._networks) == 1:
            encoded = self._get(network.certify.remote(links, thorough), who)
            return msgspec.json.decode(encoded, type=list[CertificateEntry])
        set_to = msgspec.msgpack.decode(self._get(network.links.remote(), who), type=Links)
        part = msgspec.msgpack.decode(self._get(network.part.remote(), who), type=Part)
        return certify_parts(self.topology, set_to, part, self._compared, self._ask, only=links, thorough=thorough)

    def _compared(self) -> dict[str, Offset]:
        """The machines' clocks as they are now."""
        self._compare_clocks()
        return self._clocks.from_machine(self._here)

    def _ask(self, asked: Round) -> dict[str, bytes]:
        """Have every machine do its part of a round, from one instant on."""
        begin_s, packed = time.monotonic() + asked.lead_s, msgspec.msgpack.encode(asked)
        waits = {}
        for name, actor in self._networks.items():
            waits[name] = actor.certify_part.remote(packed, round(self._clocks.there(name, begin_s) * 1e9))
        return self._of_networks(waits)

    def counters(self) -> dict[tuple[str, str, str], tuple[int, int, int]]:
        """IP bytes and packets that each direction of each link delivered, and packets it dropped."""
        told = self._of_networks({name: actor.counters.remote() for name, actor in self._networks.items()})
        return {key: value for one in told.values() for key, value in one.items()}

    def carried(self) -> dict[Direction, Carried]:
        """What each direction of each link has carried, once nothing is on its way any more."""
        told = self._of_networks({name: actor.counted.remote() for name, actor in self._networks.items()})
        return joined(told.values())

    def facts(self) -> dict[str, Any]:
        """What the manifest tells of each machine; JSON values. Nothing where there is one, the driver's."""
        if len(self._networks) == 1:
            return {}
        told = self._of_networks({name: actor.facts.remote() for name, actor in self._networks.items()})
        addresses = {one.name: one.address for one in self.topology.machines}
        nodes = {name: [node for node, machine in self._placed.items() if machine == name] for name in self._networks}
        return {name: {"address": addresses[name], "nodes": nodes[name], **one} for name, one in told.items()}

    def backlogs_s(self) -> dict[str, float]:
        """Seconds of work that each edge holds now, by this machine's board: nobody is asked."""
        now_s = time.monotonic()
        return {edge: max(0.0, self._board.busy_until(edge) - now_s) for edge in self.topology.edges}

    @cached_property
    def _board(self) -> Board:
        return Board(Path(self._boards[self._here]), self.topology)

    def cpu_s(self) -> float:
        """CPU seconds that the testbed's processes have used, on all machines."""
        told = self._of_networks({name: actor.cpu_s.remote() for name, actor in self._networks.items()})
        return float(sum(told.values()))

    def tallies(self) -> list[Tally]:
        """What devices and edges sent in the last run, by TCP's count; nothing of those whose process has died."""
        tallies = []
        for who, actor in (self._edges | self._devices).items():
            with contextlib.suppress(AssemblyError):
                tallies += msgspec.msgpack.decode(self._get(actor.tallies.remote(), who), type=list[Tally])
        return tallies

    def change(self, a: str, b: str, up: LinkChange, down: LinkChange) -> str | None:
        """Change a link by hand; why it cannot be so, if it cannot."""
        packed = (msgspec.json.encode(up), msgspec.json.encode(down))
        for actor in self._networks.values():  # each knows all links; those that shape it change it
            problem: str | None = self._get(actor.change.remote(a, b, *packed), _named(a))
            if problem:
                return problem
        return None

    def event_faults(self, events: Sequence[Event]) -> list[str]:
        """What events ask of links between machines that the network between these cannot give."""
        if len(self._networks) == 1:
            return []
        packed = self._get(self._networks[self._here].part.remote(), _named(self._here))
        return event_faults(self.topology, msgspec.msgpack.decode(packed, type=Part), events)

    def prepare(self, spec: RunSpec) -> None:
        """Make everybody ready for a run: edges listen before devices connect.

        A run that is decided by slots has a decider, which ends with it, or with the command.
        """
        packed = self._packed(spec)
        self._collects, self._collects_links = Polls(self._ray, "collect"), Polls(self._ray, "collect")
        self._slot_s = spec.slots.slot_s if spec.slots else None
        if len(self._networks) > 1:
            self._clocks.begin()
            self._compare_clocks()
        if spec.slots:
            others = [actor for name, actor in self._networks.items() if name != self._here]
            for waiting in [actor.clear_slots.remote() for actor in others]:
                self._get(waiting, _DECIDER)
            decider = self._ray.remote(DeciderActor).options(num_cpus=0, resources=_on(self._here), max_concurrency=2)
            self._decider = decider.remote(
                msgspec.msgpack.encode(self.topology), self._boards[self._here], packed[self._here], others
            )
            self._decider_lives = True
            self._get(self._decider.pid.remote(), _DECIDER)
        for actors in (self._edges, self._devices):
            waits = [(who, actor.prepare.remote(packed[self._machine(who)])) for who, actor in actors.items()]
            for who, waiting in waits:
                self._get(waiting, who)

    def _packed(self, spec: RunSpec) -> dict[str, Any]:
        """The run as each machine is told of it: with its own folder of payloads, which has what the driver's has."""
        packed = {self._here: self._ray.put(spec.encode())}
        folder = Path(spec.store)
        for name, actor in self._networks.items():
            if name != self._here:
                store, held = self._get(actor.keep_payloads.remote(folder.name), _named(name))
                for part in payload_store.parts_lacking(folder, held):
                    self._get(actor.keep_payloads.remote(folder.name, part), _named(name))
                packed[name] = self._ray.put(msgspec.structs.replace(spec, store=store).encode())
        return packed

    def start(self, events: Sequence[Event], seed: int, lead_s: float) -> float:
        """Let the run begin so many seconds from now, everywhere, with the channels that the seed gives.

        Returns that instant (this machine's monotonic clock).
        """
        pids = {edge: self._get(actor.pid.remote(), edge) for edge, actor in self._edges.items()}
        start_s = time.monotonic() + lead_s
        packed = msgspec.msgpack.encode(events)
        waits: dict[str, Any] = {}
        for name, actor in self._networks.items():
            own = {edge: pid for edge, pid in pids.items() if self._placed[edge] == name}
            waits[_named(name)] = actor.play.remote(self._clocks.there(name, start_s), packed, seed, own, self._slot_s)
        deciders = {_DECIDER: self._decider} if self._decider else {}
        for who, actor in (deciders | self._edges | self._devices).items():
            waits[who] = actor.start.remote(self._clocks.there(self._machine(who), start_s))
        for who, waiting in waits.items():
            self._get(waiting, who)
        return start_s

    def collect(self) -> tuple[list[LedgerRow], bool]:
        """The rows since the last call, and whether there is nobody left to wait for.

        A host that does not answer now is asked no more until it does; one that has died is lost.
        """
        if len(self._networks) > 1 and time.monotonic() > self._clocks.measured_s + _COMPARE_CLOCKS_S:
            self._compare_clocks()
        living = {host: actor for host, actor in self._devices.items() if host not in self._lost}
        rows, finished = [], dict.fromkeys(living, False)
        for host, answer in self._collects.answers(living, _COLLECTED_WITHIN_S):
            try:
                more, finished[host] = msgspec.msgpack.decode(
                    self._answered(answer, host), type=tuple[list[LedgerRow], bool]
                )
            except AssemblyError as error:
                self._lost[host] = str(error)
                del finished[host]
                if not self._is_alive(machine := self._machine(host)):
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
        living = {name: actor for name, actor in self._networks.items() if name not in self._lost_machines}
        rows = LinkRows()
        for name, answer in self._collects_links.answers(living, _COLLECTED_WITHIN_S):
            try:
                rows.extend(msgspec.msgpack.decode(self._answered(answer, _named(name)), type=LinkRows))
            except AssemblyError:
                if len(self._networks) == 1:
                    raise
                self._lose(name)
        return rows

    def _is_alive(self, machine: str) -> bool:
        """Whether Ray still reaches a machine."""
        addresses = {one.name: one.address for one in self.topology.machines}
        if machine not in addresses:
            return True
        return any(node["Alive"] for node in self._ray.nodes() if node["NodeManagerAddress"] == addresses[machine])

    def _lose(self, machine: str) -> None:
        """Go on without a machine."""
        if machine in self._lost_machines:
            return
        why = "the process of its network died" if self._is_alive(machine) else "its Ray died, or it cannot be reached"
        reason = self._lost_machines[machine] = f"{machine} is lost: {why}"
        edges = [edge for edge in self._edges if self._placed[edge] == machine]
        for host, actor in self._devices.items():
            if host not in self._lost:  # no answer is waited for: a process may be gone, and not known to be
                if self._machine(host) == machine:
                    actor.abandon.remote(reason)
                else:
                    actor.give_up.remote(edges, reason)

    @property
    def lost_machines(self) -> list[str]:
        """Why machines were lost since the command began."""
        return list(self._lost_machines.values())

    def collect_slots(self) -> list[SlotRow]:
        """The slots decided since the last call; none of a decider that has died."""
        return self._of_decider("collect")

    def lost(self, device: str) -> str | None:
        """Why the process of a device is gone, None while it lives."""
        return next(
            (
                self._lost_machines.get(self._placed[device]) or self._lost[host]
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
                rows, overruns = msgspec.msgpack.decode(self._get(waiting, host), type=tuple[list[LedgerRow], int])
                ending.rows += rows
                ending.overruns += overruns
            except AssemblyError as error:
                self._lost[host] = str(error)
        for edge, waiting in {edge: actor.finish.remote() for edge, actor in self._edges.items()}.items():
            try:
                ending.overruns += self._get(waiting, edge)
            except AssemblyError:  # killed: the next run finds it alive again
                if self._placed[edge] not in self._lost_machines:
                    self._edges[edge] = self._start_edge(edge)
        told = {}
        for name, actor in self._networks.items():
            try:
                if name not in self._lost_machines:
                    told[name] = msgspec.msgpack.decode(self._get(actor.rewind.remote(), _named(name)), type=Played)
            except AssemblyError as error:
                if len(self._networks) == 1:
                    ending.losses.append(str(error))
                else:
                    self._lose(name)
        for name, played in told.items():
            ending.cpu_busy[name] = played.cpu_busy
            ending.links.extend(played.rows)
            ending.losses += played.faults
        ending.events = together([played.events for played in told.values()])
        hosts = (why for host, why in self._lost.items() if self._machine(host) not in self._lost_machines)
        ending.losses = [*self._lost_machines.values(), *hosts, *ending.losses]
        if len(self._networks) > 1:
            self._compare_clocks()
            ending.clocks = self._clocks.told()
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
        machine = self._placed[name]
        actor = self._actor(EdgeActor, f"edge-{name}", machine)
        return actor.remote(name, self._nodes[name], msgspec.msgpack.encode(self.topology), self._boards[machine])

    def _actor(self, cls: Callable[..., object], name: str, machine: str, **options: Any) -> Any:
        placing = {"num_cpus": 0, "resources": _on(machine)}
        return self._ray.remote(cls).options(name=name, lifetime="detached", **placing, **options)

    def _found(self, name: str) -> Any:
        try:
            return self._ray.get_actor(name)
        except ValueError as error:
            raise AssemblyError(f"the process of {name} is gone; run `testbed down`, then up again") from error

    def _machine(self, who: str) -> str:
        """Where an edge, a host of devices, or the decider lives."""
        if who == _DECIDER:
            return self._here
        return self._placed[who] if who in self._edges else self._placed[self._hosts[who][0]]

    def _compare_clocks(self) -> None:
        """Measure the machines' clocks, and tell those who need to know; a machine that does not answer is not told."""
        self._clocks.measure(self._lost_machines)
        for name, actor in self._networks.items():
            actor.compare.remote(msgspec.msgpack.encode(self._clocks.from_machine(name)))
        for host, actor in self._devices.items():
            machine = self._machine(host)
            seen = self._clocks.from_machine(machine)
            edges = {edge: seen[self._placed[edge]] for edge in self._edges if self._placed[edge] != machine}
            actor.compare.remote(msgspec.msgpack.encode(edges))

    def _of_networks(self, waits: Mapping[str, Any]) -> dict[str, Any]:
        """What the networks' actors answer, by machine; waits for all."""
        found, errors = {}, []
        for name, waiting in waits.items():
            try:
                found[name] = self._get(waiting, _named(name))
            except AssemblyError as error:
                errors.append(str(error) if len(self._networks) == 1 else f"{name}: {error}")
        if errors:
            raise AssemblyError("\n".join(errors))
        return found

    def _get(self, waiting: Any, who: str, within_s: float | None = None) -> Any:
        return self._answered(lambda: self._ray.get(waiting, timeout=within_s), who)

    def _answered(self, answer: Callable[[], Any], who: str) -> Any:
        exceptions = self._ray.exceptions
        try:
            return answer()
        except exceptions.RayTaskError as error:
            raise AssemblyError(str(error.cause or error)) from error
        except exceptions.RayError as error:
            raise AssemblyError(f"the process of {who} died: {_first_line(error)}") from error


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


def _network(machine: str) -> str:
    """The name of a machine's network's actor."""
    return f"network-{machine}"


def _named(machine: str) -> str:
    """A machine's network, in words."""
    return "network" if machine == LOCAL else f"the network of {machine}"


def _on(machine: str) -> dict[str, float]:
    """The resource that only that machine has."""
    return {f"machine:{machine}": 1}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
