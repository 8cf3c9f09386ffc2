"""The board: links as set, backlogs, and what was decided by slots, in a file that all processes of a machine map.

Policies read it for nothing, where asking an actor would take a millisecond a decision. Each number is one aligned
64-bit word with one writer: the network actor for links, each edge and device for its own backlog, each device for what
it has not got rid of. Among several machines each has a board of its own, whose words of the others' writers the
network actor writes (`mirror`). What was decided has its own protocol (`slot_board`).
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Collection, Sequence
from pathlib import Path

from testbed.documents.resolved import LinkParameters, ResolvedLink, ResolvedTopology
from testbed.runtime.paths import Hop
from testbed.runtime.slot_board import SlotBoard

_WORD = struct.Struct("=d")
_LINK_WORDS = 4  # bandwidth, delay, jitter, loss
_LINK = struct.Struct(f"={_LINK_WORDS}d")


class Board:
    """The numbers of one testbed on one machine; see the module."""

    def __init__(self, path: Path, topology: ResolvedTopology) -> None:
        devices, edges = sorted(topology.devices), sorted(topology.edges)
        links = 2 * len(topology.links) * _LINK_WORDS
        self._busy = {name: links + index for index, name in enumerate((*edges, *devices))}
        unsent = ((device, edge) for device in devices for edge in edges)
        self._unsent = {pair: links + len(self._busy) + index for index, pair in enumerate(unsent)}
        self.instants = range(links, links + len(self._busy))
        """The words that are instants of this machine's monotonic clock."""
        self._senders = [node for link in topology.links for node in (link.a, link.b)]
        self._index = {(link.a, link.b): index for index, link in enumerate(topology.links)}
        self._air_bps = [_air_bps(topology, link) for link in topology.links]
        words = (links + len(self._busy) + len(self._unsent)) * _WORD.size
        size = words + SlotBoard.size(len(devices))
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, size)
            self._map = mmap.mmap(fd, size)
        finally:
            os.close(fd)
        self.slots = SlotBoard(self._map, words, devices, edges)

    def set_link(self, link: tuple[str, str], direction: int, parameters: LinkParameters) -> None:
        """Publish one direction's values; 0 is up."""
        first = (2 * self._index[link] + direction) * _LINK_WORDS
        values = (parameters.bandwidth_bps, parameters.delay_s, parameters.jitter_s, parameters.loss)
        for offset, value in enumerate(values):
            self._put(first + offset, value)

    def link(self, hop: Hop) -> LinkParameters:
        """One direction's values as set now, cuts (a loss of 1) included; a change is published within some 20 ms.

        The bandwidth is no more than the total that the link's access point shares out.
        """
        direction = 2 * hop.link + (hop.direction == "down")
        bandwidth_bps, delay_s, jitter_s, loss = _LINK.unpack_from(self._map, direction * _LINK.size)
        return LinkParameters(min(bandwidth_bps, self._air_bps[hop.link]), delay_s, jitter_s, loss)

    def air_bps(self, hop: Hop) -> float:
        """The total rate that a link shares with those of other devices at its access point; infinite: no limit."""
        return self._air_bps[hop.link]

    def set_busy_until(self, node: str, instant_s: float) -> None:
        """Publish when an edge or a device will have finished all the work it holds now (monotonic clock)."""
        self._put(self._busy[node], instant_s)

    def busy_until(self, node: str) -> float:
        """When an edge or a device will have finished all the work it holds now (monotonic clock); past: idle."""
        return self._get(self._busy[node])

    def set_unsent(self, device: str, edge: str, unsent_bytes: int | None) -> None:
        """Publish what a device has handed to its socket to an edge and is not acknowledged; None: not connected."""
        self._put(self._unsent[device, edge], -1.0 if unsent_bytes is None else unsent_bytes)

    def unsent(self, device: str, edge: str) -> int | None:
        """What a device last told of its connection to an edge: bytes not acknowledged; None: not connected."""
        unsent_bytes = self._get(self._unsent[device, edge])
        return None if unsent_bytes < 0 else int(unsent_bytes)

    def written_by(self, nodes: Collection[str]) -> list[int]:
        """The words that are written on the machine of these nodes: their backlogs, what they have not got rid of, and
        the directions of links that begin at them."""
        directions = [number for number, sender in enumerate(self._senders) if sender in nodes]
        links = [number * _LINK_WORDS + offset for number in directions for offset in range(_LINK_WORDS)]
        busy = [word for node, word in self._busy.items() if node in nodes]
        return [*links, *busy, *(word for (device, _), word in self._unsent.items() if device in nodes)]

    def read(self, words: Sequence[int]) -> list[float]:
        """Some words' values."""
        return [self._get(word) for word in words]

    def write(self, words: Sequence[int], values: Sequence[float]) -> None:
        """Put some words: those of another machine's writers."""
        for word, value in zip(words, values, strict=True):
            self._put(word, value)

    def _put(self, word: int, value: float) -> None:
        _WORD.pack_into(self._map, word * _WORD.size, value)

    def _get(self, word: int) -> float:
        value: float = _WORD.unpack_from(self._map, word * _WORD.size)[0]
        return value


def _air_bps(topology: ResolvedTopology, link: ResolvedLink) -> float:
    """The total rate that a device's link shares with those of other devices; infinite where there is no limit."""
    for node, other in ((link.a, link.b), (link.b, link.a)):
        if node in topology.devices:
            return topology.access_points[other].bandwidth_bps or math.inf
    return math.inf
