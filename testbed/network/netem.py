"""Links as veth pairs, shaped by the kernel: HTB at the sending end, netem at the receiving one."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from testbed.documents.resolved import LinkParameters
from testbed.network import rtnetlink, shape
from testbed.network.changer import Changer
from testbed.network.errors import NetworkError
from testbed.network.links import Counters, Done, Planned, Reading, Readings, Wire
from testbed.network.namespace import call_in
from testbed.network.ownership import Ownership
from testbed.network.rtnetlink import Qdisc, Request, Route

Asked = Sequence[tuple[LinkParameters, LinkParameters]]
Index = Callable[[str], int]
_VETH = "numtxqueues 1 numrxqueues 1 type veth peer name"


class _Found(NamedTuple):
    """What the kernel has of one direction: the queues in the order of the packets, and the two netems."""

    queues: list[Qdisc | None]
    serve: Qdisc | None
    fly: Qdisc | None

    def reading(self) -> Reading | None:
        """None if it is not shaped."""
        queues = [queue for queue in self.queues if queue is not None]
        parameters = shape.read_back(self.queues[0], self.serve, self.fly)
        if parameters is None or self.serve is None or len(queues) < len(self.queues):
            return None
        dropped = self.serve.drops + sum(queue.drops for queue in queues)
        return Reading(parameters, Counters(self.serve.bytes, self.serve.packets, dropped))


class NetemLinks:
    """Links as veth pairs, shaped by the kernel."""

    def __init__(self, ownership: Ownership) -> None:
        self._ownership = ownership
        self._aired: set[int] = set()  # the access points whose air was made
        self._indexes: dict[int, dict[str, int]] = {}
        self._changer: Changer | None = None
        self._planned: dict[int, Planned] = {}
        self._flight: dict[tuple[int, int], tuple[int, LinkParameters | None]] = {}

    # Making.

    def making(self, wire: Wire) -> tuple[list[str], list[str]]:
        """The commands for each end, the second end's first: it makes the pair, which never lies anywhere else."""
        first, second = (
            shape.outgoing(end.name) if _in_air(wire, side) else end.name for side, end in enumerate(wire.ends)
        )
        made: list[list[str]] = [[], [f"link add {second} {_VETH} {first} netns {wire.pids[0]}"]]
        for side, (commands, end) in enumerate(zip(made, wire.ends, strict=True)):
            before, names = shape.incoming(end.name), [end.name]
            if _in_air(wire, side):
                names += [before, shape.outgoing(end.name)]
                commands.append(f"link add {end.name} {_VETH} {before} numtxqueues 1 numrxqueues 1")
                commands += [f"link set {name} up" for name in names[1:]]
                if wire.pids[side] not in self._aired:
                    self._aired.add(wire.pids[side])
                    commands += _ifb(shape.AIR)
            elif wire.tunnel is None:
                commands += _ifb(before)
            commands += [f"link set {name} gso_max_segs 1" for name in names]
        return made[0], made[1]

    def shape(self, wires: Sequence[Wire], asked: Asked) -> None:
        """Shapes links for the first time, and reads back.

        Raises:
            NetworkError: the kernel refused, or did something else than was asked.
        """
        requests: dict[int, list[Request]] = {}
        for wire in wires:
            if wire.air and (pid := wire.pids[wire.air.side]) not in requests:
                requests[pid] = shape.air(self._index(pid)(shape.AIR), wire.air.bandwidth_bps)
        for wire, both in zip(wires, asked, strict=True):
            for side, pid in enumerate(wire.pids):
                requests.setdefault(pid, []).extend(_hooks(wire, side, self._index(pid)))
            for direction in wire.directions:
                for pid, request in self._requests(wire, direction, both[direction], new=True):
                    requests[pid].append(request)
        for pid, own in requests.items():
            with _route(pid) as route:
                route.apply(own)
        for wire, both, found in zip(wires, asked, self._found(wires), strict=True):
            for direction in wire.directions:
                link, reading = both[direction], found[direction].reading()
                wrong = "it is not shaped at all" if reading is None else shape.difference(reading.parameters, link)
                if wrong:
                    raise NetworkError(f"{_named(wire, direction)} was not shaped as asked: {wrong}")

    # Changing.

    def change(self, wire: Wire, direction: int, link: LinkParameters) -> None:
        """Changes one direction in place; the queue keeps what it holds.

        Raises:
            NetworkError: the kernel refused.
        """
        key = (wire.number, direction)
        if key in self._flight:
            self._flight[key] = (self._flight[key][0], None)
        for pid, request in self._requests(wire, direction, link):
            with _route(pid) as route:
                try:
                    route.apply([request])
                except NetworkError as error:
                    raise NetworkError(f"{_named(wire, direction)} could not be changed: {error}") from None

    def schedule(self, changes: Sequence[Planned]) -> None:
        """Has them made by a process of its own, which is started when it is first needed.

        Raises:
            NetworkError: one asks for what cannot be, or the process has ended.
        """
        if self._changer is None:
            self._changer = Changer(self._ownership)
        plans = []
        for one in changes:
            flies = not self._flies_already(one)
            requests = self._requests(one.wire, one.direction, one.link, flies=flies)
            plans.append(self._changer.plan(one.at_ns, one.number, requests))
        self._planned |= {one.number: one for one in changes}
        self._changer.send(plans)

    def _flies_already(self, change: Planned) -> bool:
        """Whether a planned change will find jitter and loss as it is to leave them: setting them again would begin the
        loss model anew. It is known from the last of the changes planned before, if this one comes later."""
        key = (change.wire.number, change.direction)
        last_ns, last = self._flight.get(key, (change.at_ns, None))
        later = change.at_ns >= last_ns
        self._flight[key] = (change.at_ns, change.link) if later else (last_ns, None)
        return later and last is not None and _flight(last) == _flight(change.link)

    def done(self) -> list[Done]:
        """Which were made.

        Raises:
            NetworkError: the kernel refused one.
        """
        found, refused = [], []
        for number, done_ns, refusal in self._changer.done() if self._changer else []:
            change = self._planned.pop(number, None)
            if change is None:
                continue  # it was refused
            if refusal:
                refused.append(f"{_named(change.wire, change.direction)} could not be changed: {refusal}")
            else:
                found.append(Done(number, done_ns))
        if refused:
            raise NetworkError(refused[0])
        return found

    def cancel(self) -> None:
        """Forgets those that were not made."""
        self._flight.clear()
        if self._changer:
            self._changer.cancel()  # of what was made before, `done` still tells

    def _requests(
        self, wire: Wire, direction: int, link: LinkParameters, *, new: bool = False, flies: bool = True
    ) -> list[tuple[int, Request]]:
        """What is asked of the kernel for one direction, in which process's namespace."""
        found = []
        for pid, queue in _queues(wire, direction, link):
            found += [
                (pid, request) for request in shape.queueing(self._index(pid)(queue.device), queue, link, new=new)
            ]
        pid, name = wire.pids[1 - direction], shape.incoming(wire.ends[1 - direction].name)
        index = self._index(pid)(name)
        found.append((pid, shape.serving(index, link, new=new)))
        if flies:
            found.append((pid, shape.flying(index, link, wire.air.bandwidth_bps if wire.air else None, new=new)))
        return found

    def _index(self, pid: int) -> Index:
        """The numbers of the interfaces in a process's namespace."""

        def index(name: str) -> int:
            if name not in self._indexes.get(pid, ()):
                self._indexes[pid] = {known: number for number, known in call_in(pid, socket.if_nameindex)}
            if name not in self._indexes[pid]:
                raise NetworkError(f"there is no interface {name} any more: the testbed was damaged; take it down")
            return self._indexes[pid][name]

        return index

    # Reading.

    def read(self, wires: Sequence[Wire]) -> list[Readings]:
        """What the kernel has.

        Raises:
            NetworkError: a link is no longer shaped.
        """
        readings: list[Readings] = []
        for wire, found in zip(wires, self._found(wires), strict=True):
            both: list[Reading | None] = [None, None]
            for direction in wire.directions:
                if (reading := found[direction].reading()) is None:
                    raise NetworkError(f"{_named(wire, direction)} is no longer shaped")
                both[direction] = reading
            readings.append((both[0], both[1]))
        return readings

    def _found(self, wires: Sequence[Wire]) -> list[dict[int, _Found]]:
        """The queues and the two netems of each direction that is shaped here of each wire."""
        told: dict[int, dict[tuple[int, int], Qdisc]] = {}
        for pid in {pid for wire in wires for pid in wire.pids}:
            with _route(pid) as route:
                told[pid] = route.qdiscs()

        def one(pid: int, device: str, parent: int) -> Qdisc | None:
            return told[pid].get((self._index(pid)(device), parent))

        def found(wire: Wire, direction: int) -> _Found:
            queues = _queues(wire, direction, LinkParameters(1.0))
            pid, before = wire.pids[1 - direction], shape.incoming(wire.ends[1 - direction].name)
            return _Found(
                [one(at, queue.device, 1 << 16 | queue.minor) for at, queue in queues],
                one(pid, before, rtnetlink.ROOT),
                one(pid, before, shape.SERVE << 16 | 1),
            )

        return [{direction: found(wire, direction) for direction in wire.directions} for wire in wires]

    def close(self) -> None:
        """Ends the process that makes planned changes."""
        if self._changer:
            self._changer.close()
            self._changer = None


