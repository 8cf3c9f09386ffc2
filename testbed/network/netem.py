"""Links as veth pairs, shaped by the kernel: HTB at the sending end, netem at the receiving one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from testbed.documents.resolved import LinkParameters
from testbed.network import shape
from testbed.network.batch import TrafficControl
from testbed.network.errors import NetworkError
from testbed.network.links import Counters, Done, Planned, Reading, Wire
from testbed.network.ownership import Ownership


class NetemLinks:
    """Links as veth pairs, shaped by the kernel."""

    def __init__(self, ownership: Ownership) -> None:
        self._ownership = ownership
        self._tc: dict[int, TrafficControl] = {}

    def _at(self, pid: int) -> TrafficControl:
        if pid not in self._tc:
            self._tc[pid] = TrafficControl(self._ownership, pid)
        return self._tc[pid]

    def making(self, wire: Wire) -> tuple[list[str], list[str]]:
        """The commands for each end, the second end's first: it makes the pair, which never lies anywhere else."""
        first, second = wire.ends
        pair = (
            f"link add {second.name} numtxqueues 1 numrxqueues 1 type veth peer name {first.name} netns {wire.pids[0]}"
        )
        made = [[*one] for one in ([], [pair])]
        for end, commands in zip(wire.ends, made, strict=True):
            commands += [
                f"link set {end.name} gso_max_segs 1",
                f"link add {shape.incoming(end.name)} numtxqueues 1 type ifb",
                f"link set {shape.incoming(end.name)} up",
            ]
        return made[0], made[1]

    def shape(self, wires: Sequence[Wire], asked: Sequence[tuple[LinkParameters, LinkParameters]]) -> None:
        """Shapes links for the first time, and reads back.

        Raises:
            NetworkError: tc refused, or did something else than was asked.
        """
        commands: dict[int, list[str]] = {}
        for wire, (up, down) in zip(wires, asked, strict=True):
            for side, outgoing, arriving in ((0, up, down), (1, down, up)):
                name = wire.ends[side].name
                commands.setdefault(wire.pids[side], []).extend(
                    shape.sending(name, outgoing) + shape.receiving(name, arriving)
                )
        for pid, lines in commands.items():
            self._at(pid).run(lines)
        for wire, both in zip(wires, asked, strict=True):
            for direction, link in enumerate(both):
                self._check(wire, direction, link)

    def _check(self, wire: Wire, direction: int, link: LinkParameters) -> None:
        sender, receiver = wire.ends[direction], wire.ends[1 - direction]
        found = shape.read_back(*self._both(wire, direction))
        wrong = "it is not shaped at all" if found is None else shape.difference(found, link)
        if wrong:
            raise NetworkError(f"the link from {sender.node} to {receiver.node} was not shaped as asked: {wrong}")

    def _both(self, wire: Wire, direction: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        sender, receiver = wire.ends[direction], wire.ends[1 - direction]
        (sent,) = self._at(wire.pids[direction]).qdiscs([sender.name])
        (arrived,) = self._at(wire.pids[1 - direction]).qdiscs([shape.incoming(receiver.name)])
        return sent, arrived

    def change(self, wire: Wire, direction: int, link: LinkParameters) -> None:
        """Changes one direction in place; the queue keeps what it holds."""
        self._at(wire.pids[direction]).run(shape.sending_changed(wire.ends[direction].name, link))
        self._at(wire.pids[1 - direction]).run(shape.receiving_changed(wire.ends[1 - direction].name, link))

    def schedule(self, changes: Sequence[Planned]) -> None:
        """Has them applied."""
        raise NotImplementedError

    def done(self) -> list[Done]:
        """Which were applied."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Forgets them."""
        raise NotImplementedError

    def read(self, wires: Sequence[Wire]) -> list[tuple[Reading, Reading]]:
        """What the kernel has."""
        return [(self._read(wire, 0), self._read(wire, 1)) for wire in wires]

    def _read(self, wire: Wire, direction: int) -> Reading:
        sent, arrived = self._both(wire, direction)
        parameters = shape.read_back(sent, arrived)
        if parameters is None:
            raise NetworkError(f"the link between {wire.ends[0].node} and {wire.ends[1].node} is no longer shaped")
        queue = next(qdisc for qdisc in sent if qdisc["kind"] == "bfifo")
        netem = next(qdisc for qdisc in arrived if qdisc["kind"] == "netem")
        return Reading(parameters, Counters(netem["bytes"], netem["packets"], queue["drops"] + netem["drops"]))

    def close(self) -> None:
        """Ends the `tc` processes."""
        for tc in self._tc.values():
            tc.close()
        self._tc.clear()
