"""Confidence intervals against published values and by simulation."""

from __future__ import annotations

import random

import pytest

from testbed.network.intervals import binomial_interval, quantile_interval, student_t, trimmed_mean_interval


def test_binomial_interval_as_tabulated() -> None:
    found = binomial_interval(5, 100, 0.05)  # Clopper and Pearson: 1.64 % to 11.28 %
    assert (found.value, found.low, found.high) == pytest.approx((0.05, 0.016432, 0.112835), abs=1e-6)


def test_no_event_and_every_event() -> None:
    none, every = binomial_interval(0, 100, 0.05), binomial_interval(100, 100, 0.05)
    assert (none.low, none.high) == pytest.approx((0.0, 1 - 0.025 ** (1 / 100)))
    assert (every.low, every.high) == pytest.approx((0.025 ** (1 / 100), 1.0))


@pytest.mark.parametrize(
    ("probability", "degrees", "quantile"), [(0.975, 9, 2.262157), (0.995, 30, 2.749996), (0.9995, 5, 6.868827)]
)
def test_student_t_as_tabulated(probability: float, degrees: int, quantile: float) -> None:
    assert student_t(probability, degrees) == pytest.approx(quantile, abs=1e-5)


def test_quantile_interval_as_tabulated() -> None:
    found = quantile_interval([float(value) for value in range(1, 101)], 0.5, 0.05)  # order statistics 40 and 61
    assert (found.low, found.high) == (40.0, 61.0)


def test_intervals_hold_what_they_should_as_often_as_they_should() -> None:
    draw = random.Random(5)
    held = {"binomial": 0, "mean": 0, "quantile": 0}
    rounds = 400
    for _ in range(rounds):
        sample = [draw.uniform(-1, 1) for _ in range(60)]
        held["mean"] += (mean := trimmed_mean_interval(sample, 0.05)).low <= 0 <= mean.high
        held["quantile"] += (tenth := quantile_interval(sample, 0.1, 0.05)).low <= -0.8 <= tenth.high
        events = sum(draw.random() < 0.1 for _ in range(60))
        held["binomial"] += (share := binomial_interval(events, 60, 0.05)).low <= 0.1 <= share.high
    assert min(held.values()) >= 0.91 * rounds


def test_outliers_do_not_move_the_trimmed_mean() -> None:
    assert trimmed_mean_interval([5.0] * 16 + [900.0] * 4, 0.05).value == 5.0
