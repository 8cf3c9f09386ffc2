"""A run's figures, its verdict and its phases, against sums done by hand."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.jobs.decision import LOCAL, Decision
from testbed.jobs.intervals import wilson_interval
from testbed.jobs.ledger import Outcome
from testbed.reporting.summary import Summary, summarise

PROPERTY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_agrees_with_newcombe_1998_table_1(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson_interval(trials - successes, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_stays_within_0_and_1(counts):
    low, high = wilson_interval(*counts)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1
    assert low < high


@pytest.mark.parametrize("counts", [(0, 0), (-1, 4), (5, 4)])
def test_wilson_refuses_what_is_no_sample(counts):
    with pytest.raises(ValueError, match="have no interval"):
        wilson_interval(*counts)


def test_the_figures_by_hand(answering, not_answering):
    rows = [
        answering(0, stage_ms=10, payload=100),  # on time: 90 ms
        answering(1, stage_ms=20, payload=200),  # on time: 180 ms
        answering(2, stage_ms=5, right=False, decision=Decision(LOCAL), payload=0),  # on time, wrong: 45 ms
        answering(3, stage_ms=30),  # late in the seventh stage: 270 ms
        answering(4, stage_ms=150, right=False),  # late in the second stage: 1350 ms
        not_answering(5, Outcome.FAILED),
        not_answering(6, Outcome.DROPPED),
        not_answering(7, Outcome.DROPPED),
    ]
    summary = summarise("greedy", rows, issued=8, duration_s=4.0)
    assert (summary.verdict, summary.reasons) == ("VALID", ())
    assert (summary.issued, summary.on_time, summary.late, summary.failed, summary.dropped) == (8, 3, 2, 1, 2)
    assert summary.success_probability == 3 / 8
    assert summary.success_interval == wilson_interval(3, 8)
    assert summary.accuracy == 2 / 8
    assert summary.accuracy_answered == 3 / 5
    assert summary.throughput_on_time_per_s == 3 / 4
    assert summary.completion_p50_ms == pytest.approx(180)
    assert summary.completion_p95_ms == pytest.approx(270 + 0.8 * (1350 - 270))
    assert summary.completion_p99_ms == pytest.approx(270 + 0.96 * (1350 - 270))
    assert summary.payload_bytes_per_job == (100 + 200 + 0 + 324 * 3) / 8
    assert summary.misses_by_stage == {"decide": 1, "decode": 1}
    assert summary.decisions == {"local": 1, "none": 2, "split/aecnn": 5}


def test_a_run_without_jobs_has_a_summary_without_figures():
    summary = summarise("local", [], issued=0, duration_s=10.0)
    assert summary.verdict == "VALID"
    assert summary.success_probability is summary.accuracy is summary.completion_p99_ms is None
    assert summary.throughput_on_time_per_s == 0
    assert [phase.issued for phase in summary.phases] == [0]


def test_a_run_with_nothing_answered_has_no_completion(not_answering):
    summary = summarise("full", [not_answering(0, Outcome.DROPPED)], issued=1, duration_s=1.0)
    assert (summary.success_probability, summary.accuracy) == (0, 0)
    assert summary.accuracy_answered is summary.completion_p50_ms is None


@given(n=st.integers(0, 80), seed=st.integers(0, 1000))
@PROPERTY
def test_honest_ledgers_are_valid_and_add_up(mixed, n, seed):
    rows = mixed(n, seed)
    summary = summarise("greedy", rows, issued=n, duration_s=10.0, event_times_s=[2.0, 5.0])
    assert summary.verdict == "VALID"
    assert summary.issued == summary.on_time + summary.late + summary.failed + summary.dropped == n
    assert sum(summary.misses_by_stage.values()) == summary.late
    assert sum(summary.decisions.values()) == sum(phase.issued for phase in summary.phases) == n
    assert msgspec.json.decode(msgspec.json.encode(summary), type=Summary) == summary


def test_a_job_without_a_row_is_found_out(mixed):
    summary = summarise("greedy", mixed(30, 1)[:-1], issued=30, duration_s=3.0)
    assert summary.verdict == "INVALID"
    (reason,) = summary.reasons
    assert reason.startswith("30 jobs issued, but ") and reason.endswith("= 29")


def test_a_job_counted_twice_is_found_out_even_where_the_numbers_balance(mixed):
    rows = mixed(30, 1)
    summary = summarise("greedy", [*rows[:-1], rows[4]], issued=30, duration_s=3.0)
    assert summary.reasons == ("1 jobs are counted more than once, the first is job 4",)


@pytest.mark.parametrize(("off_ms", "verdict"), [(0.09, "VALID"), (0.11, "INVALID"), (-0.11, "INVALID")])
def test_stages_that_do_not_sum_are_found_out(answering, off_ms, verdict):
    rows = [answering(0), answering(1)]
    rows[1] = msgspec.structs.replace(rows[1], completion_ms=rows[1].completion_ms + off_ms)
    summary = summarise("greedy", rows, issued=2, duration_s=1.0)
    assert summary.verdict == verdict
    if verdict == "INVALID":
        assert "1 jobs do not sum" in summary.reasons[0] and "job 1, off by 0.110 ms" in summary.reasons[0]


def test_an_answered_job_that_lacks_a_stage_is_found_out(answering):
    row = msgspec.structs.replace(answering(0), uplink_ms=None)
    assert summarise("greedy", [row], issued=1, duration_s=1.0).reasons == (
        "1 answered jobs lack a stage, the first is job 0",
    )


def test_phases_are_cut_at_the_events_within_the_run(answering, not_answering):
    rows = [
        answering(0, arrival_s=0.0),
        answering(1, arrival_s=9.999, right=False),
        answering(2, arrival_s=10.0, decision=Decision(LOCAL)),
        not_answering(3, Outcome.DROPPED, arrival_s=19.0),
        answering(4, arrival_s=19.5, stage_ms=30),
    ]
    summary = summarise("greedy", rows, issued=5, duration_s=30.0, event_times_s=[20.0, 10.0, 10.0, 0.0, 30.0, 99.0])
    first, second, third = summary.phases
    assert [(phase.start_s, phase.end_s) for phase in summary.phases] == [(0, 10), (10, 20), (20, 30)]
    assert (first.issued, first.success_probability, first.accuracy) == (2, 1, 0.5)
    assert (second.issued, second.success_probability, second.accuracy) == (3, 1 / 3, 1 / 3)
    assert second.decisions == {"local": 1, "none": 1, "split/aecnn": 1}
    assert (third.issued, third.accuracy, third.success_interval) == (0, None, None)
