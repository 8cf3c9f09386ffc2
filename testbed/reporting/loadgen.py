"""What MLPerf's LoadGen makes of a run in one of its scenarios, by its definitions (docs/results.md tells which).

Early stopping, from LoadGen's rules: a run of n queries, t of them over a latency, shows with confidence c that the
latency is kept by at least a share p of all queries if P[Binomial(n, 1 - p) <= t] <= 1 - c.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from testbed.documents.arrivals import Server, SingleStream
from testbed.documents.model import Model
from testbed.jobs.ledger import LedgerRow

CONFIDENCE = 0.99


class LoadGen(msgspec.Struct, frozen=True):
    """The result in LoadGen's own terms. What is without an answer took for ever: a latency that is null."""

    scenario: Literal["single_stream", "server"]
    percentile: float  # 0 to 1
    queries: int
    latency_ms: float | None  # at the percentile: element floor(n p) of the latencies in order
    estimate_ms: float | None  # single_stream: the percentile's early-stopping estimate, which is its result
    over_latency: int | None  # server: queries over the bound, each its own deadline
    result: Literal["VALID", "INVALID"]
    reasons: tuple[str, ...]


def loadgen(arrivals: Model, rows: Sequence[LedgerRow]) -> LoadGen | None:
    """What LoadGen would say of the whole ledger; None where the arrivals are no scenario of its."""
    latencies_ms = sorted(math.inf if row.completion_ms is None else row.completion_ms for row in rows)
    match arrivals:
        case SingleStream(percentile=p):
            return _single_stream(latencies_ms, p)
        case Server(percentile=p):
            over = sum(row.completion_ms is None or row.completion_ms > row.deadline_ms for row in rows)
            return _server(latencies_ms, over, p)
    return None


def queries_needed(over_latency: int, percentile: float, confidence: float = CONFIDENCE) -> int:
    """The fewest queries of which so many may be over the latency, by early stopping."""
    low, high = over_latency, over_latency + 1
    while not _shown(high, over_latency, percentile, confidence):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _shown(middle, over_latency, percentile, confidence) else (middle, high)
    return high


def _single_stream(latencies_ms: Sequence[float], percentile: float) -> LoadGen:
    n, needed = len(latencies_ms), queries_needed(1, percentile)
    reasons = [] if n >= needed else [f"{n} queries of at least {needed} for early stopping"]
    estimate_ms = None
    if n >= needed:
        discarded, beyond = 1, n  # by bisection: of those beyond, early stopping has not seen enough queries
        while beyond - discarded > 1:
            middle = (discarded + beyond) // 2
            discarded, beyond = (middle, beyond) if _shown(n, middle, percentile) else (discarded, middle)
        estimate_ms = _finite(latencies_ms[n - discarded])
        if estimate_ms is None:
            reasons.append("the early-stopping estimate falls on a query without an answer")
    return LoadGen(
        "single_stream",
        percentile,
        n,
        _at(latencies_ms, percentile),
        estimate_ms,
        None,
        "INVALID" if reasons else "VALID",
        tuple(reasons),
    )


def _server(latencies_ms: Sequence[float], over: int, percentile: float) -> LoadGen:
    n, needed = len(latencies_ms), queries_needed(over, percentile)
    reasons = []
    if n - over <= n * percentile:  # the element at the percentile is over the bound
        reasons.append(f"{over} of {n} queries are over the latency bound, {1 - percentile:.2%} may be")
    if n < needed:
        reasons.append(f"{n} queries of at least {needed} for early stopping with {over} over the latency bound")
    at_ms = _at(latencies_ms, percentile)
    return LoadGen("server", percentile, n, at_ms, None, over, "INVALID" if reasons else "VALID", tuple(reasons))


def _shown(queries: int, over_latency: int, percentile: float, confidence: float = CONFIDENCE) -> bool:
    """Whether P[Binomial(queries, 1 - percentile) <= over_latency] <= 1 - confidence."""
    if over_latency >= queries:
        return False
    log_p, log_q = math.log(percentile), math.log1p(-percentile)
    log_term = queries * log_p  # of nobody over the latency
    logs = [log_term]
    for k in range(over_latency):
        log_term += math.log((queries - k) / (k + 1)) + log_q - log_p
        logs.append(log_term)
    highest = max(logs)
    return highest + math.log(sum(math.exp(each - highest) for each in logs)) <= math.log(1 - confidence)


def _at(latencies_ms: Sequence[float], percentile: float) -> float | None:
    return _finite(latencies_ms[int(len(latencies_ms) * percentile)]) if latencies_ms else None


def _finite(latency_ms: float) -> float | None:
    return latency_ms if math.isfinite(latency_ms) else None
