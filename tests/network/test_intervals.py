"""Confidence intervals against published values and by simulation."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from testbed.network.intervals import (
    binomial_interval,
    loss_inflation,
    quantile_interval,
    run_interval,
    student_t,
    trimmed_mean_interval,
    uniform_strays,
)


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


def bursts(draw: random.Random, n: int, loss: float, burst: float) -> list[bool]:
    """Which of n packets are lost by a two-state Markov chain that begins anywhere."""
    enter, lost, found = loss / (burst * (1 - loss)), draw.random() < loss, []
    for _ in range(n):
        found.append(lost)
        lost = draw.random() >= 1 / burst if lost else draw.random() < enter
    return found


@pytest.mark.parametrize(("loss", "burst"), [(0.01, 5.0), (0.05, 20.0), (0.2, 1.25), (0.2, 8.0)])
def test_intervals_hold_for_losses_that_come_in_bursts(loss: float, burst: float) -> None:
    draw = random.Random(7)
    rounds, alpha, n = 300, 0.05, 2000
    held = {"loss": 0, "loss, taken for independent": 0, "burst": 0}
    for _ in range(rounds):
        lost = bursts(draw, n, loss, burst)
        found = binomial_interval(sum(lost), n, alpha, loss_inflation(loss, burst))
        held["loss"] += found.low <= loss <= found.high
        plain = binomial_interval(sum(lost), n, alpha)
        held["loss, taken for independent"] += plain.low <= loss <= plain.high
        run = run_interval(lost, alpha)
        held["burst"] += run is None or run.low <= burst <= run.high
    assert held["loss"] >= 0.92 * rounds and held["burst"] >= 0.92 * rounds
    assert burst < 2 or held["loss, taken for independent"] < 0.85 * rounds


def test_independent_losses_are_bursts_of_one_over_what_arrives() -> None:
    assert loss_inflation(0.2, 1 / 0.8) == pytest.approx(1.0)
    assert loss_inflation(0.2, None) == 1.0
    draw = random.Random(3)
    found = run_interval([draw.random() < 0.2 for _ in range(50_000)], 0.01)
    assert found and found.low <= 1.25 <= found.high and found.high - found.low < 0.1


def test_the_mean_run_of_losses_is_what_one_would_count() -> None:
    lost = [bool(int(digit)) for digit in "0110100111"]  # the last run may go on: it tells of no end
    found = run_interval(lost, 0.01)
    assert found and found.value == 5 / 2  # five losses with a packet after them, two of which ended a run
    assert run_interval([False] * 100, 0.01) is None
    assert run_interval([True] * 100, 0.01) is None


def test_uniform_samples_stray_seldom_and_others_do() -> None:
    draw = random.Random(11)
    rounds, n = 300, 500

    def strayed(one: Callable[[], float], slack: float = 0.0, least: float = 0.0) -> float:
        return sum(uniform_strays([one() for _ in range(n)], 20, 5, slack, 0.05, least) > 0 for _ in range(rounds))

    assert strayed(lambda: draw.uniform(15, 25)) <= 0.08 * rounds
    assert strayed(lambda: draw.uniform(15, 25) + draw.uniform(0, 0.5), slack=0.5) <= 0.02 * rounds
    assert strayed(lambda: max(18.0, draw.uniform(15, 25)), least=18.0) <= 0.08 * rounds
    assert strayed(lambda: draw.gauss(20, 5 / 3**0.5)) > 0.3 * rounds  # the same mean and variance
    assert strayed(lambda: draw.uniform(16, 24)) == rounds
    assert strayed(lambda: 20.0) == rounds
