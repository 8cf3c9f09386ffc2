"""What has passed each direction of each link, by the counters of the kernel and of what shapes the links."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from testbed.network.build import DIRECTIONS, EmulatedNetwork
from testbed.network.shape import incoming

_ETHERNET_BYTES = 14
_REST_S = 0.1
_WAIT_AT_MOST_S = 10.0

Direction = tuple[str, str, str]
"""A link's nodes in its own order, and `up` or `down`."""


class Arrived(msgspec.Struct, frozen=True):
    """What has come here by a tunnel, in bytes of the IP layer."""

    bytes: int
    packets: int


class Carried(msgspec.Struct, frozen=True):
    """What one direction of a link has carried: as it was sent into it, by the sending interface's own counters, and as
    it came out; of one that crosses to another machine, out of its shaping there. Bytes are the IP layer's."""

    entered_bytes: int
    entered_packets: int
    delivered_bytes: int
    delivered_packets: int
    dropped_packets: int  # before it entered, for want of queue, or after

    def since(self, earlier: Carried) -> Carried:
        """What was carried from the earlier count to this one."""
        return Carried(*(getattr(self, name) - getattr(earlier, name) for name in self.__struct_fields__))


class Counted(msgspec.Struct, frozen=True):
    """What one machine has counted: the directions that are sent there, and what came there by tunnels."""

    carried: dict[Direction, Carried] = {}
    arrived: dict[Direction, Arrived] = {}


def counted(network: EmulatedNetwork) -> Counted:
    """What was carried and arrived since it was built."""
    delivered = network.counters()
    tables: dict[int, tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]] = {}
    found = Counted({}, {})
    for link in network.links():
        if not any(network.part.here(node) for node in link):
            continue
        wire = network.wire(*link)
        for side, direction in enumerate(DIRECTIONS):
            pid, name = wire.pids[side], wire.ends[side].name
            if pid not in tables:
                table = Path(f"/proc/{pid}/net/dev").read_text()
                tables[pid] = sent(table), received(table)
            if side == wire.tunnel:
                found.arrived[*link, direction] = Arrived(*tables[pid][1][incoming(name)])
                continue
            sent_bytes, packets = tables[pid][0][name]
            out = delivered[*link, direction]
            found.carried[*link, direction] = Carried(
                sent_bytes - _ETHERNET_BYTES * packets, packets, out.bytes, out.packets, out.dropped
            )
    return found


def joined(parts: Iterable[Counted]) -> dict[Direction, Carried]:
    """What each direction has carried, whatever it crosses: what it delivered is what arrived, and what did not was
    dropped."""
    every = [*parts]
    arrived = {direction: one for part in every for direction, one in part.arrived.items()}
    found = {}
    for part in every:
        for direction, one in part.carried.items():
            if came := arrived.get(direction):
                dropped = one.dropped_packets + one.delivered_packets - came.packets
                one = msgspec.structs.replace(
                    one, delivered_bytes=came.bytes, delivered_packets=came.packets, dropped_packets=dropped
                )
            found[direction] = one
    return found


def counted_at_rest(network: EmulatedNetwork) -> Counted:
    """What was counted, once nothing is on its way any more: after ten seconds at the latest."""
    rest_s = _REST_S + max(
        (side.delay_s + side.jitter_s for both in network.links().values() for side in both), default=0
    )
    until_s = time.monotonic() + _WAIT_AT_MOST_S
    last = counted(network)
    while time.monotonic() < until_s:
        time.sleep(rest_s)
        before, last = last, counted(network)
        if before == last:
            break
    return last


def carried_at_rest(network: EmulatedNetwork) -> dict[Direction, Carried]:
    """What each direction of a network that lies on one machine has carried, once nothing is on its way any more."""
    return joined([counted_at_rest(network)])


def sent(table: str) -> dict[str, tuple[int, int]]:
    """Bytes and packets that each interface has sent, Ethernet's header counted, from the text of `/proc/net/dev`."""
    return _columns(table, 8)


def received(table: str) -> dict[str, tuple[int, int]]:
    """Bytes and packets that each interface has received; a tunnel's are without Ethernet's header."""
    return _columns(table, 0)


def _columns(table: str, first: int) -> dict[str, tuple[int, int]]:
    rows = (line.split(":") for line in table.splitlines() if ":" in line)
    return {name.strip(): (int(values.split()[first]), int(values.split()[first + 1])) for name, values in rows}
