"""Which packets are sent over which link and when, to measure it: a pure function of the links."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import msgspec

from testbed.documents.resolved import LinkParameters
from testbed.network.shape import MTU, queue_bytes

LONE_SIZE = 40
"""IP bytes of the lone packets that measure delay."""
_CPUS = min(4, os.cpu_count() or 1)
_LONE_RATE = 400.0 * _CPUS
_TRAIN_RATE = 2000.0 * _CPUS
"""Packets a second, over all links at once: the machine must not become the bottleneck."""


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


class Probing(msgspec.Struct, frozen=True):
    """The packets of one direction: lone ones, then trains that saturate it without overfilling its queue."""

    lone: Stream
    trains: tuple[Stream, ...]
    settled: int  # packets of a train after which jitter has come to its steady state

    @property
    def packets(self) -> int:
        """How many packets there are in all."""
        return self.lone.count + sum(train.count for train in self.trains)


def plan(links: Sequence[LinkParameters], effort: float = 1.0) -> tuple[list[Probing], float]:
    """The packets for each direction, and how long to listen, in seconds.

    Lone packets cross all directions at the same time, spread out; the trains follow in waves.

    Args:
        links: the directions to measure.
        effort: how many times the usual number of packets.
    """
    lone: list[Stream] = []
    for number, link in enumerate(links):
        gap_s = max(0.010, 2.5 * link.jitter_s, 4 * LONE_SIZE * 8 / link.bandwidth_bps, len(links) / _LONE_RATE)
        count = round(effort * max(30, min(200, 2.5 / gap_s)))
        lone.append(Stream(0, count, LONE_SIZE, gap_s * number / len(links), gap_s))
    at_s = max(stream.start_s + stream.count * stream.gap_s for stream in lone) + _longest_wait(links)
    found: dict[int, Probing] = {}
    for wave in _waves(links):
        longest_s = 0.0
        for place, number in enumerate(wave):
            link = links[number]
            size, count, at_once, settled, every_s = _train(link)
            serial_s = size * 8 / link.bandwidth_bps
            trains = round(effort * (12 if count * serial_s > 0.010 else 40)) if count else 0
            start_s = at_s + every_s * place / len(wave)
            first = lone[number].count
            together = max(1, min(int(0.002 / serial_s), at_once // 2))  # a sender cannot sleep for microseconds
            streams = [
                Stream(first + k * count, count, size, start_s + k * every_s, serial_s, at_once, together)
                for k in range(trains)
            ]
            found[number] = Probing(lone[number], tuple(streams), settled)
            longest_s = max(longest_s, (trains + 1) * every_s)
        at_s += longest_s + _longest_wait([links[number] for number in wave])
    return [found[number] for number in range(len(links))], at_s


def _longest_wait(links: Sequence[LinkParameters]) -> float:
    """How long after the last packet another may still come, seconds."""
    return 0.1 + max(link.delay_s + link.jitter_s + queue_bytes(link) * 0.1 * 8 / link.bandwidth_bps for link in links)


def _train(link: LinkParameters) -> tuple[int, int, int, int, float]:
    """A train's packets: their size, their number, how many are sent at once; how many are left out of account until
    jitter is steady; and how long after the train's start the next may follow, in seconds.

    The packets sent at once fill half the queue, the others follow at the link's rate: the link stays saturated and the
    queue does not overflow, unless the link is a tenth off. Packets are the smaller the slower the link.
    """
    room = 0.9 * queue_bytes(link)
    size = round(max(200.0, min(float(MTU), link.bandwidth_bps * 0.150 / 8 / 40, room / 8)))
    serial_s = size * 8 / link.bandwidth_bps
    at_once = int(min(0.5 * room / size, 100.0, 0.15 / serial_s)) or 1
    wanted = max(min(0.060 / serial_s, 400.0), min(40.0, 0.3 / serial_s), 8.0, 6 * link.jitter_s / serial_s)
    count = int(min(wanted, 5.0 * room / size))
    at_once = min(at_once, count)
    count = count if count >= 5 and room >= 2 * size else 0
    settled = min(count // 2, math.ceil(2 * link.jitter_s / serial_s))
    return size, count, at_once, settled, 1.15 * (count + at_once) * serial_s + 2 * link.jitter_s + 0.030


def _waves(links: Sequence[LinkParameters]) -> list[list[int]]:
    """Directions that are saturated together."""
    waves: list[list[int]] = []
    rate = math.inf
    for number in sorted(range(len(links)), key=lambda number: -links[number].bandwidth_bps):
        _, count, _, _, every_s = _train(links[number])
        if rate + count / every_s > _TRAIN_RATE:
            waves.append([])
            rate = 0.0
        waves[-1].append(number)
        rate += count / every_s
    return waves
