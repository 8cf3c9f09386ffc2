"""The networks of a testbed's machines as one, with the machines' clocks: one actor a machine owns what lies there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from testbed.cluster.clocks import Offset
from testbed.cluster.placement import here, placed, used
from testbed.cluster.ports import Ports
from testbed.documents.resolved import Event, LinkChange, LinkParameters, ResolvedTopology
from testbed.network.certify import CertificateEntry
from testbed.network.certify_parts import Round, certify_parts
from testbed.network.counters import Carried, Direction, joined
from testbed.network.ownership import LOCAL
from testbed.network.part import Part, event_faults, pairs, parts
from testbed.network.record import LinkRows
from testbed.network.shape import Shaping
from testbed.network.underlay import Underlay
from testbed.runtime import payload_store
from testbed.runtime.asking import Asking, AssemblyError
from testbed.runtime.board import Board
from testbed.runtime.network_actor import NetworkActor
from testbed.runtime.playing import Played
from testbed.runtime.polls import Polls
from testbed.runtime.run_spec import NodeAddress
from testbed.runtime.times import Clocks, ClockTold

COLLECTED_WITHIN_S = 2.0
"""A machine that cannot be reached holds the others up no longer, each time that all are asked."""
_COMPARE_CLOCKS_S = 5.0  # so often, while a run goes on

Links = dict[tuple[str, str], tuple[LinkParameters, LinkParameters]]
Tell = Callable[[str], None]


class Networks:
    """The actors that own the networks, as handles. A machine of several may be lost, and the rest goes on."""

    def __init__(self, asking: Asking, topology: ResolvedTopology, ports: Ports | None) -> None:
        """Raises `RefusedError` where this machine is none of the topology's."""
        self._asking, self._topology = asking, topology
        self.placed = placed(topology)
        self.here = here(topology)
        self.boards: dict[str, str] = {}  # where each machine's lies, there
        self.lost: dict[str, str] = {}  # machines, and why
        self._addresses = {one.name: one.address for one in topology.machines}
        self._actors: dict[str, Any] = {}
        self._clocks = Clocks(topology, self.here, ports)
        self._collects = Polls(asking.ray, "collect")

    def start(self, shaping: Shaping, tell: Tell) -> None:
        """Start an actor on each machine that takes part, which builds what lies there.

        Raises:
            AssemblyError: a part cannot be built.
            RefusedError: the network between the machines cannot give what links ask for.
        """
        packed = msgspec.msgpack.encode(self._topology)
        for machine in used(self._topology):
            actor = self._asking.actor(NetworkActor, _name(machine), machine, max_concurrency=8)
            self._actors[machine] = actor.remote(self._topology.name, packed)
        self._meet()
        found = self._parts(tell)
        tell(f"building {len(self._topology.links)} links ({shaping.value})")
        self._all(lambda name, actor: actor.build.remote(shaping.value, found.get(name)))

    def find(self) -> None:
        """The actors that an earlier command started.

        Raises:
            AssemblyError: one is gone.
        """
        self._actors = {machine: self._asking.found(_name(machine)) for machine in used(self._topology)}
        self._meet()

    @property
    def several(self) -> bool:
        """Whether there are several machines."""
        return len(self._actors) > 1

    @property
    def others(self) -> dict[str, Any]:
        """The actors of the machines beside this one."""
        return {name: actor for name, actor in self._actors.items() if name != self.here}

    def nodes(self) -> dict[str, NodeAddress]:
        """Where devices and edges live."""
        found = self._all(lambda _, actor: actor.nodes.remote())
        return {node: NodeAddress(*where) for nodes in found.values() for node, where in nodes.items()}

    def _meet(self) -> None:
        """Let the actors know each other, and where their boards lie; let them tell the time."""
        self.boards = self._all(lambda _, actor: actor.board.remote())
        if self.several:
            every = self._actors
            self._all(lambda name, actor: actor.meet.remote({one: every[one] for one in every if one != name}))
            self._all(lambda name, actor: actor.answer.remote(*self._clocks.at(name)), self.others)
            self._clocks.measure()

    def _parts(self, tell: Tell) -> dict[str, bytes]:
        """What each of several machines is to build; nothing where there is one."""
        if not self.several:
            return {}
        addresses = {one.name: one.tunnel_address for one in self._topology.machines if one.name in self._actors}
        between = pairs(self._topology, self.placed)
        concerned = {name: self._actors[name] for pair in between for name in pair}
        if between:
            tell(f"measuring the network between {len(concerned)} machines")
        ports = self._all(lambda name, actor: actor.answer_underlay.remote(addresses[name]), concerned)
        underlays = {}
        for a, b in between:  # one after the other, or they would measure each other
            measuring = self._actors[a].measure_underlay.remote(addresses[a], addresses[b], ports[b])
            underlays[a, b] = msgspec.msgpack.decode(self._asking.get(measuring, named(a)), type=Underlay)
        self._all(lambda _, actor: actor.end_underlay.remote(), concerned)
        found = parts(self._topology, self.placed, addresses, underlays)
        every = next(iter(found.values()))
        return {
            name: msgspec.msgpack.encode(found.get(name) or msgspec.structs.replace(every, machine=name))
            for name in self._actors
        }

    # Clocks.

    def compare_clocks(self, *, only_if_due: bool = False) -> bool:
        """Measure the machines' clocks and tell the networks' actors; whether that was done."""
        due = time.monotonic() > self._clocks.measured_s + _COMPARE_CLOCKS_S
        if not self.several or (only_if_due and not due):
            return False
        self._clocks.measure(self.lost)
        for name, actor in self._actors.items():
            actor.compare.remote(msgspec.msgpack.encode(self.clocks_from(name)))
        return True

    def begin_clocks(self) -> None:
        """A run begins: what `told_clocks` tells is from here on."""
        self._clocks.begin()

    def told_clocks(self) -> dict[str, ClockTold]:
        """What a manifest tells of the clocks of the other machines."""
        return self._clocks.told()

    def clocks_from(self, machine: str) -> dict[str, Offset]:
        """How far each machine's clock is ahead of that machine's, as last measured."""
        return self._clocks.from_machine(machine)

    def there(self, machine: str, instant_s: float) -> float:
        """What a machine's clock shows at an instant of this one's."""
        return self._clocks.there(machine, instant_s)

    # Links.

    def certify(self, tell: Tell, *, thorough: bool = False) -> list[CertificateEntry]:
        """Measure every direction of every link against what it is set to now, batch by batch; `tell` hears of each,
        and about how long is left."""
        batches = self._own("certify_batches", thorough)
        left_s, entries = sum(seconds for _, seconds in batches), list[CertificateEntry]()
        for links, seconds in batches:
            done = f"{len(entries) // 2} of {len(self._topology.links)} links certified"
            tell(f"{done}, about {left_s:.0f} s left")
            entries += self._certified(links, thorough)
            left_s -= seconds
        return entries

    def _certified(self, links: tuple[int, ...], thorough: bool) -> list[CertificateEntry]:
        if not self.several:
            return msgspec.json.decode(self._own("certify", links, thorough), type=list[CertificateEntry])
        set_to = msgspec.msgpack.decode(self._own("links"), type=Links)
        return certify_parts(
            self._topology, set_to, self._part(), self._compared, self._ask, only=links, thorough=thorough
        )

    def _compared(self) -> dict[str, Offset]:
        """The machines' clocks as they are now."""
        self.compare_clocks()
        return self.clocks_from(self.here)

    def _ask(self, asked: Round) -> dict[str, bytes]:
        """Have every machine do its part of a round, from one instant on."""
        begin_s, packed = time.monotonic() + asked.lead_s, msgspec.msgpack.encode(asked)
        return self._all(lambda name, actor: actor.certify_part.remote(packed, round(self.there(name, begin_s) * 1e9)))

    def _part(self) -> Part:
        return msgspec.msgpack.decode(self._own("part"), type=Part)

    def counters(self) -> dict[tuple[str, str, str], tuple[int, int, int]]:
        """IP bytes and packets that each direction of each link delivered, and packets it dropped."""
        told = self._all(lambda _, actor: actor.counters.remote())
        return {key: value for one in told.values() for key, value in one.items()}

    def carried(self) -> dict[Direction, Carried]:
        """What each direction of each link has carried, once nothing is on its way any more."""
        return joined(self._all(lambda _, actor: actor.counted.remote()).values())

    def change(self, a: str, b: str, up: LinkChange, down: LinkChange) -> str | None:
        """Change a link by hand; why it cannot be so, if it cannot."""
        packed = (msgspec.json.encode(up), msgspec.json.encode(down))
        for name, actor in self._actors.items():  # each knows all links; those that shape it change it
            problem: str | None = self._asking.get(actor.change.remote(a, b, *packed), named(name))
            if problem:
                return problem
        return None

    def event_faults(self, events: Sequence[Event]) -> list[str]:
        """What events ask of links between machines that the network between these cannot give."""
        return event_faults(self._topology, self._part(), events) if self.several else []

    # The machines.

    def facts(self) -> dict[str, Any]:
        """What the manifest tells of each machine; JSON values. Nothing where there is one, the driver's."""
        if not self.several:
            return {}
        nodes = {name: [node for node, machine in self.placed.items() if machine == name] for name in self._actors}
        told = self._all(lambda _, actor: actor.facts.remote())
        return {name: {"address": self._addresses[name], "nodes": nodes[name], **one} for name, one in told.items()}

    def backlogs_s(self) -> dict[str, float]:
        """Seconds of work that each edge holds now, by this machine's board: nobody is asked."""
        now_s = time.monotonic()
        return {edge: max(0.0, self._board.busy_until(edge) - now_s) for edge in self._topology.edges}

    @cached_property
    def _board(self) -> Board:
        return Board(Path(self.boards[self.here]), self._topology)

    def cpu_s(self) -> float:
        """CPU seconds that the testbed's processes have used, on all machines."""
        return float(sum(self._all(lambda _, actor: actor.cpu_s.remote()).values()))

    def payload_folders(self, folder: Path) -> dict[str, str]:
        """Where each machine has what this one's folder of payloads has; what it lacks is sent."""
        found = {self.here: str(folder)}
        for name, actor in self.others.items():
            found[name], held = self._asking.get(actor.keep_payloads.remote(folder.name), named(name))
            for part in payload_store.parts_lacking(folder, held):
                self._asking.get(actor.keep_payloads.remote(folder.name, part), named(name))
        return found

    def clear_slots(self) -> None:
        """Let the other machines' boards forget the slots of an earlier run."""
        self._all(lambda _, actor: actor.clear_slots.remote(), self.others)

    # A run.

    def play(
        self, start_s: float, events: Sequence[Event], seed: int, edges: Mapping[str, int], slot_s: float | None
    ) -> dict[str, Any]:
        """Let a run's channels and events begin at an instant of this machine's clock; see `NetworkActor.play`.

        Returns:
            What is to be waited for, by whom.
        """
        packed = msgspec.msgpack.encode(events)
        self._collects = Polls(self._asking.ray, "collect")
        waits = {}
        for name, actor in self._actors.items():
            own = {edge: pid for edge, pid in edges.items() if self.placed[edge] == name}
            waits[named(name)] = actor.play.remote(self.there(name, start_s), packed, seed, own, slot_s)
        return waits

    def collect(self) -> tuple[LinkRows, list[str]]:
        """The links as set since the last call, and the machines whose network's process has died since.

        Raises:
            AssemblyError: the only network's process is gone.
        """
        rows, gone = LinkRows(), []
        for name, answer in self._collects.answers(self._living(), COLLECTED_WITHIN_S):
            try:
                rows.extend(msgspec.msgpack.decode(self._asking.answered(answer, named(name)), type=LinkRows))
            except AssemblyError:
                if not self.several:
                    raise
                gone.append(name)
        return rows, gone

    def rewind(self) -> tuple[dict[str, Played], list[str]]:
        """End the run, with the links as it found them: what is left to tell, by machine, and the machines that died.

        Raises:
            AssemblyError: the only network's process is gone.
        """
        told, gone = {}, []
        for name, waiting in {name: actor.rewind.remote() for name, actor in self._living().items()}.items():
            try:
                told[name] = msgspec.msgpack.decode(self._asking.get(waiting, named(name)), type=Played)
            except AssemblyError:
                if not self.several:
                    raise
                gone.append(name)
        return told, gone

    def is_reached(self, machine: str) -> bool:
        """Whether Ray still reaches a machine."""
        nodes = self._asking.ray.nodes() if self.several else ()
        return not self.several or any(
            node["Alive"] for node in nodes if node["NodeManagerAddress"] == self._addresses[machine]
        )

    def lose(self, machine: str) -> str:
        """Ask a machine no more; why, in words."""
        reached = self.is_reached(machine)
        why = "the process of its network died" if reached else "its Ray died, or it cannot be reached"
        self.lost[machine] = f"{machine} is lost: {why}"
        return self.lost[machine]

    def _living(self) -> dict[str, Any]:
        return {name: actor for name, actor in self._actors.items() if name not in self.lost}

    def _own(self, method: str, *arguments: Any) -> Any:
        """What this machine's actor answers."""
        return self._asking.get(getattr(self._actors[self.here], method).remote(*arguments), named(self.here))

    def _all(self, ask: Callable[[str, Any], Any], whom: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the actors, or some of them, answer, by machine; all are asked at once, and waited for.

        Raises:
            AssemblyError: some could not; a line for each.
        """
        actors = self._actors if whom is None else whom
        found, errors = {}, []
        for name, waiting in {name: ask(name, actor) for name, actor in actors.items()}.items():
            try:
                found[name] = self._asking.get(waiting, named(name))
            except AssemblyError as error:
                errors.append(f"{name}: {error}" if self.several else str(error))
        if errors:
            raise AssemblyError("\n".join(errors))
        return found


def named(machine: str) -> str:
    """A machine's network, in words."""
    return "network" if machine == LOCAL else f"the network of {machine}"


def _name(machine: str) -> str:
    """The name of a machine's network's actor."""
    return f"network-{machine}"
