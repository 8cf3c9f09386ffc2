"""Confidence intervals of what is measured on links: proportions, means, quantiles. Pure functions."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Sequence

import msgspec


class Interval(msgspec.Struct, frozen=True):
    """A measured value, and the bounds between which the true one lies with the confidence asked for."""

    value: float
    low: float
    high: float


def binomial_interval(events: int, n: int, alpha: float, inflation: float = 1.0) -> Interval:
    """The exact interval of a proportion (Clopper and Pearson, 1934), of confidence 1 - alpha.

    Args:
        events: how often it happened.
        n: of how many times.
        alpha: one less the confidence.
        inflation: by how much the count varies more than that of independent events; so many times fewer count.
    """
    a, b = events / inflation, (n - events) / inflation
    low = 0.0 if events == 0 else _bisect(lambda p: beta_cdf(p, a, b + 1), alpha / 2)
    high = 1.0 if events == n else _bisect(lambda p: beta_cdf(p, a + 1, b), 1 - alpha / 2)
    return Interval(events / n, low, high)


def loss_inflation(loss: float, burst: float | None) -> float:
    """By how much the number of packets lost varies more than if each were lost on its own: (1 + r) / (1 - r), for
    losses that come as a two-state Markov chain with r the correlation of neighbours (Gilbert, 1960).

    Args:
        loss: the share that is lost, 0 to 1.
        burst: mean number of packets lost in a row; None where each is lost on its own.
    """
    if burst is None or not 0 < loss < 1:
        return 1.0
    correlation = 1 - 1 / (burst * (1 - loss))
    return max(1.0, (1 + correlation) / (1 - correlation))


def run_interval(lost: Sequence[bool], alpha: float) -> Interval | None:
    """The mean number of packets lost in a row, from which of the packets, in their order, were lost.

    After each lost packet the run ends with one probability, whatever came before: its exact interval, inverted.
    None if nothing was lost.
    """
    followed = [after for before, after in itertools.pairwise(lost) if before]
    ended = len(followed) - sum(followed)
    if not ended:
        return None
    end = binomial_interval(ended, len(followed), alpha)
    return Interval(1 / end.value, 1 / end.high, 1 / end.low)


def uniform_strays(
    values: Sequence[float], middle: float, half_width: float, slack: float, alpha: float, least: float = 0.0
) -> float:
    """By what share of the values a sample strays too far from a uniform distribution; 0 or less: it may be from it.

    The one-sample Kolmogorov-Smirnov test of level alpha, for any number of values (Massart, 1990), of a sample each
    value of which may have been displaced.

    Args:
        values: the sample.
        middle: of the distribution.
        half_width: of the distribution.
        slack: by how much a value may have been displaced, either way.
        alpha: how often a sample from the distribution may be said to stray.
        least: values below it would have been raised to it.
    """

    def share(x: float) -> float:
        """Of the distribution, below x."""
        if x <= least:
            return 0.0
        return min(1.0, max(0.0, (x - middle + half_width) / (2 * half_width))) if half_width else float(x > middle)

    n = len(values)
    farthest = max(
        max(number / n - share(math.nextafter(value + slack, math.inf)), share(value - slack) - (number - 1) / n)
        for number, value in enumerate(sorted(values), 1)
    )
    return farthest - math.sqrt(math.log(2 / alpha) / (2 * n))


def trimmed_mean_interval(values: Sequence[float], alpha: float, trim: float = 0.25) -> Interval:
    """The mean without the lowest and highest quarter, which a busy machine spoils, and its interval by Student's t
    with the winsorised variance (Tukey and McLaughlin, 1963). Needs at least three values."""
    ordered = sorted(values)
    n, cut = len(ordered), int(trim * len(ordered))
    kept = ordered[cut : n - cut]
    mean = math.fsum(kept) / len(kept)
    held = [kept[0]] * cut + kept + [kept[-1]] * cut
    middle = math.fsum(held) / n
    variance = math.fsum((value - middle) ** 2 for value in held) / (n - 1)
    half = student_t(1 - alpha / 2, len(kept) - 1) * math.sqrt(variance / n) * n / len(kept)
    return Interval(mean, mean - half, mean + half)


def quantile_interval(values: Sequence[float], quantile: float, alpha: float) -> Interval:
    """A quantile, between the order statistics that hold it with confidence 1 - alpha whatever the distribution; the
    extremes where there are too few values for that."""
    ordered = sorted(values)
    n = len(ordered)

    def fewer(k: int) -> float:
        """P(fewer than k of the n values lie below the quantile)."""
        return 1 - beta_cdf(quantile, k, n - k + 1) if k else 0.0

    low = bisect.bisect_right(range(n + 1), alpha / 2, key=fewer) - 1
    high = bisect.bisect_left(range(n + 1), 1 - alpha / 2, key=fewer)
    return Interval(ordered[min(n - 1, int(quantile * n))], ordered[max(0, low - 1)], ordered[min(n, high) - 1])


def student_t(probability: float, degrees: int) -> float:
    """The quantile of Student's t distribution, for probabilities of a half or more."""

    def tail(x: float) -> float:
        """P(T > t) by x = degrees / (degrees + t²)."""
        return 0.5 * beta_cdf(x, degrees / 2, 0.5)

    x = _bisect(tail, 1 - probability)
    return math.sqrt(degrees * (1 - x) / x)


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Abramowitz and Stegun 26.5.8; Lentz)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    total = d
    for m in range(1, 10_000):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / ((1 + factor * d) or tiny)
            c = (1 + factor / c) or tiny
            total *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * total


def _bisect(rising: Callable[[float], float], target: float) -> float:
    """Where a rising function of 0 to 1 reaches the target."""
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if rising(middle) < target:
            low = middle
        else:
            high = middle
    return (low + high) / 2
