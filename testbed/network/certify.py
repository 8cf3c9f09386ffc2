"""The certificate: every direction of every link measured against what was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from testbed.documents.resolved import LinkParameters, ResolvedTopology, Tolerance
from testbed.network.build import DIRECTIONS, EmulatedNetwork
from testbed.network.intervals import Interval
from testbed.network.measures import Findings, Measured, Times, measure
from testbed.network.prober import probed
from testbed.network.probing import Direction, Probing, plan
from testbed.network.shape import MTU, htb_burst, queue_bytes
from testbed.network.wires import airs

CONFIDENCE = 0.99
"""That all intervals of a certificate hold together."""
_QUANTITIES = 7  # jitter counts twice: how much, and whether uniform
_BATCH, _THOROUGH_BATCH = 64, 16  # links: the sockets and packets of one prober
_ROUNDS, _THOROUGH_ROUNDS = (1.0, 4.0, 4.0), (1.0, 1.0)  # times the effort; the later ones for what missed
_STRAYS = 0.1  # of the packets, which a busy machine may delay by more than the tolerance


class Asked(msgspec.Struct, frozen=True):
    """What a direction should be: bandwidth is no more than what it shares; loss is a fraction; burst and queue are
    null where they were left to us."""

    bandwidth_bps: float
    delay_ms: float
    jitter_ms: float
    loss: float
    burst: float | None = None
    queue_bytes: int | None = None


class CertificateEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One direction of one link."""

    link: tuple[str, str]
    direction: str  # up: from the node named first
    asked: Asked
    measured: Measured
    tolerance: Tolerance
    ok: bool
    reason: str | None
    clock_error_ms: float = 0.0  # of a link between machines: how wrong the delay may be for that their clocks differ


class Batch(msgspec.Struct, frozen=True):
    """Links that are measured together, by their places in the topology, and about how long it takes."""

    links: tuple[int, ...]
    seconds: float


def misses(entries: Sequence[CertificateEntry]) -> list[str]:
    """What to tell of a certificate: a line for each direction that is not as it was asked."""
    return [f"{'-'.join(entry.link)} {entry.direction}: {entry.reason}" for entry in entries if not entry.ok]


class Place(NamedTuple):
    """Which direction of which link is measured."""

    link: tuple[str, str]
    which: int
    direction: Direction


class Noted(NamedTuple):
    """When each packet of a direction was sent and received, and by how many milliseconds the clocks of its ends may be
    apart."""

    times: Times
    clock_error_ms: float = 0.0


Probe = Callable[[Sequence[Place], Sequence[Probing], float], Sequence[Noted]]
"""Sends the packets of some directions and listens so many seconds."""


