"""The board: the links' values as set and the edges' backlogs, in a file that all processes of a machine map.

Policies read it for nothing, where asking an actor would take a millisecond a decision. Each number is one aligned
64-bit word with one writer: the network actor for links, each edge for its own backlog.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

from testbed.documents.resolved import LinkParameters, ResolvedTopology
from testbed.runtime.paths import Direction, Hop

_WORD = struct.Struct("=d")
_LINK_WORDS = 4  # bandwidth, delay, jitter, loss
_DIRECTIONS: tuple[Direction, Direction] = ("up", "down")


class Board:
    """The numbers of one testbed on one machine; see the module."""

    def __init__(self, path: Path, topology: ResolvedTopology) -> None:
        self._edges = {name: index for index, name in enumerate(sorted(topology.edges))}
        self._links = 2 * len(topology.links)
        words = self._links * _LINK_WORDS + len(self._edges)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, words * _WORD.size)
            self._map = mmap.mmap(fd, words * _WORD.size)
        finally:
            os.close(fd)

    def set_link(self, link: int, direction: Direction, parameters: LinkParameters) -> None:
        """Publish one direction's values."""
        values = (parameters.bandwidth_bps, parameters.delay_s, parameters.jitter_s, parameters.loss)
        for offset, value in enumerate(values):
            self._put(self._link_word(link, direction) + offset, value)

    def link(self, hop: Hop) -> LinkParameters:
        """One direction's values as set now."""
        first = self._link_word(hop.link, hop.direction)
        bandwidth_bps, delay_s, jitter_s, loss = (self._get(first + offset) for offset in range(_LINK_WORDS))
        return LinkParameters(bandwidth_bps, delay_s, jitter_s, loss)

    def set_busy_until(self, edge: str, instant_s: float) -> None:
        """Publish when an edge will have finished all the work it holds now (monotonic clock)."""
        self._put(self._links * _LINK_WORDS + self._edges[edge], instant_s)

    def busy_until(self, edge: str) -> float:
        """When an edge will have finished all the work it holds now (monotonic clock); past: idle."""
        return self._get(self._links * _LINK_WORDS + self._edges[edge])

    def _link_word(self, link: int, direction: Direction) -> int:
        return (2 * link + _DIRECTIONS.index(direction)) * _LINK_WORDS

    def _put(self, word: int, value: float) -> None:
        _WORD.pack_into(self._map, word * _WORD.size, value)

    def _get(self, word: int) -> float:
        value: float = _WORD.unpack_from(self._map, word * _WORD.size)[0]
        return value
