"""The certificate: every direction of every link measured against what was asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from testbed.documents.resolved import Tolerance
from testbed.network.build import DIRECTIONS, EmulatedNetwork
from testbed.network.intervals import Interval
from testbed.network.measures import Findings, Measured, measure
from testbed.network.prober import probed
from testbed.network.probing import Direction, plan
from testbed.network.shape import MTU, htb_burst, queue_bytes

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


class CertificateEntry(msgspec.Struct, frozen=True):
    """One direction of one link."""

    link: tuple[str, str]
    direction: str  # up: from the node named first
    asked: Asked
    measured: Measured
    tolerance: Tolerance
    ok: bool
    reason: str | None


class Batch(msgspec.Struct, frozen=True):
    """Links that are measured together, by their places in the topology, and about how long it takes."""

    links: tuple[int, ...]
    seconds: float


def misses(entries: Sequence[CertificateEntry]) -> list[str]:
    """What to tell of a certificate: a line for each direction that is not as it was asked."""
    return [f"{'-'.join(entry.link)} {entry.direction}: {entry.reason}" for entry in entries if not entry.ok]


def batches(network: EmulatedNetwork, *, thorough: bool = False) -> list[Batch]:
    """The links of a network in groups that one machine can measure at once."""
    every = _directions(network)
    size = _THOROUGH_BATCH if thorough else _BATCH
    groups = [range(first, min(first + size, len(every) // 2)) for first in range(0, len(every) // 2, size)]
    return [Batch(tuple(group), plan([one for *_, one in _of(every, group)], thorough=thorough)[1]) for group in groups]


def certify(
    network: EmulatedNetwork, *, effort: float = 1.0, thorough: bool = False, links: Sequence[int] | None = None
) -> list[CertificateEntry]:
    """Measures directions of links as they are set now (a channel's, outside of runs, as they are at rest), and leaves
    their queues empty.

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
    every = _directions(network)
    directions = _of(every, links)
    rounds = _THOROUGH_ROUNDS if thorough else _ROUNDS
    alpha = (1 - CONFIDENCE) / (len(rounds) * _QUANTITIES * max(1, len(every)))
    entries: dict[int, CertificateEntry] = {}
    missed = list(range(len(directions)))
    for times in rounds:
        again = [directions[number] for number in missed]
        entries |= zip(missed, _measured(network, again, times * effort, thorough, alpha), strict=True)
        missed = [number for number in missed if not entries[number].ok]
    return [entries[number] for number in range(len(directions))]


class _Place(NamedTuple):
    """Which direction of which link is measured."""

    link: tuple[str, str]
    which: int
    direction: Direction


def _directions(network: EmulatedNetwork) -> list[_Place]:
    """All of them, those of one link beside each other."""
    return [
        _Place(link, which, Direction(parameters, network.wire(*link).air))
        for link, both in network.links().items()
        for which, parameters in enumerate(both)
    ]


def _of(every: Sequence[_Place], links: Sequence[int]) -> list[_Place]:
    return [every[2 * link + which] for link in links for which in (0, 1)]


def _measured(
    network: EmulatedNetwork, places: Sequence[_Place], effort: float, thorough: bool, alpha: float
) -> list[CertificateEntry]:
    if not places:
        return []
    probings, listen_s = plan([place.direction for place in places], effort, thorough=thorough)
    ends = [(network.probe_end(*link, which), network.probe_end(*link, 1 - which)) for link, which, _ in places]
    times = probed(network.ownership.popen, ends, probings, listen_s)
    tolerance = network.topology.tolerance
    entries = []
    for (link, which, direction), probing, one in zip(places, probings, times, strict=True):
        found = measure(one, probing, direction, tolerance, alpha)
        entries.append(judge(link, DIRECTIONS[which], direction, found, tolerance, thorough))
    return entries


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
