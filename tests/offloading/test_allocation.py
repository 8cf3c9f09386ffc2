"""The shares of an edge, against brute force on grids and on every subset."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from testbed.offloading.allocation import HELD_BACK, Divided, Limited, Shannon, shares

MHZ = 5e6


def shannon(rng: np.random.Generator, pairs: int) -> Shannon:
    return Shannon(np.full(pairs, MHZ), 10 ** rng.uniform(-2, 3, pairs))


def least_slack(
    resource: Divided | Limited | Shannon, work: np.ndarray, left_s: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """`[...]`: of shares `[..., P]`."""
    return (left_s - work / resource.rate(share)).min(axis=-1)


def simplex(parts: int, devices: int) -> np.ndarray:
    """Every way to give `devices` a positive whole number of `parts`, as shares."""
    grid = np.stack(np.meshgrid(*[np.arange(1, parts)] * (devices - 1), indexing="ij"), axis=-1).reshape(
        -1, devices - 1
    )
    grid = grid[grid.sum(axis=1) < parts]
    return np.concatenate([grid, parts - grid.sum(axis=1, keepdims=True)], axis=1) / parts


def test_a_shannon_channel_needs_the_share_that_gives_the_rate() -> None:
    rng = np.random.default_rng(0)
    share = 10 ** rng.uniform(-4, 0, 500)
    channel = Shannon(np.full(500, MHZ), 10 ** rng.uniform(-6, 6, 500))
    needed, _ = channel.need(channel.rate(share))
    np.testing.assert_allclose(channel.rate(needed), channel.rate(share), rtol=1e-5)
    clear = channel.snr > 1e-3  # below, the rate hardly depends on the share
    np.testing.assert_allclose(needed[clear], share[clear], rtol=1e-2)


def test_the_elasticity_is_that_of_the_share_needed() -> None:
    rng = np.random.default_rng(1)
    channel = shannon(rng, 300)
    rate = channel.rate(10 ** rng.uniform(-2, 0, 300))
    _, elasticity = channel.need(rate)
    step = 0.05 / elasticity
    up, down = (channel.need(rate * np.exp(sign * step))[0] for sign in (1, -1))
    np.testing.assert_allclose(np.log(up / down) / (2 * step), elasticity, rtol=2e-2)


def test_a_rate_beyond_the_channel_needs_more_than_all_of_it() -> None:
    channel = Shannon(np.full(2, MHZ), np.array([1.0, 1e-6]))
    needed, _ = channel.need(channel.rate(1.0) * 10)
    assert (needed > 1).all()


@pytest.mark.parametrize("kind", ["divided", "shannon"])
@pytest.mark.parametrize("devices", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_no_other_division_has_a_greater_least_slack(kind: str, devices: int, seed: int) -> None:
    rng = np.random.default_rng((seed, devices))
    resource = shannon(rng, devices) if kind == "shannon" else Divided(10 ** rng.uniform(5, 7, devices))
    work = resource.rate(1.0) * rng.uniform(0.002, 0.02, devices)
    left_s = devices * work / resource.rate(1 / devices) * rng.uniform(1.0, 3.0, devices)  # equal shares are enough
    found = shares(resource, work, left_s, np.zeros(devices, dtype=np.int64))
    assert found.sum() == pytest.approx(1, abs=1e-9) and (found > 0).all()
    slack = left_s - work / resource.rate(found)
    assert np.ptp(slack) < 1e-4 * left_s.max()
    best = least_slack(resource, work, left_s, simplex(200, devices)).max() if devices > 1 else slack[0]
    assert slack.min() >= best - 1e-4 * left_s.max()


@pytest.mark.parametrize("devices", [2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_links_that_pass_no_more_than_their_own_rate_leave_the_rest_to_others(devices: int, seed: int) -> None:
    rng = np.random.default_rng((seed, devices))
    most = 10 ** rng.uniform(5, 7, devices)
    resource = Limited(np.full(devices, rng.uniform(0.4, 1.2) * most.sum()), most)
    work = most * rng.uniform(0.002, 0.02, devices)
    left_s = work / resource.rate(1 / devices) * rng.uniform(1.0, 3.0, devices)
    found = shares(resource, work, left_s, np.zeros(devices, dtype=np.int64))
    assert found.sum() == pytest.approx(1, abs=1e-9) and (found > 0).all()
    slack = (left_s - work / resource.rate(found)).min()
    assert slack >= -1e-9
    assert slack >= least_slack(resource, work, left_s, simplex(200, devices)).max() - 1e-4 * left_s.max()


def test_a_link_that_is_too_slow_is_late_however_much_is_to_be_had() -> None:
    resource = Limited(np.full(2, 1e7), np.array([1e5, 1e6]))
    left_s = np.array([0.01, 0.01])
    found = shares(resource, np.array([5e3, 5e3]), left_s, np.zeros(2, dtype=np.int64))
    assert (left_s - np.array([5e3, 5e3]) / resource.rate(found) >= 0).tolist() == [False, True]
    assert found[0] == pytest.approx(HELD_BACK)


@pytest.mark.parametrize("seed", range(20))
def test_where_not_all_can_be_on_time_as_many_are_as_any_subset_allows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    devices = 5
    resource = shannon(rng, devices)
    work = resource.rate(1.0) * rng.uniform(0.01, 0.1, devices)
    left_s = rng.uniform(-0.02, 0.1, devices)
    found = shares(resource, work, left_s, np.zeros(devices, dtype=np.int64))
    on_time = left_s - work / resource.rate(found) >= -1e-6
    need = np.where(left_s > 0, resource.need(work / np.where(left_s > 0, left_s, 1.0))[0], np.inf)

    def most(room: float) -> int:
        subsets = itertools.product([0, 1], repeat=devices)
        return max(sum(chosen) for chosen in subsets if sum(itertools.compress(need, chosen)) <= room)

    assert found.sum() == pytest.approx(1, abs=1e-9) and (found > 0).all()
    assert on_time.sum() == (devices if most(1.0) == devices else most(1 - HELD_BACK))
    if 0 < on_time.sum() < devices:
        np.testing.assert_allclose(found[~on_time], HELD_BACK / (~on_time).sum())


def test_the_hopeless_alone_divide_the_edge_evenly() -> None:
    found = shares(Divided(np.full(3, 1e6)), np.full(3, 1e6), np.array([0.1, -1.0, 0.5]), np.full(3, 4))
    np.testing.assert_allclose(found, 1 / 3)


def test_edges_do_not_concern_each_other() -> None:
    rng = np.random.default_rng(3)
    group = rng.choice([0, 2, 3, 7], 40)
    resource = shannon(rng, 40)
    work = resource.rate(1.0) * rng.uniform(0.001, 0.01, 40)
    left_s = rng.uniform(-0.01, 0.2, 40)
    together = shares(resource, work, left_s, group)
    for edge in np.unique(group):
        own = np.flatnonzero(group == edge)
        alone = shares(resource.at(own), work[own], left_s[own], np.zeros(len(own), dtype=np.int64))
        np.testing.assert_allclose(together[own], alone, rtol=1e-5)


def test_nobody_has_no_share() -> None:
    nobody = np.zeros(0)
    assert shares(Divided(nobody), nobody, nobody, np.zeros(0, dtype=np.int64)).shape == (0,)


def test_fifty_devices_at_an_edge_have_one_slack() -> None:
    rng = np.random.default_rng(4)
    resource = shannon(rng, 50)
    work = resource.rate(1.0) * rng.uniform(1e-5, 1e-3, 50)
    left_s = rng.uniform(0.1, 0.2, 50)
    slack = left_s - work / resource.rate(shares(resource, work, left_s, np.zeros(50, dtype=np.int64)))
    assert np.ptp(slack) < 1e-4