def batches(network: EmulatedNetwork, *, thorough: bool = False) -> list[Batch]:
    """The links of a network, on whichever machine, in groups that can be measured at once."""
    every = _places(network)
    size = _THOROUGH_BATCH if thorough else _BATCH
    groups = [range(first, min(first + size, len(every) // 2)) for first in range(0, len(every) // 2, size)]
    return [
        Batch(tuple(group), plan([one.direction for one in _of(every, group)], thorough=thorough)[1])
        for group in groups
    ]


def certify(
    network: EmulatedNetwork, *, effort: float = 1.0, thorough: bool = False, links: Sequence[int] | None = None
) -> list[CertificateEntry]:
    """Measures directions of links as they are set now (a channel's, outside of runs, as they are at rest), and leaves
    their queues empty. All of them lie on this machine.

    One-way delay and jitter come from lone packets, bandwidth from the dispersion of trains, loss and its bursts from
    both. Thoroughly, many more packets tell a loss of 0.1 % and how jitter is distributed, and bursts how much the
    queue holds. What misses is measured again with more packets.

    Args:
        network: nothing else should be sent over it meanwhile.
        effort: how many times the usual number of packets.
        thorough: whether to take minutes instead of seconds.
        links: which, by their places in the topology; None: all, batch by batch. The confidence is in any case that of
            all links together.

    Raises:
        NetworkError: the links could not be probed.
    """
    if links is None:
        groups = [batch.links for batch in batches(network, thorough=thorough)]
        return [entry for group in groups for entry in certify(network, effort=effort, thorough=thorough, links=group)]

    def probe(places: Sequence[Place], probings: Sequence[Probing], listen_s: float) -> Sequence[Noted]:
        ends = [
            (network.probe_end(*one.link, one.which), network.probe_end(*one.link, 1 - one.which)) for one in places
        ]
        return [Noted(times) for times in probed(network.ownership.popen, ends, probings, listen_s)]

    every = _places(network)
    return certified(_of(every, links), len(every), network.topology.tolerance, probe, effort=effort, thorough=thorough)


def certified(
    places: Sequence[Place], of: int, tolerance: Tolerance, probe: Probe, *, effort: float = 1.0, thorough: bool = False
) -> list[CertificateEntry]:
    """Measures some directions by a prober; see `certify`.

    Args:
        places: the directions.
        of: how many directions there are, whose intervals are to hold together.
        tolerance: of all.
        probe: sends and listens.
        effort: how many times the usual number of packets.
        thorough: whether to take minutes instead of seconds.
    """
    rounds = _THOROUGH_ROUNDS if thorough else _ROUNDS
    alpha = (1 - CONFIDENCE) / (len(rounds) * _QUANTITIES * max(1, of))
    entries: dict[int, CertificateEntry] = {}
    missed = list(range(len(places)))
    for times in rounds:
        again = [places[number] for number in missed]
        if again:
            probings, listen_s = plan([place.direction for place in again], times * effort, thorough=thorough)
            found = probe(again, probings, listen_s)
            for number, place, probing, one in zip(missed, again, probings, found, strict=True):
                entries[number] = _entry(place, probing, one, tolerance, thorough, alpha)
        missed = [number for number in missed if not entries[number].ok]
    return [entries[number] for number in range(len(places))]


def directions(
    topology: ResolvedTopology,
    links: Mapping[tuple[str, str], tuple[LinkParameters, LinkParameters]],
    mtu: Callable[[str, str], int],
) -> list[Direction]:
    """All directions as links are set, those of one link beside each other; `mtu` tells a link's largest packet."""
    shared = airs(topology)
    return [Direction(one, shared[link], mtu(*link)) for link, both in links.items() for one in both]


def _places(network: EmulatedNetwork) -> list[Place]:
    links = network.links()
    every = directions(network.topology, links, network.mtu)
    return [Place(link, which, every[2 * number + which]) for number, link in enumerate(links) for which in (0, 1)]


def _of(every: Sequence[Place], links: Sequence[int]) -> list[Place]:
    return [every[2 * link + which] for link in links for which in (0, 1)]


def _entry(
    place: Place, probing: Probing, noted: Noted, tolerance: Tolerance, thorough: bool, alpha: float
) -> CertificateEntry:
    """What the packets of one direction say, where the clocks of its ends may be apart less sharply."""
    times, error_ms = noted
    blurred = msgspec.structs.replace(tolerance, delay_ms=tolerance.delay_ms + error_ms)
    found = measure(times, probing, place.direction, blurred, alpha)
    if delay_ms := found.measured.delay_ms:
        wider = Interval(delay_ms.value, delay_ms.low - error_ms, delay_ms.high + error_ms)
        found = found._replace(measured=msgspec.structs.replace(found.measured, delay_ms=wider))
    entry = judge(place.link, DIRECTIONS[place.which], place.direction, found, tolerance, thorough)
    return msgspec.structs.replace(entry, clock_error_ms=error_ms)


def judge(
    link: tuple[str, str], name: str, direction: Direction, found: Findings, tolerance: Tolerance, thorough: bool
) -> CertificateEntry:
    """Holds what was measured of a direction (`up` or `down`) against what was asked. A queue may hold more by what the
    kernel lets out of it at once, and the packets on their way out."""
    set_to, measured = direction.link, found.measured
    asked = Asked(
        direction.bandwidth_bps,
        set_to.delay_s * 1e3,
        set_to.jitter_s * 1e3,
        set_to.loss,
        set_to.burst,
        set_to.queue_bytes,
    )
    wanted_bps = asked.bandwidth_bps
    faults, unmeasured = [], []
    if measured.bandwidth_bps is None:
        unmeasured.append(
            "bandwidth could not be measured: too few packets came, or the queue is too small for a train"
        )
    elif abs(measured.bandwidth_bps.value - wanted_bps) > tolerance.bandwidth * wanted_bps:
        faults.append(f"bandwidth is {measured.bandwidth_bps.value / 1e6:.4g} Mbit/s, asked {wanted_bps / 1e6:.4g}")
    if measured.delay_ms is None:
        unmeasured.append("delay and jitter could not be measured: too few packets came")
    elif _off(measured.delay_ms, asked.delay_ms, tolerance.delay_ms):
        faults.append(f"delay is {measured.delay_ms.value:.3f} ms, asked {asked.delay_ms:.3f}")
    elif found.strays is not None and found.strays > _STRAYS and measured.jitter_ms is not None:
        faults.append(
            f"jitter is {measured.jitter_ms.value:.3f} ms or not uniform, asked {asked.jitter_ms:.3f}: the delays of"
            f" {found.strays:.1%} of the packets too many differ"
        )
    if measured.loss is None:
        unmeasured.append("loss could not be measured: no packet could be sent")
    elif not measured.loss.low <= asked.loss <= measured.loss.high:
        faults.append(f"loss is {measured.loss.low:.3%} to {measured.loss.high:.3%}, asked {asked.loss:.3%}")
    if measured.burst is None:
        if asked.burst is not None and asked.loss > 0:
            unmeasured.append("bursts could not be measured: too few packets were lost")
    else:
        burst = 1 / (1 - min(asked.loss, 0.999)) if asked.burst is None else asked.burst
        if not measured.burst.low <= burst <= measured.burst.high:
            faults.append(
                f"losses come {measured.burst.low:.3g} to {measured.burst.high:.3g} in a row, asked {burst:.3g}"
            )
    held = queue_bytes(set_to)
    if measured.queue_bytes is None:
        if thorough:
            unmeasured.append("the queue could not be measured: it cannot be filled, or is not what fills")
    elif _off(measured.queue_bytes, held, tolerance.bandwidth * held + htb_burst(wanted_bps) + 2 * MTU):
        faults.append(f"the queue holds {measured.queue_bytes.value:.0f} bytes, asked {held}")
    ok = not faults and measured.delay_ms is not None and measured.loss is not None
    return CertificateEntry(link, name, asked, measured, tolerance, ok, "; ".join(faults + unmeasured) or None)


def _off(measured: Interval, asked: float, tolerance: float) -> bool:
    """Whether a value is out of tolerance, and not by chance: jitter spreads what few packets say."""
    return abs(measured.value - asked) > tolerance and not measured.low <= asked <= measured.high
