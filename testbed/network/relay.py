"""Links as TAP pairs, joined by one relay process that outlives its starter."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path

from testbed.documents.resolved import LinkParameters
from testbed.network import shape
from testbed.network.errors import NetworkError
from testbed.network.links import Counters, Done, Planned, Reading, Wire
from testbed.network.native import program
from testbed.network.ownership import Ownership

_CHANGE = struct.Struct("=qqiidqqddq")
"""The relay's `struct change`."""
_APPLIED = struct.Struct("=qq")
_AT_ONCE = 800
"""Changes in one request: it holds no packet up for longer than some 0.1 ms."""
_ANSWER = 1 << 17
"""Room for the relay's longest answer, in bytes."""


class RelayLinks:
    """Links as TAP pairs, joined by one relay process that outlives its starter."""

    def __init__(self, ownership: Ownership, seed: int = 0, *, start: bool) -> None:
        self.path = ownership.folder / "relay.sock"
        self._seed = seed
        self._airs: dict[str, int] = {}
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

    def _request(self, request: bytes) -> bytes:
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

    def _ask(self, request: str) -> list[str]:
        return self._request(request.encode()).decode().split()

    def making(self, wire: Wire) -> tuple[list[str], list[str]]:
        """Has the relay make the TAPs; nothing is left to do."""
        (a, b), (pid_a, pid_b) = wire.ends, wire.pids
        self._ask(f"add {wire.number} {pid_a} {a.name} {pid_b} {b.name} {self._seed + 7919 * wire.number}")
        if wire.air is not None:
            number = self._airs.setdefault(wire.air.access_point, len(self._airs))
            self._ask(f"air {wire.number} {number} {wire.air.bandwidth_bps!r}")
        return [], []

    def shape(self, wires: Sequence[Wire], asked: Sequence[tuple[LinkParameters, LinkParameters]]) -> None:
        """Sets each direction."""
        for wire, both in zip(wires, asked, strict=True):
            for direction, link in enumerate(both):
                self.change(wire, direction, link)

    def change(self, wire: Wire, direction: int, link: LinkParameters) -> None:
        """Changes one direction in place; what is queued is served at the new rate."""
        self._ask(f"set {wire.number} {direction} " + " ".join(map(repr, _values(link))))

    def schedule(self, changes: Sequence[Planned]) -> None:
        """Has the relay apply them. They are forgotten with this connection.

        Raises:
            NetworkError: one cannot be applied, or too many are planned; those handed over before it stay planned.
        """
        for first in range(0, len(changes), _AT_ONCE):
            packed = [
                _CHANGE.pack(number, at_ns, wire.number, direction, *_values(link))
                for number, at_ns, wire, direction, link in changes[first : first + _AT_ONCE]
            ]
            self._request(b"plan " + b"".join(packed))

    def done(self) -> list[Done]:
        """Asks the relay."""
        found: list[Done] = []
        while answer := self._request(b"done"):
            found += map(Done._make, _APPLIED.iter_unpack(answer))
        return found

    def cancel(self) -> None:
        """Has the relay forget them."""
        self._ask("cancel")

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
