"""Which packets are sent over which link and when, to measure it: a pure function of the links."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from testbed.documents.resolved import LinkParameters
from testbed.network.links import Air
from testbed.network.shape import MTU, queue_bytes

LONE_SIZE = 40
"""IP bytes of the lone packets that measure delay, and of those that measure loss."""
_CPUS = min(4, os.cpu_count() or 1)
_LONE_RATE = 600.0 * _CPUS
_TRAIN_RATE = 4000.0 * _CPUS
_LOSS_RATE = 8000.0 * _CPUS
"""Packets a second, over all links at once: the machine must not become the bottleneck."""
_AIR_SHARE = 0.8  # of what an access point's links share, on average, so that they don't wait for each other
_LOSS_PACKETS = 65_000  # a loss of 0.1 % to 0.05 points, with the confidence of some twenty directions together
_LOSS_S = 75.0
_QUEUE_BURSTS = 5
_LARGEST_BURST = 4000
_GOLDEN = 0.6180339887  # spreads phases evenly: packets of trains that share an air must not meet in one pattern


class Direction(NamedTuple):
    """One direction of a link as it is measured: its parameters, what it shares with others, and the IP bytes of its
    largest packet."""

    link: LinkParameters
    air: Air | None = None
    mtu: int = MTU

    @property
    def bandwidth_bps(self) -> float:
        """What it can carry alone."""
        return min(self.link.bandwidth_bps, self.air.bandwidth_bps) if self.air else self.link.bandwidth_bps

    @property
    def share_bps(self) -> float:
        """What it can carry while all that share the air do the same."""
        own_bps = self.link.bandwidth_bps
        return min(own_bps, self.air.bandwidth_bps / (2 * self.air.links)) if self.air else own_bps

    def serial_s(self, size: int) -> float:
        """How long a lone packet of so many IP bytes is served: by the link, then by the air."""
        return size * 8 * (1 / self.link.bandwidth_bps + (1 / self.air.bandwidth_bps if self.air else 0.0))


class Stream(msgspec.Struct, frozen=True):
    """Packets numbered from `first`, of one size in IP bytes: so many at one instant, the others at one mean distance,
    some at a time."""

    first: int
    count: int
    size: int
    start_s: float
    gap_s: float
    at_once: int = 1
    together: int = 1

    @property
    def leeway_s(self) -> float:
        """How late a packet may be sent: what was sent at once keeps the link busy for twice as long, and the queue has
        room for as much."""
        return max(0.5 * self.at_once * self.gap_s, 1e-4)


class Probing(msgspec.Struct, frozen=True):
    """The packets of one direction, in the order in which they are sent: lone ones; trains that saturate it without
    overfilling its queue; where it is measured thoroughly, many small ones for the loss, and bursts that do overfill
    the queue."""

    lone: Stream
    trains: tuple[Stream, ...]
    settled: int  # packets of a train after which jitter has come to its steady state
    loss: Stream | None = None
    bursts: tuple[Stream, ...] = ()

    @property
    def streams(self) -> tuple[Stream, ...]:
        """All of them."""
        return (self.lone, *self.trains, *([self.loss] if self.loss else []), *self.bursts)

    @property
    def packets(self) -> int:
        """How many packets there are in all."""
        return sum(stream.count for stream in self.streams)

    @property
    def within_queue(self) -> int:
        """How many of them, the first, no queue can drop."""
        return self.packets - sum(burst.count for burst in self.bursts)


def plan(
    directions: Sequence[Direction], effort: float = 1.0, *, thorough: bool = False
) -> tuple[list[Probing], float]:
    """The packets for each direction, and how long to listen, in seconds.

    Lone packets cross all directions at the same time, spread out; the trains follow in waves, then the small packets,
    then the bursts.

    Args:
        directions: what to measure.
        effort: how many times the usual number of packets.
        thorough: whether to measure loss closely, and the queue.
    """
    lone = [_lone(each, number, len(directions), effort, thorough) for number, each in enumerate(directions)]
    at_s = max(stream.start_s + stream.count * stream.gap_s for stream in lone) + _longest_wait(directions)
    trains, settled, at_s = _all_trains(directions, [stream.count for stream in lone], at_s, effort)
    found = [Probing(*each) for each in zip(lone, trains, settled, strict=True)]
    if thorough:
        loss, at_s = _all_loss(directions, [each.packets for each in found], at_s, effort)
        found = [msgspec.structs.replace(each, loss=stream) for each, stream in zip(found, loss, strict=True)]
        bursts, at_s = _all_bursts(directions, [each.packets for each in found], at_s)
        found = [msgspec.structs.replace(each, bursts=streams) for each, streams in zip(found, bursts, strict=True)]
    return found, at_s


def _longest_wait(directions: Sequence[Direction]) -> float:
    """How long after the last packet another may still come, seconds."""
    return 0.1 + max(
        each.link.delay_s + each.link.jitter_s + queue_bytes(each.link) * 0.1 * 8 / each.bandwidth_bps
        for each in directions
    )


def _lone(each: Direction, number: int, of: int, effort: float, thorough: bool) -> Stream:
    gap_s = max(0.010, 2.5 * each.link.jitter_s, 4 * LONE_SIZE * 8 / each.share_bps, of / _LONE_RATE)
    for_s, most = (30.0, 2000) if thorough else (1.5, 150)
    return Stream(0, round(effort * max(30, min(most, for_s / gap_s))), LONE_SIZE, gap_s * number / of, gap_s)


class _Train(NamedTuple):
    """A train's packets: their size, their number, how many are sent at once; how many are left out of account until
    jitter is steady; and how long after the train's start the next may follow, in seconds."""

    size: int
    packets: int
    at_once: int
    settled: int
    every_s: float


