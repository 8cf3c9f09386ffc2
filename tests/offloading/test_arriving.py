"""What a job waits for its device, against a device that works its jobs off one by one."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.offloading.arriving import at_any_time, at_the_beginning, wait_s

INF = float("inf")


def worked_off(backlog_s: float, own_s: float, after_s: float, gap_s: float) -> float:
    """What the last of one or two jobs waits, which arrive `after_s` and `gap_s` before that."""
    free_s = backlog_s
    if gap_s < INF:
        free_s = max(free_s, after_s - gap_s) + own_s
    return max(0.0, free_s - after_s)


def test_a_job_waits_for_what_is_left_and_for_the_one_before() -> None:
    rng = np.random.default_rng(0)
    for backlog_s, own_s, after_s, part in rng.uniform(0, [0.2, 0.2, 0.1, 1], size=(200, 4)):
        for gap_s in (part * after_s, INF):
            found = wait_s(*(np.array([value]) for value in (backlog_s, own_s, after_s, gap_s)))
            assert found == pytest.approx(worked_off(backlog_s, own_s, after_s, gap_s), abs=1e-12)


def test_who_computes_nothing_waits_for_nothing() -> None:
    assert wait_s(np.array([5.0]), np.array([0.0]), np.array([0.01]), np.array([0.005])) == 0


def test_a_job_at_the_beginning_waits_for_the_backlog() -> None:
    probability, after_s, gap_s = at_the_beginning(2)
    np.testing.assert_array_equal(probability, [[1, 1]])
    np.testing.assert_array_equal(wait_s(np.array([0.3, 0.0]), np.ones(2), after_s, gap_s), [[0.3, 0.0]])


def test_the_ways_to_arrive_are_those_of_a_poisson_process() -> None:
    jobs_per_s, slot_s = np.array([0.0, 3.0, 40.0]), 0.1
    probability, after_s, gap_s = at_any_time(jobs_per_s, slot_s)
    np.testing.assert_allclose(probability.sum(axis=0), 1.0)
    behind = np.isfinite(gap_s)
    assert (gap_s < after_s)[behind & (jobs_per_s > 0)].all() and (behind == behind[:, :1]).all()
    first = np.where(behind, 0.0, probability).sum(axis=0)
    assert first[0] == 1
    drawn = np.random.default_rng(0).uniform(0, slot_s, 20_000)[:, None]
    np.testing.assert_allclose(first, np.exp(-jobs_per_s * drawn).mean(axis=0), atol=0.01)
    mean_s = (probability * wait_s(np.zeros(3), np.full(3, 0.14), after_s, gap_s)).sum(axis=0)
    draw = np.random.default_rng(1)
    for device, rate in enumerate(jobs_per_s[:2]):  # at 40 a second more than one is before, which is left out
        gaps = draw.exponential(1 / rate if rate else INF, len(drawn))
        waits = np.where(gaps < drawn[:, 0], np.maximum(0, 0.14 - gaps), 0.0)
        assert mean_s[device] == pytest.approx(waits.mean(), abs=0.001)
