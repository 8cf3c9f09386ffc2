"""Traffic control and tunnels in the kernel's own words: pure functions for the messages, a socket that carries them.

The layouts are those of `linux/rtnetlink.h`, `linux/pkt_sched.h`, `linux/pkt_cls.h`, `linux/tc_act/tc_mirred.h` and
`linux/if_link.h`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

from testbed.network.errors import NetworkError

ROOT = 0xFFFFFFFF
CLSACT = 0xFFFFFFF1
INGRESS = 0xFFFFFFF2
EGRESS = 0xFFFFFFF3
"""Parents: a device's root, its hooks, and the filters of either hook."""

LINK, QDISC, CLASS, FILTER = 16, 36, 40, 44  # RTM_NEWLINK, RTM_NEWQDISC, RTM_NEWTCLASS, RTM_NEWTFILTER
_GET_QDISC = 38
_REQUEST, _DUMP, _ADD = 0x1, 0x300, 0x600  # NLM_F_REQUEST; _ROOT and _MATCH; _CREATE and _EXCL
_NESTED = 0x8000
_ETHERNET = 14
_TICK_NS = 64  # in which HTB counts its buffers

_HEADER = struct.Struct("=IHHII")
_TCM = struct.Struct("=BxxxiIII")
_INTERFACE = struct.Struct("=BxHiII")
_UP = 1  # IFF_UP
_ATTRIBUTE = struct.Struct("=HH")
_HTB = struct.Struct("=BBHhHI BBHhHI IIIII")
_NETEM = struct.Struct("=6I")
_GEMODEL = struct.Struct("=4I")


class Request(NamedTuple):
    """A message without its header, and what it does in words, for complaints."""

    words: str
    kind: int
    flags: int
    body: bytes

    def message(self, number: int) -> bytes:
        """With its header."""
        return _HEADER.pack(16 + len(self.body), self.kind, _REQUEST | self.flags, number, 0) + self.body


class Loss(NamedTuple):
    """A Gilbert-Elliott model without loss in its good state: for each packet, how likely it leaves the good state and
    the bad one, in which every packet is lost."""

    p: float
    r: float


class Delay(NamedTuple):
    """What a netem does to packets. It serves them one after the other, so that none overtakes another."""

    rate_bps: float
    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float | Loss = 0.0


class Qdisc(NamedTuple):
    """A queueing discipline as the kernel tells it."""

    kind: str
    handle: int
    parent: int
    options: bytes
    bytes: int
    packets: int
    drops: int


