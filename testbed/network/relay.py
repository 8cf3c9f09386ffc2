"""Links as TAP pairs, joined by relay processes that outlive their starter."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from testbed.documents.resolved import LinkParameters
from testbed.network import shape
from testbed.network.errors import NetworkError
from testbed.network.links import Counters, Done, Planned, Reading, Readings, Wire
from testbed.network.native import program
from testbed.network.ownership import Ownership

_CHANGE = struct.Struct("=qqiidqqddq")
"""The relay's `struct change`."""
_APPLIED = struct.Struct("=qq")
_AT_ONCE = 800
"""Changes in one request: it holds no packet up for longer than some 0.1 ms."""
_ANSWER = 1 << 17
"""Room for the relay's longest answer, in bytes."""


_LINKS_EACH = 25
"""Links that are worth a relay of their own, as long as there are cores."""
_MOST = 4
"""Relays of a testbed."""


class Relay:
    """A connection to one relay process."""

    def __init__(self, path: Path, log: Path | None = None) -> None:
        """Waits for a relay that was just started and writes to `log`; one without a log must be there.

        Raises:
            NetworkError: it does not answer.
        """
        self._path = path
        self._socket = self._connected(log)
        self.realtime = self.ask("hello") == ["realtime"]

    def _connected(self, log: Path | None) -> socket.socket:
        until = time.monotonic() + 10
        while True:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            client.settimeout(10)
            try:
                client.connect(str(self._path))
                return client
            except OSError as error:
                client.close()
                said = log.read_text().strip() if log else ""
                starts_or_is_crowded = log is not None or isinstance(error, BlockingIOError)
                if said or not starts_or_is_crowded or time.monotonic() > until:
                    raise NetworkError(f"the relay does not answer: {said or error}") from None
                time.sleep(0.002)

    def request(self, request: bytes) -> bytes:
        """What the relay answers after its `ok`."""
        try:
            self._socket.send(request)
            word, _, answer = self._socket.recv(_ANSWER).partition(b" ")
        except OSError as error:
            raise NetworkError(f"the relay does not answer: {error}; take the testbed down") from None
        if word != b"ok":
            asked = request.split(b" ", 1)[0] if request.startswith(b"plan") else request
            raise NetworkError(f"the relay could not do {asked.decode()!r}: {answer.decode()}")
        return answer

    def ask(self, request: str) -> list[str]:
        """The words of what it answers."""
        return self.request(request.encode()).decode().split()

    def plan(self, changes: Sequence[Planned]) -> None:
        """Hands changes over; those handed over before one that is refused stay planned."""
        for first in range(0, len(changes), _AT_ONCE):
            packed = [
                _CHANGE.pack(number, at_ns, wire.number, direction, *_values(link))
                for number, at_ns, wire, direction, link in changes[first : first + _AT_ONCE]
            ]
            self.request(b"plan " + b"".join(packed))

    def done(self) -> list[Done]:
        """What it has applied since the last call."""
        found: list[Done] = []
        while answer := self.request(b"done"):
            found += map(Done._make, _APPLIED.iter_unpack(answer))
        return found

    def close(self) -> None:
        """Closes the connection; the relay goes on."""
        with contextlib.suppress(OSError):
            self._socket.close()