def _train(each: Direction) -> _Train:
    """The packets sent at once fill half the queue, the others follow at the link's rate: the link stays saturated and
    the queue does not overflow, unless the link is a tenth off. Packets are the smaller the slower the link."""
    rate_bps, jitter_s = each.bandwidth_bps, each.link.jitter_s
    room = 0.9 * queue_bytes(each.link)
    size = round(max(200.0, min(float(each.mtu), rate_bps * 0.150 / 8 / 40, room / 8)))
    serial_s = size * 8 / rate_bps
    at_once = int(min(0.5 * room / size, 100.0, 0.15 / serial_s)) or 1
    unsettled_s = 2 * jitter_s + 20 * min(jitter_s, math.sqrt(jitter_s * serial_s))  # the edges blur by so much
    wanted = max(min(0.060 / serial_s, 400.0), min(40.0, 0.1 / serial_s), 8.0, unsettled_s / serial_s)
    count = int(min(wanted, 5.0 * room / size))
    at_once = min(at_once, count)
    count = count if count >= 5 and room >= 2 * size else 0
    settled = min(count // 2, math.ceil(2 * jitter_s / serial_s))
    return _Train(size, count, at_once, settled, 1.15 * count * serial_s + 2 * jitter_s + 0.030)


def _all_trains(
    directions: Sequence[Direction], firsts: Sequence[int], at_s: float, effort: float
) -> tuple[list[tuple[Stream, ...]], list[int], float]:
    """The trains of each direction, how many packets of each settle it, and when all are through."""
    shapes = [_train(each) for each in directions]
    found: dict[int, tuple[Stream, ...]] = {}
    for wave in _waves(directions, [(one.packets / one.every_s, one.size) for one in shapes]):
        longest_s = 0.0
        for place, number in enumerate(wave):
            size, count, at_once, _, every_s = shapes[number]
            serial_s = size * 8 / directions[number].bandwidth_bps
            usual = 40 if count * serial_s < 0.010 else 16 if directions[number].link.jitter_s else 12
            trains = round(effort * usual) if count else 0
            start_s = at_s + every_s * place / len(wave)
            together = max(1, min(int(0.002 / serial_s), at_once // 2))  # a sender cannot sleep for microseconds
            found[number] = tuple(
                Stream(
                    first=firsts[number] + k * count,
                    count=count,
                    size=size,
                    start_s=start_s + k * every_s + serial_s * ((k + 1) * (place + 1) * _GOLDEN % 1),
                    gap_s=serial_s,
                    at_once=at_once,
                    together=together,
                )
                for k in range(trains)
            )
            longest_s = max(longest_s, (trains + 1) * every_s)
        at_s += longest_s + _longest_wait([directions[number] for number in wave])
    return [found[number] for number in range(len(directions))], [one.settled for one in shapes], at_s


def _all_loss(
    directions: Sequence[Direction], firsts: Sequence[int], at_s: float, effort: float
) -> tuple[list[Stream], float]:
    """The small packets of each direction, over at most half of what it can carry, and when all are through."""
    able = [0.5 * each.share_bps / (LONE_SIZE * 8) for each in directions]
    for_s = min(_LOSS_S, max(_LOSS_PACKETS / min(able), _LOSS_PACKETS * len(directions) / _LOSS_RATE))
    rates = [min(_LOSS_PACKETS / for_s, rate) for rate in able]
    scale = min(1.0, _LOSS_RATE / sum(rates))
    found = []
    for number, (each, first, rate) in enumerate(zip(directions, firsts, rates, strict=True)):
        gap_s = 1 / (scale * rate)
        together = max(1, min(8, queue_bytes(each.link) // (2 * LONE_SIZE)))
        start_s = at_s + together * gap_s * number / len(directions)
        count = max(1, round(effort * for_s / gap_s))
        found.append(Stream(first, count, LONE_SIZE, start_s, gap_s, together, together))
    return found, max(one.start_s + one.count * one.gap_s for one in found) + _longest_wait(directions)


def _all_bursts(
    directions: Sequence[Direction], firsts: Sequence[int], at_s: float
) -> tuple[list[tuple[Stream, ...]], float]:
    """Half as much again as each direction's queue holds, several times, each when the last is through; none where the
    queue cannot be filled so, or it is not the one that fills."""
    shapes = []
    for each in directions:
        room = queue_bytes(each.link)
        size = max(LONE_SIZE, min(each.mtu, room // 20))
        count = math.ceil(1.5 * room / size) + 10
        fills = count <= _LARGEST_BURST and each.bandwidth_bps == each.link.bandwidth_bps and room >= size
        every_s = 1.6 * room * 8 / each.bandwidth_bps + 2 * each.link.jitter_s + 0.050
        shapes.append((size, count if fills else 0, every_s))
    found: dict[int, tuple[Stream, ...]] = {}
    for wave in _waves(directions, [(count / every_s, size) for size, count, every_s in shapes]):
        longest_s = 0.0
        for place, number in enumerate(wave):
            size, count, every_s = shapes[number]
            start_s = at_s + every_s * place / len(wave)
            found[number] = tuple(
                Stream(firsts[number] + k * count, count, size, start_s + k * every_s, 0.0, count, count)
                for k in range(_QUEUE_BURSTS if count else 0)
            )
            longest_s = max(longest_s, (_QUEUE_BURSTS + 1) * every_s if count else 0.0)
        at_s += longest_s + max(directions[number].link.delay_s + 0.1 for number in wave)
    return [found[number] for number in range(len(directions))], at_s


class _Wave:
    """Directions that are saturated together, and what that asks of the machine and of each air."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._packets = 0.0
        self._airs: dict[str, float] = {}

    def takes(self, number: int, each: Direction, packets: float, size: int) -> bool:
        """Whether there is room for one more, which is then in it."""
        if self.numbers and self._packets + packets > _TRAIN_RATE:
            return False
        if each.air:
            air_bps = self._airs.get(each.air.access_point, 0.0) + packets * size * 8
            if each.air.access_point in self._airs and air_bps > _AIR_SHARE * each.air.bandwidth_bps:
                return False
            self._airs[each.air.access_point] = air_bps
        self._packets += packets
        self.numbers.append(number)
        return True


def _waves(directions: Sequence[Direction], loads: Sequence[tuple[float, int]]) -> list[list[int]]:
    """Directions that are saturated together, given the packets per second that each sends, and their size."""
    waves: list[_Wave] = []
    for number in sorted(range(len(directions)), key=lambda number: -directions[number].bandwidth_bps):
        each, (packets, size) = directions[number], loads[number]
        if not any(wave.takes(number, each, packets, size) for wave in waves):
            waves.append(_Wave())
            waves[-1].takes(number, each, packets, size)
    return [wave.numbers for wave in waves]
