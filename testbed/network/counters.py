"""What has passed each direction of each link, by the counters of the kernel and of what shapes the links."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from testbed.network.build import DIRECTIONS, EmulatedNetwork

_ETHERNET_BYTES = 14
_REST_S = 0.1
_WAIT_AT_MOST_S = 10.0

Direction = tuple[str, str, str]
"""A link's nodes in its own order, and `up` or `down`."""


class Carried(msgspec.Struct, frozen=True):
    """What one direction of a link has carried: as it was sent into it, by the sending interface's own counters, and as
    it came out. Bytes are the IP layer's."""

    entered_bytes: int
    entered_packets: int
    delivered_bytes: int
    delivered_packets: int
    dropped_packets: int  # before it entered, for want of queue, or after

    def since(self, earlier: Carried) -> Carried:
        """What was carried from the earlier count to this one."""
        return Carried(*(getattr(self, name) - getattr(earlier, name) for name in self.__struct_fields__))


def carried(network: EmulatedNetwork) -> dict[Direction, Carried]:
    """What each direction has carried since it was built."""
    delivered = network.counters()
    interfaces: dict[int, dict[str, tuple[int, int]]] = {}
    found = {}
    for link in network.links():
        wire = network.wire(*link)
        for side, direction in enumerate(DIRECTIONS):
            pid = wire.pids[side]
            if pid not in interfaces:
                interfaces[pid] = sent(Path(f"/proc/{pid}/net/dev").read_text())
            sent_bytes, packets = interfaces[pid][wire.ends[side].name]
            out = delivered[*link, direction]
            found[*link, direction] = Carried(
                sent_bytes - _ETHERNET_BYTES * packets, packets, out.bytes, out.packets, out.dropped
            )
    return found


def carried_at_rest(network: EmulatedNetwork) -> dict[Direction, Carried]:
    """The same, once nothing is on its way any more: after ten seconds at the latest."""
    rest_s = _REST_S + max(
        (side.delay_s + side.jitter_s for both in network.links().values() for side in both), default=0
    )
    until_s = time.monotonic() + _WAIT_AT_MOST_S
    last = carried(network)
    while time.monotonic() < until_s:
        time.sleep(rest_s)
        before, last = last, carried(network)
        if before == last:
            break
    return last


def sent(table: str) -> dict[str, tuple[int, int]]:
    """Bytes and packets that each interface has sent, Ethernet's header counted, from the text of `/proc/net/dev`."""
    rows = (line.split(":") for line in table.splitlines() if ":" in line)
    return {name.strip(): (int(values.split()[8]), int(values.split()[9])) for name, values in rows}