class RelayLinks:
    """Links as TAP pairs, joined by relay processes that outlive their starter.

    Where there are many links there are several: one has but one core, and does one after another what is due at once.
    """

    def __init__(self, relays: Sequence[Relay], seed: int = 0) -> None:
        """`seed` is of the losses and jitter of links made from now on."""
        self._relays = relays
        self._seed = seed
        self._airs: dict[str, int] = {}

    @classmethod
    def start(cls, ownership: Ownership, links: int, seed: int) -> RelayLinks:
        """As many relays as so many links are worth.

        Raises:
            NetworkError: one does not answer.
        """
        log = ownership.folder / "relay.log"
        count = max(1, min(len(os.sched_getaffinity(0)), _MOST, links // _LINKS_EACH))
        paths = [ownership.folder / f"relay-{number}.sock" for number in range(1, count + 1)]
        ownership.record_all({"kind": "file", "path": str(path)} for path in paths)
        with log.open("ab") as stderr:
            for path in paths:
                ownership.spawn([program("relay"), str(path)], stderr=stderr)
        return cls([Relay(path, log) for path in paths], seed)

    @classmethod
    def attach(cls, ownership: Ownership) -> RelayLinks:
        """Those that were started.

        Raises:
            NetworkError: one does not answer, or none is there.
        """
        paths = sorted(ownership.folder.glob("relay-*.sock"))
        if not paths:
            raise NetworkError(f"no relay's socket is in {ownership.folder}: take the testbed down")
        return cls([Relay(path) for path in paths])

    @property
    def realtime(self) -> bool:
        """Whether they are served before all ordinary processes."""
        return all(relay.realtime for relay in self._relays)

    def _of(self, wire: Wire) -> Relay:
        """The relay that has a link: the links that share an air have the same."""
        key = wire.number if wire.air is None else zlib.crc32(wire.air.access_point.encode())
        return self._relays[key % len(self._relays)]

    def making(self, wire: Wire) -> tuple[list[str], list[str]]:
        """Has the relay make the TAPs; nothing is left to do."""
        (a, b), (pid_a, pid_b) = wire.ends, wire.pids
        relay = self._of(wire)
        relay.ask(f"add {wire.number} {pid_a} {a.name} {pid_b} {b.name} {self._seed + 7919 * wire.number}")
        if wire.air is not None:
            number = self._airs.setdefault(wire.air.access_point, len(self._airs))
            relay.ask(f"air {wire.number} {number} {wire.air.bandwidth_bps!r}")
        return [], []

    def shape(self, wires: Sequence[Wire], asked: Sequence[tuple[LinkParameters, LinkParameters]]) -> None:
        """Sets each direction."""
        for wire, both in zip(wires, asked, strict=True):
            for direction in wire.directions:
                self.change(wire, direction, both[direction])

    def change(self, wire: Wire, direction: int, link: LinkParameters) -> None:
        """Changes one direction in place; what is queued is served at the new rate."""
        self._of(wire).ask(f"set {wire.number} {direction} " + " ".join(map(repr, _values(link))))

    def schedule(self, changes: Sequence[Planned]) -> None:
        """Has the relays apply them. They are forgotten with this connection.

        Raises:
            NetworkError: one cannot be applied, or too many are planned; those handed over before it stay planned.
        """
        for relay in self._relays:
            relay.plan([change for change in changes if self._of(change.wire) is relay])

    def done(self) -> list[Done]:
        """Asks the relays."""
        return sorted((one for relay in self._relays for one in relay.done()), key=lambda one: one.applied_ns)

    def cancel(self) -> None:
        """Has the relays forget them."""
        for relay in self._relays:
            relay.ask("cancel")

    def read(self, wires: Sequence[Wire]) -> list[Readings]:
        """What the relays have."""
        found: list[Readings] = []
        for wire in wires:
            values = self._of(wire).ask(f"get {wire.number}")
            half = len(values) // 2
            up, down = values[:half], values[half:]
            found.append(
                (_reading(up) if 0 in wire.directions else None, _reading(down) if 1 in wire.directions else None)
            )
        return found

    def close(self) -> None:
        """Closes the connections; the relays go on."""
        for relay in self._relays:
            relay.close()


def _values(link: LinkParameters) -> tuple[float, int, int, float, float, int]:
    """A direction's parameters in the relay's order and units."""
    return (
        link.bandwidth_bps,
        round(link.delay_s * 1e9),
        round(link.jitter_s * 1e9),
        link.loss,
        link.burst or 0.0,
        shape.queue_bytes(link),
    )


def _reading(values: list[str]) -> Reading:
    """One direction of the relay's answer to `get`."""
    rate, delay, jitter, loss, burst, queue, size, packets, dropped, lost, _backlog = values
    link = LinkParameters(
        float(rate), int(delay) / 1e9, int(jitter) / 1e9, float(loss), int(queue), float(burst) or None
    )
    return Reading(link, Counters(int(size), int(packets), int(dropped) + int(lost)))
