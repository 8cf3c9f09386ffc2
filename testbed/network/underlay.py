"""What the real network between two machines gives, measured by plain sockets in a second or a few."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time

import msgspec

from testbed.network.errors import NetworkError

_EXCHANGES = 300
_EXCHANGES_S = 0.25
_AT_LEAST = 5
_ANSWER_S = 0.5
_SETTLING_S = 0.1
"""While TCP begins, nothing counts."""
_WINDOW_S = 0.25
_ALIKE = 0.1
"""The rate is found when the two best windows differ by no more than this share, and is the second's: TCP halts for
longer than a window where it first overran a queue, and hands over in the next what it had kept back meanwhile."""
_RATE_S = 2.0
"""How long each direction is filled at most."""
_HEADERS = 28  # IPv4 and UDP
_LARGEST = 1550  # a packet of 1,500 bytes in a tunnel
_SMALLER = (1500, 1450, 1400, 1280, 576)
_SEND, _RECEIVE = b"s", b"r"
_RATE = struct.Struct("=d")
_CHUNK = 1 << 18
_IP_MTU_DISCOVER, _IP_PMTUDISC_DO, _IP_MTU = 10, 2, 14


class Underlay(msgspec.Struct, frozen=True):
    """The real network between two machines."""

    round_trip_s: float  # the shortest of many
    rates_bps: tuple[float, float]  # from the first machine to the second, and back
    mtu: int  # IP bytes that pass unfragmented

    @property
    def delay_s(self) -> float:
        """One way: half the round trip."""
        return self.round_trip_s / 2


class Responder:
    """The other end of a measurement: answers at an address of this machine until it is closed."""

    def __init__(self, address: str) -> None:
        """Begins to answer.

        Raises:
            NetworkError: the address is none of this machine's.
        """
        self._packets = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._streams = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._streams.bind((address, 0))
            self.port: int = self._streams.getsockname()[1]
            self._packets.bind((address, self.port))
        except OSError as error:
            self._shut()
            raise NetworkError(f"cannot listen at {address}: {error.strerror}") from None
        self._streams.listen()
        self._closing = False
        for work in (self._answer_packets, self._answer_streams):
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        """Answers no more."""
        self._closing = True
        for waited_at in (self._streams, self._packets):
            with contextlib.suppress(OSError):  # wakes the thread that waits, where it says that it cannot too
                waited_at.shutdown(socket.SHUT_RDWR)
        self._shut()

    def _shut(self) -> None:
        self._packets.close()
        self._streams.close()

    def _answer_packets(self) -> None:
        with contextlib.suppress(OSError):
            while not self._closing:
                packet, sender = self._packets.recvfrom(2048)
                if sender:  # else it is shut
                    self._packets.sendto(packet, sender)

    def _answer_streams(self) -> None:
        with contextlib.suppress(OSError):
            while not self._closing:
                stream, _ = self._streams.accept()
                threading.Thread(target=self._answer_stream, args=(stream,), daemon=True).start()

    def _answer_stream(self, stream: socket.socket) -> None:
        with stream, contextlib.suppress(OSError):
            stream.settimeout(5)
            if stream.recv(1) == _SEND:
                stream.sendall(_RATE.pack(_received_bps(stream)))
                while stream.recv(_CHUNK):  # what is unread when it is closed would take the answer with it
                    pass
            else:
                _fill(stream)


def measure(own: str, other: str, port: int) -> Underlay:
    """Measures the network from this machine to another, where a `Responder` answers; some seconds at most.

    Args:
        own: this machine's address on it.
        other: the other's.
        port: the responder's.

    Raises:
        NetworkError: the other does not answer.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets:
            packets.bind((own, 0))
            packets.connect((other, port))
            round_trip_s = _round_trip_s(packets, other)
            mtu = _mtu(packets)
        return Underlay(round_trip_s, (_rate_bps(own, other, port, _SEND), _rate_bps(own, other, port, _RECEIVE)), mtu)
    except OSError as error:
        raise NetworkError(
            f"the network from {own} to {other} could not be measured: {error.strerror or error};"
            " is there a route, and does no firewall drop UDP and TCP between the two?"
        ) from None


def _round_trip_s(packets: socket.socket, other: str) -> float:
    packets.settimeout(_ANSWER_S)
    found: list[float] = []
    began = time.monotonic()
    for number in range(_EXCHANGES):
        if len(found) >= _AT_LEAST and time.monotonic() > began + _EXCHANGES_S:
            break
        if not found and number >= _AT_LEAST:
            raise TimeoutError(f"{other} does not answer")
        word = struct.pack("=I", number)
        sent = time.perf_counter()
        packets.send(word)
        with contextlib.suppress(TimeoutError):
            while packets.recv(16) != word:
                pass
            found.append(time.perf_counter() - sent)
    return min(found)


def _mtu(packets: socket.socket) -> int:
    """The largest packet that goes there and back unfragmented, IP bytes; at most what is of use."""
    packets.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
    packets.settimeout(0.2)
    known = min(packets.getsockopt(socket.IPPROTO_IP, _IP_MTU), _LARGEST)
    for size in (known, known, *(smaller for smaller in _SMALLER if smaller < known)):
        with contextlib.suppress(OSError):  # too large, or lost
            packets.send(bytes(size - _HEADERS))
            while len(packets.recv(2048)) != size - _HEADERS:  # a late answer
                pass
            return size
    raise TimeoutError("not even packets of 576 bytes come back")


def _rate_bps(own: str, other: str, port: int, way: bytes) -> float:
    """What TCP delivers. Its headers take about as much of each packet as a tunnel's, so that as much can be had."""
    with socket.create_connection((other, port), timeout=5, source_address=(own, 0)) as stream:
        stream.sendall(way)
        rate_bps = float(_RATE.unpack(_fill(stream))[0]) if way == _SEND else _received_bps(stream)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))  # forgets what is on its way
        return rate_bps


def _fill(stream: socket.socket) -> bytes:
    """Sends as fast as it goes, until the other end says something or hangs up; what it said."""
    data = bytes(_CHUNK)
    stream.setblocking(False)
    until = time.monotonic() + _RATE_S + 5
    while time.monotonic() < until:
        readable, writable, _ = select.select([stream], [stream], [], 5)
        if readable:
            return stream.recv(_RATE.size)
        if writable:
            stream.send(data)
    raise TimeoutError("the other end does not tell what came")


def _received_bps(stream: socket.socket) -> float:
    """At which rate data comes at its best, bits per second: what TCP loses time with is not the network's."""
    buffer = bytearray(_CHUNK)
    stream.settimeout(_RATE_S)
    began = time.monotonic()
    found: list[float] = []
    counted, since, last = 0, 0.0, began
    with contextlib.suppress(TimeoutError):
        while last < began + _RATE_S and not _alike(found):
            length = stream.recv_into(buffer)
            if not length:
                break
            last = time.monotonic()
            if since:
                counted += length
            if last > (since + _WINDOW_S if since else began + _SETTLING_S):
                if since:
                    found.append(counted * 8 / (last - since))
                counted, since = 0, last
    return min(sorted(found)[-2:], default=0.0)


def _alike(rates_bps: list[float]) -> bool:
    best = sorted(rates_bps)[-2:]
    return len(best) == 2 and best[0] > (1 - _ALIKE) * best[1]
