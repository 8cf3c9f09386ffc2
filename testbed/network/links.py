"""The two ways to make and shape links, netem and relay, behind one interface."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from testbed.documents.resolved import LinkParameters
from testbed.network import shape
from testbed.network.addressing import End
from testbed.network.batch import TrafficControl
from testbed.network.errors import NetworkError
from testbed.network.native import program
from testbed.network.ownership import Ownership


class Counters(msgspec.Struct, frozen=True):
    """What one direction of a link has delivered, in IP bytes and packets, and how many packets it dropped: for want of
    queue, or by the loss that was asked for."""

    bytes: int
    packets: int
    dropped: int


class Reading(NamedTuple):
    """One direction of a link as the system has it: what it is set to, and what it has carried."""

    parameters: LinkParameters
    counters: Counters


class Wire(NamedTuple):
    """A link as the backends see it: its number, its two interfaces, and the processes that hold their namespaces."""

    number: int
    ends: tuple[End, End]
    pids: tuple[int, int]


class Backend(Protocol):
    """Makes and shapes links. Direction 0 is from the first end to the second."""

    def making(self, wire: Wire) -> tuple[list[str], list[str]]:
        """Makes a link's two interfaces, or says by which `ip` commands at each end they are made."""

    def shape(self, wires: Sequence[Wire], asked: Sequence[tuple[LinkParameters, LinkParameters]]) -> None:
        """Shapes links for the first time, and checks that they are as they should be."""

    def change(self, wire: Wire, direction: int, link: LinkParameters) -> None:
        """Changes one direction in place."""

    def read(self, wires: Sequence[Wire]) -> list[tuple[Reading, Reading]]:
        """How each link's directions are set, and what they have carried."""

    def close(self) -> None:
        """Lets go of helpers; the links stay."""


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


class RelayLinks:
    """Links as TAP pairs, joined by one relay process that outlives its starter."""

    def __init__(self, ownership: Ownership, seed: int = 0, *, start: bool) -> None:
        self.path = ownership.folder / "relay.sock"
        self._seed = seed
        if start:
            ownership.record("file", path=str(self.path))
            log = ownership.folder / "relay.log"
            with log.open("ab") as stderr:
                self.pid = ownership.spawn([program("relay"), str(self.path)], stderr=stderr)
        self._socket = self._connected(log if start else None)
        self.realtime = self._ask("hello") == ["realtime"]

    def _connected(self, log: Path | None) -> socket.socket:
        until = time.monotonic() + 10
        while True:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            client.settimeout(10)
            try:
                client.connect(str(self.path))
                return client
            except OSError as error:
                client.close()
                said = log.read_text().strip() if log else ""
                if log is None or said or time.monotonic() > until:
                    raise NetworkError(f"the relay does not answer: {said or error}") from None
                time.sleep(0.002)

    def _ask(self, request: str) -> list[str]:
        try:
            self._socket.send(request.encode())
            answer = self._socket.recv(4096).decode()
        except OSError as error:
            raise NetworkError(f"the relay does not answer: {error}; take the testbed down") from None
        word, *values = answer.split()
        if word != "ok":
            raise NetworkError(f"the relay could not do {request!r}: {answer.removeprefix('error ')}")
        return values

    def making(self, wire: Wire) -> tuple[list[str], list[str]]:
        """Has the relay make the TAPs; nothing is left to do."""
        (a, b), (pid_a, pid_b) = wire.ends, wire.pids
        self._ask(f"add {wire.number} {pid_a} {a.name} {pid_b} {b.name} {self._seed + 7919 * wire.number}")
        return [], []

    def shape(self, wires: Sequence[Wire], asked: Sequence[tuple[LinkParameters, LinkParameters]]) -> None:
        """Sets each direction."""
        for wire, both in zip(wires, asked, strict=True):
            for direction, link in enumerate(both):
                self.change(wire, direction, link)

    def change(self, wire: Wire, direction: int, link: LinkParameters) -> None:
        """Changes one direction in place; what is queued is served at the new rate."""
        self._ask(
            f"set {wire.number} {direction} {link.bandwidth_bps!r} {round(link.delay_s * 1e9)}"
            f" {round(link.jitter_s * 1e9)} {link.loss!r} {shape.queue_bytes(link)}"
        )

    def read(self, wires: Sequence[Wire]) -> list[tuple[Reading, Reading]]:
        """What the relay has."""
        found = []
        for wire in wires:
            values = self._ask(f"get {wire.number}")
            half = len(values) // 2
            found.append((_reading(values[:half]), _reading(values[half:])))
        return found

    def close(self) -> None:
        """Closes the connection; the relay goes on."""
        with contextlib.suppress(OSError):
            self._socket.close()


def _reading(values: list[str]) -> Reading:
    """One direction of the relay's answer to `get`."""
    rate, delay, jitter, loss, queue, size, packets, dropped, lost, _backlog = values
    link = LinkParameters(float(rate), int(delay) / 1e9, int(jitter) / 1e9, float(loss), int(queue))
    return Reading(link, Counters(int(size), int(packets), int(dropped) + int(lost)))
