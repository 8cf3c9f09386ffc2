"""How far the monotonic clocks of two machines are apart, by exchanges over the management network.

One exchange gives four instants: asked at a (here), received at b and answered at c (there), answered at d (here). The
other clock is ahead by ((b - a) + (c - d)) / 2, wrong by no more than half of what the exchange spent on its way,
(d - a) - (c - b): RFC 5905, section 8. The exchange that spent least is believed.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterable

import msgspec

from testbed.network.errors import NetworkError

_QUESTION = struct.Struct("!Q")
_ANSWER = struct.Struct("!Qqq")  # the question's number, received, answered: nanoseconds
_ASK_AGAIN_S = 0.05

Exchange = tuple[int, int, int, int]
"""Asked, received, answered, answer received: nanoseconds, the first and the last on this clock."""


class Offset(msgspec.Struct, frozen=True):
    """How far another machine's monotonic clock is ahead of this one's, and by how much that may be wrong."""

    offset_s: float = 0.0
    error_s: float = 0.0

    def since(self, other: Offset) -> Offset:
        """The clock of this offset as seen from the clock of another, both measured from a third."""
        return Offset(self.offset_s - other.offset_s, self.error_s + other.error_s)

    def there(self, instant_s: float) -> float:
        """What the other clock shows at an instant of this one."""
        return instant_s + self.offset_s


SAME = Offset()
"""Of a machine to itself."""


def best(exchanges: Iterable[Exchange]) -> Offset:
    """The offset by the exchange that spent the least time on its way; half of that is the error."""
    asked, received, answered, back = min(exchanges, key=lambda one: (one[3] - one[0]) - (one[2] - one[1]))
    on_its_way_ns = (back - asked) - (answered - received)
    return Offset(((received - asked) + (answered - back)) / 2e9, max(0, on_its_way_ns) / 2e9)


class Responder:
    """Answers with the time, at one address, until closed."""

    def __init__(self, address: str, port: int) -> None:
        """Begins to listen.

        Raises:
            OSError: the port is taken, or the address is not of this machine.
        """
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, port))
        self.port: int = self._socket.getsockname()[1]
        self._closing = False
        threading.Thread(target=self._answer, daemon=True, name="clock").start()

    def close(self) -> None:
        """Stop."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)  # wakes the thread; the kernel says that it is not connected

    def _answer(self) -> None:
        with self._socket:
            while True:
                question, asker = self._socket.recvfrom(64)
                received_ns = time.monotonic_ns()
                if self._closing:
                    return
                if len(question) == _QUESTION.size:
                    (number,) = _QUESTION.unpack(question)
                    with contextlib.suppress(OSError):  # whoever asked has gone
                        self._socket.sendto(_ANSWER.pack(number, received_ns, time.monotonic_ns()), asker)


def measured(own: str, address: str, port: int, *, exchanges: int = 100, within_s: float = 3.0) -> Offset:
    """How far the clock at an address is ahead of this machine's: the best of so many exchanges, one after the other.

    Args:
        own: this machine's address on the management network.
        address: the other machine's.
        port: where a `Responder` listens there.
        exchanges: how many.
        within_s: how long to go on, where answers are lost.

    Raises:
        NetworkError: it does not answer.
    """
    found: list[Exchange] = []
    until_s = time.monotonic() + within_s
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.bind((own, 0))
        asking.connect((address, port))
        asking.settimeout(_ASK_AGAIN_S)
        number = 0
        while len(found) < exchanges and (time.monotonic() < until_s or not found):
            if time.monotonic() >= until_s:
                raise NetworkError(
                    f"the clock at {address} (UDP port {port}) does not answer: is the port let through?"
                )
            number += 1
            asked_ns = time.monotonic_ns()
            try:
                asking.send(_QUESTION.pack(number))
                answer = asking.recv(64)
            except TimeoutError:  # lost, or late
                continue
            except OSError:  # nobody listens yet
                time.sleep(_ASK_AGAIN_S)
                continue
            back_ns = time.monotonic_ns()
            if len(answer) == _ANSWER.size and (fields := _ANSWER.unpack(answer))[0] == number:
                found.append((asked_ns, fields[1], fields[2], back_ns))
    if not found:
        raise NetworkError(f"the clock at {address} (UDP port {port}) does not answer: is the port let through?")
    return best(found)
