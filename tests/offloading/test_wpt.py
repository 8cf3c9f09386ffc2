import itertools

import numpy as np
import pytest

from testbed.offloading.wpt import CAPACITANCE, EPS, ETA1, ETA2, WirelessPowered, alternating_weights


def rate(gains, weights, mode, a, tau):
    """The published formula, for one mode and its shares."""
    local = weights * ETA1 * np.cbrt(gains / CAPACITANCE) * np.cbrt(a)
    with np.errstate(divide="ignore", invalid="ignore"):
        offloaded = weights * EPS * tau * np.log(1 + ETA2 * gains**2 * a / tau)
    return np.where(mode == 0, local, np.where(tau > 0, offloaded, 0.0)).sum()


@pytest.fixture
def gains():
    return np.random.default_rng(3).exponential(3e-6, 3)


def modes_of(devices):
    return np.array(list(itertools.product((0, 1), repeat=devices)))


def test_no_shares_on_a_grid_are_better_and_those_found_are_nearly_met_by_it(gains):
    weights = alternating_weights(3)
    steps = np.linspace(0, 1, 51)
    grid = [shares for shares in itertools.product(steps, repeat=3) if 0 < sum(shares) <= 1]
    modes = modes_of(3)
    for mode, found in zip(modes, WirelessPowered(gains, weights).rewards(modes), strict=True):
        best = max(rate(gains, weights, mode, 1 - sum(tau), np.array(tau) * mode) for tau in grid)
        if mode.any():
            assert best <= found * (1 + 1e-9)
            assert best > 0.99 * found
        else:
            assert found == pytest.approx(rate(gains, weights, mode, 1.0, np.zeros(3)))


def test_the_shares_fill_the_frame_and_give_the_rate():
    rng = np.random.default_rng(5)
    for scale in (1e-8, 1e-6, 1e-4):
        gains, weights = rng.exponential(scale, 6), alternating_weights(6)
        modes = modes_of(6)
        rates, a, tau = WirelessPowered(gains, weights).allotted(modes)
        assert a + tau.sum(axis=1) == pytest.approx(np.ones(len(modes)))
        assert (tau[modes == 0] == 0).all()
        by_formula = [rate(gains, weights, *one) for one in zip(modes, a, tau, strict=True)]
        assert rates == pytest.approx(np.array(by_formula))


def test_moving_time_between_any_two_loses():
    rng = np.random.default_rng(6)
    gains, weights, mode = rng.exponential(3e-6, 5), alternating_weights(5), np.array([1, 0, 1, 1, 0])
    (best,), (a,), (tau,) = WirelessPowered(gains, weights).allotted(mode[None])
    shares = np.concatenate([[a], tau])
    for gives, takes in itertools.permutations((0, 1, 3, 4), 2):  # energy, and the three offloaders
        moved = shares.copy()
        moved[gives] -= 0.03 * shares[gives]
        moved[takes] += 0.03 * shares[gives]
        assert rate(gains, weights, mode, moved[0], moved[1:]) < best


def test_modes_together_are_worth_what_they_are_alone(gains):
    problem = WirelessPowered(gains, alternating_weights(3))
    together = problem.rewards(modes_of(3))
    assert [problem.rewards(mode[None])[0] for mode in modes_of(3)] == pytest.approx(together, rel=1e-9)


def test_a_channel_that_is_gone_is_no_error():
    problem = WirelessPowered(np.array([0.0, 5e-6]), alternating_weights(2))
    assert np.isfinite(problem.rewards(modes_of(2))).all()
    assert all(np.isfinite(array).all() for array in problem.graph[:3])
