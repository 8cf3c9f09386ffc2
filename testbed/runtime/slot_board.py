"""The slots' part of the board: what was decided for every device, in shared memory, for the slot that is and the next.

One process writes, any number read, and nobody waits: of two buffers the older is overwritten, each under a sequence
number that is odd meanwhile. A writer that is killed leaves at the worst a buffer that is never read again.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from testbed.runtime.paths import Hop

_WORD = struct.Struct("=q")
_HEAD = struct.Struct("=qq")  # sequence number; the slot's number plus one, 0 for none
_POSTING = struct.Struct("=qqqdd")
_NONE = -1


class Posting(NamedTuple):
    """What one device is to do with the jobs that arrive in a slot, and what its link is given of its rate."""

    option: int  # its place in the profile
    edge: str | None
    given: Hop | None = None  # the direction of the link that is given a share; None: all links have all of their rates
    share: float = 1.0
    limit_bps: float = math.inf  # what the rest of the way passes: the share is of no more than that


class SlotBoard:
    """The postings of the last two slots that were decided."""

    def __init__(self, memory: mmap.mmap, offset: int, devices: Sequence[str], edges: Sequence[str]) -> None:
        self._memory = memory
        self._edges = tuple(edges)
        self._at = {device: _HEAD.size + index * _POSTING.size for index, device in enumerate(devices)}
        self._buffers = (offset, offset + self._buffer_size(len(devices)))

    @staticmethod
    def size(devices: int) -> int:
        """The bytes that it takes of the memory."""
        return 2 * SlotBoard._buffer_size(devices)

    @staticmethod
    def _buffer_size(devices: int) -> int:
        return _HEAD.size + devices * _POSTING.size

    def clear(self) -> None:
        """Forget all slots: before a run."""
        for buffer in self._buffers:
            self._write(buffer, 0, {})

    def post(self, slot: int, postings: Mapping[str, Posting]) -> None:
        """Publish a slot's decision, for all devices, in place of the older of the two."""
        self._write(min(self._buffers, key=self._number), slot + 1, postings)

    def posted(self, device: str, slot: int) -> tuple[int, Posting] | None:
        """What a device is to do in a slot: the newest decision for it or for a slot before, and that slot."""
        found = None
        for buffer in self._buffers:
            one = self._read(buffer, [device])
            if one and one[0] <= slot and (found is None or one[0] > found[0]):
                found = one[0], one[1][device]
        return found

    def newest(self) -> tuple[int, dict[str, Posting]] | None:
        """The last slot that was decided, and its postings."""
        found = filter(None, (self._read(buffer, self._at) for buffer in self._buffers))
        return max(found, key=lambda one: one[0], default=None)

    def newest_slot(self) -> int | None:
        """The last slot that was decided."""
        number = max(map(self._number, self._buffers))
        return number - 1 if number else None

    def _number(self, buffer: int) -> int:
        sequence, number = _HEAD.unpack_from(self._memory, buffer)
        return 0 if sequence % 2 else int(number)

    def _write(self, buffer: int, number: int, postings: Mapping[str, Posting]) -> None:
        (sequence,) = _WORD.unpack_from(self._memory, buffer)
        odd = sequence | 1
        _HEAD.pack_into(self._memory, buffer, odd, number)
        for device, one in postings.items():
            edge = _NONE if one.edge is None else self._edges.index(one.edge)
            given = _NONE if one.given is None else 2 * one.given.link + (one.given.direction == "down")
            at = buffer + self._at[device]
            _POSTING.pack_into(self._memory, at, one.option, edge, given, one.share, one.limit_bps)
        _WORD.pack_into(self._memory, buffer, odd + 1)

    def _read(self, buffer: int, devices: Sequence[str] | Mapping[str, int]) -> tuple[int, dict[str, Posting]] | None:
        """The buffer's slot and postings; None where it holds none, or is being written."""
        sequence, number = _HEAD.unpack_from(self._memory, buffer)
        found = {}
        for device in devices:
            option, edge, given, share, limit_bps = _POSTING.unpack_from(self._memory, buffer + self._at[device])
            hop = None if given == _NONE else Hop(given // 2, "down" if given % 2 else "up")
            found[device] = Posting(option, None if edge == _NONE else self._edges[edge], hop, share, limit_bps)
        (after,) = _WORD.unpack_from(self._memory, buffer)
        return (number - 1, found) if number and sequence == after and sequence % 2 == 0 else None
