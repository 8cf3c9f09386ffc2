"""Two samples compared: whether they could be of one distribution, and how far apart they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from scipy import stats

from testbed.jobs.intervals import wilson_interval


class Compared(msgspec.Struct, frozen=True):
    """A quantity of two runs. Null where a run has none of it."""

    name: str
    n_a: int
    n_b: int
    a: float | None  # the median; of a share, the share
    b: float | None
    change: float | None  # from a to b, as a share of a; of a share, the difference
    interval: tuple[float, float] | None  # 95 %, of the difference of shares; None for medians
    p: float | None  # adjusted for how many quantities are compared
    effect: float | None  # Cliff's delta, -1 to 1; of shares, Cohen's h
    distance: float | None  # the most by which the distributions are apart (Kolmogorov-Smirnov), 0 to 1


def compared_values(name: str, a: Sequence[float], b: Sequence[float]) -> Compared:
    """Two samples of a quantity, by the Mann-Whitney test and Cliff's delta (above 0: b has the larger values).

    N. Cliff, Dominance statistics: ordinal analyses to answer ordinal questions, Psychological Bulletin 114 (1993).
    """
    if not a or not b:
        return Compared(name, len(a), len(b), _median(a), _median(b), None, None, None, None, None)
    median_a, median_b = float(np.median(a)), float(np.median(b))
    change = (median_b - median_a) / median_a if median_a else (0.0 if median_a == median_b else None)
    test = stats.mannwhitneyu(b, a, method="asymptotic")
    effect = 2 * float(test.statistic) / (len(a) * len(b)) - 1
    p = 1.0 if math.isnan(test.pvalue) else float(test.pvalue)  # all values are the same
    return Compared(name, len(a), len(b), median_a, median_b, change, None, p, effect, _distance(a, b))


def compared_shares(name: str, right_a: int, n_a: int, right_b: int, n_b: int) -> Compared:
    """Two shares of independent jobs, by Fisher's exact test, Newcombe's interval of their difference, and Cohen's h.

    R. G. Newcombe, Interval estimation for the difference between independent proportions, Statistics in Medicine 17
    (1998), method 10; J. Cohen, Statistical power analysis for the behavioral sciences (1988), chapter 6.
    """
    if not n_a or not n_b:
        return Compared(name, n_a, n_b, None, None, None, None, None, None, None)
    a, b = right_a / n_a, right_b / n_b
    (low_a, high_a), (low_b, high_b) = wilson_interval(right_a, n_a), wilson_interval(right_b, n_b)
    interval = b - a - math.hypot(b - low_b, high_a - a), b - a + math.hypot(high_b - b, a - low_a)
    p = float(stats.fisher_exact([[right_a, n_a - right_a], [right_b, n_b - right_b]]).pvalue)
    effect = 2 * (math.asin(math.sqrt(b)) - math.asin(math.sqrt(a)))
    return Compared(name, n_a, n_b, a, b, b - a, interval, p, effect, None)


def adjusted(compared: Sequence[Compared]) -> list[Compared]:
    """The same, with p adjusted so that one of them is below 5 % by chance in 5 % of all comparisons.

    S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    found = list(compared)
    tested = sorted((one.p, place) for place, one in enumerate(found) if one.p is not None)
    least = 0.0
    for rank, (p, place) in enumerate(tested):
        least = max(least, min(1.0, p * (len(tested) - rank)))
        found[place] = msgspec.structs.replace(found[place], p=least)
    return found


def disagreement_p(only_a: int, only_b: int) -> float | None:
    """McNemar's exact test for pairs, of which so many are right in one run alone; None where all agree."""
    if not only_a + only_b:
        return None
    return float(stats.binomtest(only_a, only_a + only_b).pvalue)


def _distance(a: Sequence[float], b: Sequence[float]) -> float:
    """The most by which the two shares of values up to any one differ."""
    at = np.concatenate((a, b))
    up_to = [np.searchsorted(np.sort(one), at, side="right") / len(one) for one in (a, b)]
    return float(np.abs(up_to[0] - up_to[1]).max())


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