def _attribute(kind: int, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return _ATTRIBUTE.pack(4 + len(data), kind) + data + bytes(-len(data) % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes that lie one behind the other, by their kinds."""
    found = {}
    while len(data) >= 4:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not 4 <= length <= len(data):
            break
        found[kind & 0x3FFF] = data[4:length]
        data = data[length + -length % 4 :]
    return found


def _body(index: int, handle: int, parent: int, kind: str, options: bytes, *more: bytes, info: int = 0) -> bytes:
    named = _attribute(1, kind.encode() + b"\0")
    return _TCM.pack(0, index, handle, parent, info) + named + _attribute(2, options) + b"".join(more)


def bytes_per_s(rate_bps: float) -> int:
    """A rate as the kernel keeps it."""
    return min(max(1, round(rate_bps) // 8), 0xFFFFFFFF)


_IP_SIZES = _attribute(8, _attribute(1, struct.pack("=BBhiIIII", 0, 0, 0, -_ETHERNET, 1, 0, 0, 0)))
"""A size table that counts IP bytes instead of Ethernet frames."""


def htb_root(index: int) -> Request:
    """HTB at a device's root, counting IP bytes; what belongs to no class passes."""
    options = _attribute(2, struct.pack("=5I", 3, 10, 1, 0, 0))
    return Request("qdisc htb 1:", QDISC, _ADD, _body(index, 1 << 16, ROOT, "htb", options, _IP_SIZES))


def htb_class(
    index: int, minor: int, rate_bps: float, ceil_bps: float, burst: int, quantum: int, *, parent: int = 0, new: bool
) -> Request:
    """A class 1:MINOR of HTB under 1:PARENT, made or changed in place; `burst` and `quantum` in bytes.

    The rates carry their link layer, so that the kernel asks for no rate tables.
    """
    rate, ceil = bytes_per_s(rate_bps), bytes_per_s(ceil_bps)
    buffer, cbuffer = (min(burst * 1_000_000_000 // one // _TICK_NS, 0xFFFFFFFF) for one in (rate, ceil))
    parms = _HTB.pack(0, 1, 0, -1, 0, rate, 0, 1, 0, -1, 0, ceil, buffer, cbuffer, quantum, 0, 0)
    body = _body(index, 1 << 16 | minor, 1 << 16 | parent, "htb", _attribute(1, parms))
    return Request(f"class htb 1:{minor:x}", CLASS, _ADD if new else 0, body)


def bfifo(index: int, minor: int, limit: int, *, new: bool) -> Request:
    """The queue of a class 1:MINOR, at most `limit` bytes, made or changed in place."""
    body = _body(index, minor + 15 << 16, 1 << 16 | minor, "bfifo", struct.pack("=I", min(limit, 0xFFFFFFFF)))
    return Request(f"qdisc bfifo of class 1:{minor:x}", QDISC, _ADD if new else 0, body)


def netem(index: int, handle: int, parent: int, delay: Delay, *, new: bool) -> Request:
    """A netem, made or changed in place; at a device's root it counts IP bytes.

    Raises:
        NetworkError: a probability is out of range.
    """
    lost = delay.loss if isinstance(delay.loss, float) else 0.0
    options = _NETEM.pack(0, 0x7FFFFFFF, _probability(lost), 0, 0, 0)  # room for all: the queue is elsewhere
    rate = max(1, round(delay.rate_bps) // 8)
    options += _attribute(6, struct.pack("=IiIi", min(rate, 0xFFFFFFFF), 0, 0, 0))
    options += _attribute(8, struct.pack("=Q", rate))
    options += _attribute(10, struct.pack("=q", round(delay.delay_s * 1e9)))
    options += _attribute(11, struct.pack("=q", round(delay.jitter_s * 1e9)))
    if isinstance(delay.loss, Loss):
        model = _GEMODEL.pack(_probability(delay.loss.p), _probability(delay.loss.r), 0, 0)
        options += _attribute(5, _attribute(2, model))
    sizes = (_IP_SIZES,) if parent == ROOT else ()
    body = _body(index, handle << 16, parent, "netem", options, *sizes)
    return Request(f"qdisc netem {handle}:", QDISC, _ADD if new else 0, body)


def clsact(index: int) -> Request:
    """The hooks that a device's packets pass: coming, before anything else; going, before its root."""
    return Request("qdisc clsact", QDISC, _ADD, _body(index, 0xFFFF0000, CLSACT, "clsact", b""))


def redirect(index: int, hook: int, target: int, *, into: bool = False) -> Request:
    """Has all packets at a hook sent by another device instead, or come `into` this machine by it."""
    parms = struct.pack(
        "=IIiiiiI", 0, 0, 4, 0, 0, 3 if into else 1, target
    )  # TC_ACT_STOLEN, TCA_INGRESS_REDIR or _EGRESS_
    action = _attribute(1, b"mirred\0") + _attribute(2 | _NESTED, _attribute(2, parms))
    return _u32(index, hook, _attribute(7, _attribute(1, action)))


def arriving_class(index: int, from_device: str, minor: int) -> Request:
    """Has HTB put what was redirected from a device into class 1:MINOR."""
    return _u32(
        index, 1 << 16, _attribute(1, struct.pack("=I", 1 << 16 | minor)), _attribute(8, from_device.encode() + b"\0")
    )


def vxlan(
    name: str, pid: int, identifier: int, addresses: tuple[str, str], port: int, *, mac: str | None, mtu: int
) -> Request:
    """A tunnel from an address of the namespace in which this is asked to another machine's: an interface that is made
    in a process's namespace, up, and in no other at any time."""
    own, other = (socket.inet_aton(address) for address in addresses)
    data = _attribute(1, struct.pack("=I", identifier)) + _attribute(4, own) + _attribute(2, other)
    data += _attribute(15, struct.pack("!H", port)) + _attribute(7, b"\0")  # which learns nothing
    body = _INTERFACE.pack(0, 0, 0, _UP, _UP) + _attribute(3, name.encode() + b"\0")
    body += _attribute(4, struct.pack("=I", mtu)) + _attribute(19, struct.pack("=I", pid))
    if mac is not None:
        body += _attribute(1, bytes.fromhex(mac.replace(":", "")))
    body += _attribute(18, _attribute(1, b"vxlan\0"), _attribute(2, data))
    return Request(f"link add {name} type vxlan id {identifier}", LINK, _ADD, body)


def _u32(index: int, parent: int, *attributes: bytes) -> Request:
    select = struct.pack("=BBBxHHhhI", 1, 0, 1, 0, 0, 0, 0, 0) + struct.pack("=IIii", 0, 0, 0, 0)
    options = _attribute(5, select) + b"".join(attributes)
    info = 1 << 16 | socket.htons(3)  # priority 1, all protocols
    return Request("filter u32", FILTER, _ADD, _body(index, 0, parent, "u32", options, info=info))


def _probability(value: float) -> int:
    if not 0.0 <= value <= 1.0:
        raise NetworkError(f"a probability of {value:.6g} is out of range: 0 to 1 is allowed")
    return min(round(value * 2**32), 2**32 - 1)


def netem_told(options: bytes) -> Delay:
    """The inverse of `netem`: a netem's options as the kernel tells them."""
    _, _, lost, *_ = _NETEM.unpack_from(options)
    known = attributes(options[_NETEM.size :])
    loss: float | Loss = lost / 2**32
    if model := attributes(known.get(5, b"")).get(2):
        loss = Loss(*(value / 2**32 for value in _GEMODEL.unpack(model)[:2]))
    rate = struct.unpack_from("=I", known[6])[0] if 6 in known else 0
    if 8 in known:  # told where it does not fit into 32 bits
        rate = struct.unpack("=Q", known[8])[0]
    delay_s, jitter_s = (struct.unpack("=q", known[kind])[0] / 1e9 if kind in known else 0.0 for kind in (10, 11))
    return Delay(8.0 * rate, delay_s, jitter_s, loss)


def bfifo_told(options: bytes) -> int:
    """The inverse of `bfifo`: how many bytes a queue holds at most."""
    limit: int = struct.unpack_from("=I", options)[0]
    return limit


class KernelRefusalError(NetworkError):
    """The kernel refused a request."""

    def __init__(self, words: str, body: bytes) -> None:
        super().__init__(f"the kernel refused {words!r}: {refusal(body)}")
        self.number: int = -struct.unpack_from("=i", body)[0]
        """As in `errno`."""


class Route:
    """A socket by which traffic control and tunnels are set and read, in the network namespace of the thread that makes
    it.

    It may then be used in any thread.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        for option in (10, 11):  # NETLINK_CAP_ACK, NETLINK_EXT_ACK: complaints without the message, and in words
            self._socket.setsockopt(270, option, 1)
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE: a dump may be long

    def apply(self, requests: Sequence[Request]) -> None:
        """Has the kernel do all of them, in order; the others too where one is refused.

        Raises:
            KernelRefusalError: one was refused; says which and why.
        """
        for first in range(0, len(requests), 64):
            some = requests[first : first + 64]
            self._socket.send(b"".join(request.message(number) for number, request in enumerate(some)))
            while (said := self._received(wait=False)) is not None:
                for kind, number, body in _messages(said):
                    if kind == 2:  # NLMSG_ERROR; what succeeds is not answered
                        raise KernelRefusalError(some[number].words, body)

    def qdiscs(self) -> dict[tuple[int, int], Qdisc]:
        """The queueing disciplines of all interfaces, by the interface's number and the parent."""
        ask = Request("qdiscs", _GET_QDISC, _DUMP, _TCM.pack(0, 0, 0, 0, 0))
        self._socket.send(ask.message(0))
        found: dict[tuple[int, int], Qdisc] = {}
        while True:
            for kind, _, body in _messages(self._received(wait=True) or b""):
                if kind == 3:  # NLMSG_DONE
                    return found
                if kind == 2:
                    raise NetworkError(f"the kernel does not tell how links are shaped: {refusal(body)}")
                _, index, handle, parent, _ = _TCM.unpack_from(body)
                found[index, parent] = _qdisc(handle, parent, attributes(body[_TCM.size :]))

    def _received(self, *, wait: bool) -> bytes | None:
        try:
            return self._socket.recv(1 << 18, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()


def _messages(data: bytes) -> list[tuple[int, int, bytes]]:
    """Kind, number and body of each message."""
    found = []
    while len(data) >= 16:
        length, kind, _, number, _ = _HEADER.unpack_from(data)
        found.append((kind, number, data[16:length]))
        data = data[length + -length % 4 :]
    return found


def refusal(body: bytes) -> str:
    """Why a request was refused, in the kernel's words where it has any."""
    number = -struct.unpack_from("=i", body)[0]
    said = attributes(body[20:]).get(1, b"").rstrip(b"\0").decode(errors="replace")
    return said or os.strerror(number or errno.EIO)


def _qdisc(handle: int, parent: int, known: dict[int, bytes]) -> Qdisc:
    statistics = attributes(known.get(7, b""))
    size, packets = struct.unpack_from("=QI", statistics.get(1, bytes(12)))
    if 8 in statistics:  # the count in 64 bits
        packets = struct.unpack("=Q", statistics[8])[0]
    drops = struct.unpack_from("=3I", statistics.get(3, bytes(12)))[2]
    kind = known[1].rstrip(b"\0").decode()
    return Qdisc(kind, handle, parent, known.get(2, b""), size, packets, drops)
