"""LoadGen's scenarios by its definitions, against figures that its rules give."""

from __future__ import annotations

import math

import pytest

from testbed.documents.workload import Workload
from testbed.jobs.ledger import Outcome
from testbed.reporting.loadgen import loadgen, queries_needed


def arrivals(**fields):
    document = {"name": "w", "duration": "1 s", "deadline": "1 s", "offloading": {"policy": "greedy"}}
    return Workload.model_validate({**document, "arrivals": fields}).arrivals


SINGLE = arrivals(process="single_stream", jobs=9, percentile="90 %")
SERVER = arrivals(process="server", rate="1 /s", percentile="99 %")


def test_early_stopping_needs_the_queries_that_the_rules_tell() -> None:
    assert queries_needed(1, 0.9) == 64  # "at least 64 queries" for a single stream
    assert queries_needed(1, 0.99) == 662  # and for several
    assert queries_needed(0, 0.99) == 459 == math.ceil(math.log(0.01) / math.log(0.99))


@pytest.mark.parametrize(("over", "percentile"), [(0, 0.9), (1, 0.99), (7, 0.97), (60, 0.99)])
def test_early_stopping_is_the_binomial_tail(over, percentile) -> None:
    def tail(n: int) -> float:
        return sum(math.comb(n, k) * (1 - percentile) ** k * percentile ** (n - k) for k in range(over + 1))

    n = queries_needed(over, percentile)
    assert tail(n) <= 0.01 < tail(n - 1)


def test_other_arrivals_are_no_scenario(mixed) -> None:
    assert loadgen(arrivals(process="poisson", rate="1 /s"), mixed(9, 1)) is None


def test_a_single_streams_percentile_and_estimate(answering) -> None:
    rows = [answering(n, stage_ms=(n + 1) / 9) for n in range(100)]  # 1 to 100 ms
    found = loadgen(SINGLE, rows[::-1])
    assert (found.scenario, found.queries, found.result) == ("single_stream", 100, "VALID")
    assert found.latency_ms == pytest.approx(91)  # the element at 90 of those counted from 0
    # P[Binomial(100, 0.1) <= 3] is 0.0078, with 4 it is 0.024: the third highest is the estimate
    assert found.estimate_ms == pytest.approx(98)


def test_a_single_stream_of_few_queries_is_invalid(answering) -> None:
    found = loadgen(SINGLE, [answering(n) for n in range(63)])
    assert (found.result, found.estimate_ms) == ("INVALID", None)
    assert found.reasons == ("63 queries of at least 64 for early stopping",)


def test_a_server_holds_its_bound_or_not(answering, not_answering) -> None:
    def server(n, late, failed=0):
        rows = [answering(k, stage_ms=10) for k in range(n - late - failed)]
        rows += [answering(k, stage_ms=30) for k in range(late)]  # 270 ms, and 200 are allowed
        return loadgen(SERVER, rows + [not_answering(k, Outcome.FAILED) for k in range(failed)])

    assert (server(459, 0).result, server(459, 0).over_latency) == ("VALID", 0)
    assert server(458, 0).reasons == ("458 queries of at least 459 for early stopping with 0 over the latency bound",)
    assert server(2000, 6, 3).result == "VALID"
    many = server(2000, 25)
    assert many.latency_ms == pytest.approx(270) and many.result == "INVALID"
    assert many.reasons[0] == "25 of 2000 queries are over the latency bound, 1.00% may be"
    assert server(100, 0, 2).latency_ms is None
