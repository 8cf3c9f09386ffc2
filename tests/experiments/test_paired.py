import itertools
import math

import numpy as np
import pytest

from testbed.experiments.paired import Interval, bootstrap, over_seeds


def test_over_photographs_it_is_the_plain_bootstrap() -> None:
    values = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], p=[0.1, 0.6, 0.3], size=(1, 200))
    rng = np.random.default_rng(4)
    means = [rng.choice(values[0], 200).mean() for _ in range(20_000)]
    found = bootstrap(values)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(np.quantile(means, 0.025), abs=0.006)
    assert found.high == pytest.approx(np.quantile(means, 0.975), abs=0.006)


@pytest.mark.parametrize("of_seeds", [(0.0, 1.0, 5.0), (1.0, 2.0, 3.0, 10.0)])
def test_over_seeds_it_draws_one_fewer_than_there_are(of_seeds: tuple[float, ...]) -> None:
    """Every photograph alike: what is left are the seeds, whose draws can all be listed."""
    values = np.repeat(np.array(of_seeds)[:, None], 7, axis=1)
    means = [np.mean(drawn) for drawn in itertools.product(of_seeds, repeat=len(of_seeds) - 1)]
    found = bootstrap(values)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means * 1000, [0.025, 0.975])), abs=0.05)
    assert np.var(means) == pytest.approx(np.var(of_seeds, ddof=1) / len(of_seeds))  # unbiased for the mean's variance


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        photographs, seeds = rng.normal(0, 0.3, 100), rng.normal(0, 0.02, (4, 1))
        found = bootstrap(0.1 + photographs + seeds + rng.normal(0, 0.2, (4, 100)))
        held += found.low <= 0.1 <= found.high
    assert held / 300 > 0.92


def test_the_same_data_give_the_same_interval_and_the_opposite_the_mirrored() -> None:
    values = np.random.default_rng(6).normal(0.2, 1, (3, 50))
    assert bootstrap(values) == bootstrap(values)
    mirrored, negated = -bootstrap(values), bootstrap(-values)
    assert (mirrored.value, mirrored.low, mirrored.high) == pytest.approx((negated.value, negated.low, negated.high))


def test_no_difference_is_undecided() -> None:
    assert bootstrap(np.zeros((3, 20))).undecided
    assert not Interval(0.2, 0.1, 0.3).undecided


def test_a_few_seeds_have_students_interval() -> None:
    found = over_seeds([1.0, 2.0, 3.0])
    assert found.value == 2
    assert found.high - 2 == pytest.approx(4.303 / math.sqrt(3))
    assert over_seeds([1.0]) == Interval(1.0, -math.inf, math.inf)
