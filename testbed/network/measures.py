"""What the packets that crossed a link say of it: pure functions of their times."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from testbed.documents.resolved import Tolerance
from testbed.network.intervals import (
    Interval,
    binomial_interval,
    loss_inflation,
    quantile_interval,
    run_interval,
    trimmed_mean_interval,
    uniform_strays,
)
from testbed.network.probing import LONE_SIZE, Direction, Probing, Stream

_IDLE = 0.005  # of a train's time, for which a late sender may leave the link idle

Times = npt.NDArray[np.int64]


class Measured(msgspec.Struct, frozen=True):
    """What a direction was measured to be; null is what could not be measured. Delay is without serialisation;
    bandwidth is what was delivered over (1 - loss); burst is the mean number of packets lost in a row."""

    bandwidth_bps: Interval | None
    delay_ms: Interval | None
    jitter_ms: Interval | None
    loss: Interval | None
    burst: Interval | None = None
    queue_bytes: Interval | None = None


class Findings(NamedTuple):
    """What the packets of one direction say: values, and by what share of them the delays stray from a uniform
    distribution about the delay asked (0 or less: they may be from it)."""

    measured: Measured
    strays: float | None


def measure(times: Times, probing: Probing, asked: Direction, tolerance: Tolerance, alpha: float) -> Findings:
    """What the packets of one direction say of it.

    Args:
        times: when each was sent and received, nanoseconds, 0 for not; shape (packets, 2).
        probing: the packets as they were planned.
        asked: the direction as it is set: what was asked of loss says how far the share lost may lie from it.
        tolerance: how far a lone packet's delay may be from what was asked.
        alpha: one less the confidence of each interval.
    """
    was_sent, arrived = times[:, 0] > 0, times[:, 1] > 0
    lost = ~arrived[: probing.within_queue][was_sent[: probing.within_queue]]
    inflation = loss_inflation(asked.link.loss, asked.link.burst)
    loss = binomial_interval(int(lost.sum()), len(lost), alpha, inflation) if len(lost) else None
    burst = run_interval(lost.tolist(), alpha) if asked.link.loss > 0 else None
    trains = [
        (rate, _idle(times[train.first :][: train.count], train) <= _IDLE)
        for train in probing.trains
        if (rate := _dispersion(times[train.first :][: train.count], train, probing.settled))
    ]
    in_time = [rate for rate, was_busy in trains if was_busy]
    rates = in_time if len(in_time) >= 3 else [rate for rate, _ in trains]  # those that came late tell at least so much
    bandwidth = trimmed_mean_interval(rates, alpha) if len(rates) >= 3 else None
    ratio = asked.bandwidth_bps / bandwidth.value if bandwidth else 1.0
    queue = _queue(times, probing, asked, ratio, inflation, alpha)
    lone = times[: probing.lone.count][(was_sent & arrived)[: probing.lone.count]]
    delays_ms = ((lone[:, 1] - lone[:, 0]) / 1e6 - asked.serial_s(LONE_SIZE) * 1e3 * ratio).tolist()
    if len(delays_ms) < 10:
        return Findings(Measured(bandwidth, None, None, loss, burst, queue), None)
    tenth, rest = (quantile_interval(delays_ms, quantile, alpha / 2) for quantile in (0.1, 0.9))
    jitter = Interval(
        (rest.value - tenth.value) / 1.6, max(0.0, rest.low - tenth.high) / 1.6, (rest.high - tenth.low) / 1.6
    )  # four fifths of a uniform distribution's width, which is twice the jitter
    strays = uniform_strays(delays_ms, asked.link.delay_s * 1e3, asked.link.jitter_s * 1e3, tolerance.delay_ms, alpha)
    return Findings(Measured(bandwidth, trimmed_mean_interval(delays_ms, alpha), jitter, loss, burst, queue), strays)


def _dispersion(train: Times, planned: Stream, settled: int) -> float | None:
    """The rate at which a train came through, bits per second, by least squares: lost packets count, for they used the
    link. None where too few came."""
    sent, arrived = train[:, 0], train[:, 1]
    there = np.flatnonzero(arrived[settled:]) + settled
    if len(there) < 2 or there[-1] - there[0] < (len(train) - settled) / 2 or np.any(sent == 0):
        return None
    places = there - there.mean()
    each_ns = float(places @ (arrived[there] - arrived[there[0]])) / float(places @ places)
    return planned.size * 8e9 / each_ns if each_ns > 0 else None


def _idle(train: Times, planned: Stream) -> float:
    """For what share of a train's time the link must have been idle, because packets were sent late."""
    served_ns = np.arange(len(train)) * planned.gap_s * 1e9
    return float(np.max(train[:, 0] - train[0, 0] - served_ns) / served_ns[-1])


def _queue(
    times: Times, probing: Probing, asked: Direction, ratio: float, inflation: float, alpha: float
) -> Interval | None:
    """How many bytes a direction holds, the packet being served among them: of each burst, what came through in spite
    of loss, less what was served while the burst was sent.

    Both are whole packets, so that each is half a packet low on average.

    Args:
        times: as for `measure`.
        probing: as for `measure`.
        asked: the direction as it is set.
        ratio: of the bandwidth asked to the true one.
        inflation: of the number of packets lost.
        alpha: one less the confidence.
    """
    held, came, size = [], 0, 1
    for burst in probing.bursts:
        sent, arrived = times[burst.first :][: burst.count].T
        through = np.count_nonzero(arrived) / (1 - asked.link.loss) if asked.link.loss < 1 else 0.0
        if np.any(sent == 0) or through > 0.97 * burst.count:
            continue
        size, came = burst.size, came + int(np.count_nonzero(arrived))
        served = (sent.max() - sent.min()) / 1e9 / (size * 8 / asked.bandwidth_bps * ratio)
        held.append(size * (through - served + 1))
    if len(held) < 3:
        return None
    value = trimmed_mean_interval(held, alpha).value
    spread = math.sqrt(inflation * asked.link.loss * came) / (1 - asked.link.loss) / len(held)
    half = size * (1 + NormalDist().inv_cdf(1 - alpha / 2) * spread)
    return Interval(value, value - half, value + half)
