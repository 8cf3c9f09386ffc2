"""Links as TAP pairs, joined by one relay process that outlives its starter."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from testbed.documents.resolved import LinkParameters
from testbed.network import shape
from testbed.network.errors import NetworkError
from testbed.network.links import Counters, Done, Planned, Reading, Wire
from testbed.network.native import program
from testbed.network.ownership import Ownership


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

    def schedule(self, changes: Sequence[Planned]) -> None:
        """Has the relay apply them."""
        raise NotImplementedError

    def done(self) -> list[Done]:
        """Asks the relay."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Has the relay forget them."""
        raise NotImplementedError

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
