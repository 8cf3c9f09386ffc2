"""The certificate of a testbed on several machines: planned and judged in one place, each end of a link probed on its
own.

A round is what all machines do together from one instant on: each sends what is sent there and notes what arrives
there, on its own clock. What they noted is joined by how far their clocks are apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from testbed.documents.resolved import LinkParameters, ResolvedTopology
from testbed.network.addressing import addressing
from testbed.network.build import EmulatedNetwork
from testbed.network.certify import CertificateEntry, Noted, Place, certified, directions
from testbed.network.errors import NetworkError
from testbed.network.measures import Times
from testbed.network.part import Part, group_of
from testbed.network.prober import LateError, probed
from testbed.network.probing import Probing


class Round(msgspec.Struct, frozen=True):
    """Directions, each by its link and 0 for up or 1 for down, the packets of each, how long to listen, and how long
    before its beginning the machines are to be told of it."""

    ways: tuple[tuple[tuple[str, str], int], ...]
    probings: tuple[Probing, ...]
    listen_s: float
    lead_s: float


class Clock(Protocol):
    """How far a machine's monotonic clock is ahead of the one that all are held against, and by how much that may be
    wrong, in seconds."""

    @property
    def offset_s(self) -> float:
        """How far."""

    @property
    def error_s(self) -> float:
        """By how much that may be wrong."""


Ask = Callable[[Round], Mapping[str, bytes]]
"""Has every machine do a round by `probe_part`, all beginning at one instant, each told it on its own clock; what they
said, by machine."""

Compare = Callable[[], Mapping[str, Clock]]
"""Measures how far each machine's clock is ahead of the caller's."""


class Compared(NamedTuple):
    """How far clocks are ahead at an instant of the caller's, in nanoseconds."""

    at_ns: int
    clocks: Mapping[str, Clock]


_LEADS_S = (0.5, 1.5, 4.0, 10.0)  # longer where a machine was not ready in time


def certify_parts(
    topology: ResolvedTopology,
    links: Mapping[tuple[str, str], tuple[LinkParameters, LinkParameters]],
    part: Part,
    compare: Compare,
    ask: Ask,
    *,
    only: Sequence[int] | None = None,
    effort: float = 1.0,
    thorough: bool = False,
) -> list[CertificateEntry]:
    """Measures directions of links wherever they lie; as `certify` does on one machine.

    Args:
        topology: the testbed's.
        links: how they are set now, in the topology's order.
        part: any machine's.
        compare: measures the machines' clocks, before and after each round: they may go unlike.
        ask: has the machines do a round.
        only: which links, by their places in the topology; None: all at once.
        effort: how many times the usual number of packets.
        thorough: whether to take minutes instead of seconds.

    Raises:
        NetworkError: a machine did not become ready in time, again and again.
    """
    plan = addressing(topology)
    mtus = part.mtus(topology, plan)
    by_pair = {(link.a, link.b): mtus[group_of(link, plan)] for link in topology.links}
    every = directions(topology, links, lambda a, b: by_pair[a, b])
    pairs = [*links]
    places = [
        Place(pairs[number], which, every[2 * number + which])
        for number in (range(len(pairs)) if only is None else only)
        for which in (0, 1)
    ]

    def probe(some: Sequence[Place], probings: Sequence[Probing], listen_s: float) -> Sequence[Noted]:
        for lead_s in _LEADS_S:
            asked = Round(tuple((one.link, one.which) for one in some), tuple(probings), listen_s, lead_s)
            before = Compared(time.monotonic_ns(), compare())
            said = ask(asked)
            concerned = {part.placement[node] for one in some for node in one.link}
            late = sorted(machine for machine, records in said.items() if machine in concerned and not records)
            if not late:
                return joined(asked, part.placement, before, Compared(time.monotonic_ns(), compare()), said)
        raise NetworkError(f"the links could not be probed: {', '.join(late)} did not become ready in time")

    return certified(places, len(every), topology.tolerance, probe, effort=effort, thorough=thorough)


def probe_part(network: EmulatedNetwork, asked: Round, begin_ns: int) -> bytes:
    """Does this machine's part of a round.

    Args:
        network: this machine's part.
        asked: the round.
        begin_ns: when it begins, on this machine's monotonic clock.

    Returns:
        For each direction that has an end here in turn, and each of its packets, two 64-bit integers: when it was sent
        and when it was received, in nanoseconds on this machine's monotonic clock; 0 for not, or not here. Nothing
        where this machine was not ready in time.

    Raises:
        NetworkError: the links could not be probed.
    """
    ends = [(network.probe_end(*link, which), network.probe_end(*link, 1 - which)) for link, which in asked.ways]
    try:
        times = probed(network.ownership.popen, ends, asked.probings, asked.listen_s, begin_ns)
    except LateError:
        return b""
    here = [
        one for (link, _), one in zip(asked.ways, times, strict=True) if any(network.part.here(node) for node in link)
    ]
    return b"".join(one.tobytes() for one in here)


def joined(
    asked: Round, placement: Mapping[str, str], before: Compared, after: Compared, said: Mapping[str, bytes]
) -> list[Noted]:
    """When each direction's packets were sent and received, on one clock, from what the machines noted on theirs; of a
    machine that said nothing, 0. Between two comparisons clocks are taken to go evenly."""
    found = [np.zeros((probing.packets, 2), dtype=np.int64) for probing in asked.probings]
    for machine, records in said.items():
        own, at = np.frombuffer(records, dtype=np.int64).reshape(-1, 2), 0
        noted = np.where(own > 0, own - _ahead_ns(own, machine, before, after), 0)
        for (link, which), times in zip(asked.ways, found, strict=True):
            ends = (placement[link[which]], placement[link[1 - which]])
            if machine in ends:
                here = [column for column in (0, 1) if ends[column] == machine]
                times[:, here] = noted[at : at + len(times), here]
                at += len(times)
    return [
        Noted(times, _error_ms({placement[node] for node in link}, before, after))
        for (link, _), times in zip(asked.ways, found, strict=True)
    ]


def _ahead_ns(own: Times, machine: str, before: Compared, after: Compared) -> Times:
    """How far a machine's clock was ahead whenever it showed some instants, nanoseconds."""
    offsets_ns = [one.clocks[machine].offset_s * 1e9 for one in (before, after)]
    shown_ns = [one.at_ns + offset_ns for one, offset_ns in zip((before, after), offsets_ns, strict=True)]
    return np.rint(np.interp(own, shown_ns, offsets_ns)).astype(np.int64)


def _error_ms(machines: set[str], before: Compared, after: Compared) -> float:
    if len(machines) == 1:
        return 0.0
    return sum(max(one.clocks[machine].error_s for one in (before, after)) for machine in machines) * 1e3
