"""The certificate: every direction of every link measured against what was asked."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from testbed.documents.resolved import LinkParameters, Tolerance
from testbed.network.build import DIRECTIONS, EmulatedNetwork
from testbed.network.errors import NetworkError
from testbed.network.intervals import Interval, binomial_interval, quantile_interval, trimmed_mean_interval
from testbed.network.native import program
from testbed.network.probing import LONE_SIZE, Probing, plan

CONFIDENCE = 0.99
"""That all intervals of a certificate hold together."""
_QUANTITIES = 4
_ROUNDS = 2  # a miss is measured once more

Times = npt.NDArray[np.int64]


class Asked(msgspec.Struct, frozen=True):
    """What a direction should be. Loss is a fraction."""

    bandwidth_bps: float
    delay_ms: float
    jitter_ms: float
    loss: float


class Measured(msgspec.Struct, frozen=True):
    """What a direction was measured to be; null is what could not be measured. Delay is without serialisation;
    bandwidth is what was delivered over (1 - loss)."""

    bandwidth_bps: Interval | None
    delay_ms: Interval | None
    jitter_ms: Interval | None
    loss: Interval | None


class CertificateEntry(msgspec.Struct, frozen=True):
    """One direction of one link."""

    link: tuple[str, str]
    direction: str  # up: from the node named first
    asked: Asked
    measured: Measured
    tolerance: Tolerance
    ok: bool
    reason: str | None


def misses(entries: Sequence[CertificateEntry]) -> list[str]:
    """What to tell of a certificate: a line for each direction that is not as it was asked."""
    return [f"{'-'.join(entry.link)} {entry.direction}: {entry.reason}" for entry in entries if not entry.ok]


def certify(network: EmulatedNetwork, *, effort: float = 1.0) -> list[CertificateEntry]:
    """Measures every direction of every link as it is set now, and leaves their queues empty.

    One-way delay and jitter come from lone packets, bandwidth from the dispersion of trains, loss from both. What
    misses is measured once more with four times the packets.

    Args:
        network: nothing else should be sent over it meanwhile.
        effort: how many times the usual number of packets.

    Raises:
        NetworkError: the links could not be probed.
    """
    directions = [
        (link, which, both[which]) for link, both in network.links().items() for which in range(len(DIRECTIONS))
    ]
    alpha = (1 - CONFIDENCE) / (_ROUNDS * _QUANTITIES * max(1, len(directions)))
    entries = _measured(network, directions, effort, alpha)
    missed = [number for number, entry in enumerate(entries) if not entry.ok]
    again = _measured(network, [directions[number] for number in missed], 4 * effort, alpha)
    for number, entry in zip(missed, again, strict=True):
        entries[number] = entry
    return entries


def _measured(
    network: EmulatedNetwork,
    directions: Sequence[tuple[tuple[str, str], int, LinkParameters]],
    effort: float,
    alpha: float,
) -> list[CertificateEntry]:
    if not directions:
        return []
    probings, listen_s = plan([asked for _, _, asked in directions], effort)
    lines = []
    for (link, which, _), probing in zip(directions, probings, strict=True):
        sender, receiver = (network.probe_end(*link, side) for side in (which, 1 - which))
        lines.append(
            f"direction {sender.pid} {sender.address} {sender.name} {receiver.pid} {receiver.address} {probing.packets}"
        )
    for number, probing in enumerate(probings):
        for one in (probing.lone, *probing.trains):
            rest = one.count - one.at_once
            for first, count, after, together in (
                (0, one.at_once, 0, one.at_once),
                (one.at_once, rest, 1, one.together),
            ):
                start_ns, gap_ns = (one.start_s + after * one.gap_s) * 1e9, one.gap_s * 1e9
                lines.append(
                    f"stream {number} {one.first + first} {count} {one.size} {start_ns:.0f} {gap_ns:.0f} {together}"
                )
    lines.append(f"end {listen_s * 1e9:.0f}")
    child = network.ownership.popen(
        [program("prober")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    records, said = child.communicate("\n".join(lines).encode() + b"\n")
    if child.returncode != 0:
        raise NetworkError(
            f"the links could not be probed: {said.decode(errors='replace').strip() or child.returncode}"
        )
    times = np.frombuffer(records, dtype=np.int64).reshape(-1, 2)
    entries, at = [], 0
    for (link, which, asked), probing in zip(directions, probings, strict=True):
        measured = measure(times[at : at + probing.packets], probing, asked, alpha)
        at += probing.packets
        entries.append(judge(link, DIRECTIONS[which], asked, measured))
    return entries


def measure(times: Times, probing: Probing, asked: LinkParameters, alpha: float) -> Measured:
    """What the packets of one direction say of it.

    Args:
        times: when each was sent and received, nanoseconds, 0 for not; shape (packets, 2).
        probing: the packets as they were planned.
        asked: the direction as it is set, for the serialisation of the lone packets where it could not be measured.
        alpha: one less the confidence of each interval.
    """
    was_sent, arrived = times[:, 0] > 0, times[:, 1] > 0
    sent = int(was_sent.sum())
    loss = binomial_interval(int((was_sent & ~arrived).sum()), sent, alpha) if sent else None
    rates = [
        rate
        for train in probing.trains
        if (rate := _dispersion(times, train.first, train.count, train.size, probing.settled))
    ]
    bandwidth = trimmed_mean_interval(rates, alpha) if len(rates) >= 3 else None
    rate_bps = bandwidth.value if bandwidth else asked.bandwidth_bps
    lone = times[: probing.lone.count][(was_sent & arrived)[: probing.lone.count]]
    delays_ms = ((lone[:, 1] - lone[:, 0]) / 1e6 - LONE_SIZE * 8e3 / rate_bps).tolist()
    if len(delays_ms) < 10:
        return Measured(bandwidth, None, None, loss)
    tenth, rest = (quantile_interval(delays_ms, quantile, alpha / 2) for quantile in (0.1, 0.9))
    jitter = Interval(
        (rest.value - tenth.value) / 1.6, max(0.0, rest.low - tenth.high) / 1.6, (rest.high - tenth.low) / 1.6
    )  # four fifths of a uniform distribution's width, which is twice the jitter
    return Measured(bandwidth, trimmed_mean_interval(delays_ms, alpha), jitter, loss)


def _dispersion(times: Times, first: int, count: int, size: int, settled: int) -> float | None:
    """The rate at which a train came through, bits per second: lost packets count, for they used the link."""
    train = times[first : first + count, 1]
    there = np.flatnonzero(train[settled:]) + settled
    if len(there) < 2 or there[-1] - there[0] < (count - settled) / 2 or np.any(times[first : first + count, 0] == 0):
        return None
    elapsed_ns = float(train[there[-1]] - train[there[0]])
    return float(there[-1] - there[0]) * size * 8e9 / elapsed_ns if elapsed_ns > 0 else None


def judge(link: tuple[str, str], direction: str, asked: LinkParameters, measured: Measured) -> CertificateEntry:
    """Holds what was measured against what was asked."""
    wanted = Asked(asked.bandwidth_bps, asked.delay_s * 1e3, asked.jitter_s * 1e3, asked.loss)
    tolerance = Tolerance()
    faults, unmeasured = [], []
    if measured.bandwidth_bps is None:
        unmeasured.append(
            "bandwidth could not be measured: too few packets came, or the queue is too small for a train"
        )
    elif abs(measured.bandwidth_bps.value - wanted.bandwidth_bps) > tolerance.bandwidth * wanted.bandwidth_bps:
        faults.append(
            f"bandwidth is {measured.bandwidth_bps.value / 1e6:.4g} Mbit/s, asked {wanted.bandwidth_bps / 1e6:.4g}"
        )
    if measured.delay_ms is None:
        unmeasured.append("delay and jitter could not be measured: too few packets came")
    elif not math.isclose(measured.delay_ms.value, wanted.delay_ms, rel_tol=0, abs_tol=tolerance.delay_ms):
        faults.append(f"delay is {measured.delay_ms.value:.3f} ms, asked {wanted.delay_ms:.3f}")
    if measured.loss is None:
        unmeasured.append("loss could not be measured: no packet could be sent")
    elif not measured.loss.low <= wanted.loss <= measured.loss.high:
        faults.append(f"loss is {measured.loss.low:.3%} to {measured.loss.high:.3%}, asked {wanted.loss:.3%}")
    ok = not faults and measured.delay_ms is not None and measured.loss is not None
    return CertificateEntry(link, direction, wanted, measured, tolerance, ok, "; ".join(faults + unmeasured) or None)