@contextlib.contextmanager
def _route(pid: int) -> Iterator[Route]:
    route = call_in(pid, Route)
    try:
        yield route
    finally:
        route.close()


def _ifb(name: str) -> list[str]:
    return [f"link add {name} numtxqueues 1 numrxqueues 1 type ifb", f"link set {name} up"]


def _in_air(wire: Wire, side: int) -> bool:
    """Whether that end of a link is a port of an access point whose links share its rate."""
    return wire.air is not None and wire.air.side == side


def _queues(wire: Wire, direction: int, link: LinkParameters) -> list[tuple[int, shape.Queue]]:
    """The queues that one direction's packets pass, and the processes in whose namespaces they are."""
    own = (wire.pids[direction], shape.own_queue(wire.ends[direction].name, link))
    if wire.air is None:
        return [own]
    up = direction != wire.air.side
    total_bps, links = wire.air.bandwidth_bps, wire.air.links
    shared = shape.air_queue(wire.number, up=up, link=link, total_bps=total_bps, links=links)
    return [*([own] if up else []), (wire.pids[wire.air.side], shared)]


def _hooks(wire: Wire, side: int, index: Index) -> list[Request]:
    """What leads the packets at one end of a link through what shapes them, and the roots of its own queues."""
    name = wire.ends[side].name
    before = shape.incoming(name)
    if wire.tunnel is not None:  # which has its own: they lead to where it is shaped
        return [] if side == wire.tunnel else [rtnetlink.htb_root(index(name))]
    if not _in_air(wire, side):
        return [
            rtnetlink.htb_root(index(name)),
            rtnetlink.clsact(index(name)),
            rtnetlink.redirect(index(name), rtnetlink.INGRESS, index(before)),
        ]
    outside = shape.outgoing(name)
    air = index(shape.AIR)
    requests = [rtnetlink.clsact(index(device)) for device in (name, before, outside)]
    requests += [
        rtnetlink.redirect(index(outside), rtnetlink.INGRESS, index(before)),
        rtnetlink.redirect(index(before), rtnetlink.EGRESS, air),
        rtnetlink.redirect(index(name), rtnetlink.EGRESS, index(outside)),
        rtnetlink.redirect(index(outside), rtnetlink.EGRESS, air),
    ]
    for direction, device in ((1 - side, before), (side, outside)):
        queue = _queues(wire, direction, LinkParameters(1.0))[-1][1]
        requests.append(rtnetlink.arriving_class(air, device, queue.minor))
    return requests


def _flight(link: LinkParameters) -> tuple[float | None, ...]:
    """What the second netem of a direction depends on."""
    return shape.jitter_delay(link), link.jitter_s, link.loss, link.burst


def _named(wire: Wire, direction: int) -> str:
    return f"the link from {wire.ends[direction].node} to {wire.ends[1 - direction].node}"
