"""The board: the links' values as set and the edges' backlogs, in a file that all processes of a machine map.

Policies read it for nothing, where asking an actor would take a millisecond a decision. Each number is one aligned
64-bit word with one writer: the network actor for links, each edge for its own backlog.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from pathlib import Path

from testbed.documents.resolved import LinkParameters, ResolvedLink, ResolvedTopology
from testbed.runtime.paths import Hop

_WORD = struct.Struct("=d")
_LINK_WORDS = 4  # bandwidth, delay, jitter, loss


class Board:
    """The numbers of one testbed on one machine; see the module."""

    def __init__(self, path: Path, topology: ResolvedTopology) -> None:
        self._edges = {name: index for index, name in enumerate(sorted(topology.edges))}
        self._links = 2 * len(topology.links)
        self._index = {(link.a, link.b): index for index, link in enumerate(topology.links)}
        self._air_bps = [_air_bps(topology, link) for link in topology.links]
        words = self._links * _LINK_WORDS + len(self._edges)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, words * _WORD.size)
            self._map = mmap.mmap(fd, words * _WORD.size)
        finally:
            os.close(fd)

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
        first = (2 * hop.link + (hop.direction == "down")) * _LINK_WORDS
        bandwidth_bps, delay_s, jitter_s, loss = (self._get(first + offset) for offset in range(_LINK_WORDS))
        return LinkParameters(min(bandwidth_bps, self._air_bps[hop.link]), delay_s, jitter_s, loss)

    def set_busy_until(self, edge: str, instant_s: float) -> None:
        """Publish when an edge will have finished all the work it holds now (monotonic clock)."""
        self._put(self._links * _LINK_WORDS + self._edges[edge], instant_s)

    def busy_until(self, edge: str) -> float:
        """When an edge will have finished all the work it holds now (monotonic clock); past: idle."""
        return self._get(self._links * _LINK_WORDS + self._edges[edge])

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
