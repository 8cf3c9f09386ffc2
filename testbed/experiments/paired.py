"""Paired comparisons: what several seeds say over the same photographs, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.95
DRAWS = 10_000
SEED = 20240101

STUDENT_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""97.5 % quantiles of Student's t with 1 to 10 degrees of freedom."""


class Interval(msgspec.Struct, frozen=True):
    """A mean with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def undecided(self) -> bool:
        """Whether the interval includes zero."""
        return self.low <= 0 <= self.high

    def __neg__(self) -> Interval:
        return Interval(-self.value, -self.high, -self.low)


def bootstrap(values: Floats) -> Interval:
    """The mean of `values`, `[seeds, photographs]`, with the percentile interval of a bootstrap over both.

    Photographs are drawn jointly for all seeds, as they are the same for all; seeds are drawn too, one fewer than there
    are, which makes the variance of their mean unbiased for few (McCarthy and Snowden, "The bootstrap and finite
    population sampling", 1985). Drawing both factors errs to the wide side (Owen, "The pigeonhole bootstrap", Annals of
    Applied Statistics 1, 2007). With one seed the interval is over photographs alone. The draws are always the same.
    """
    seeds, photographs = values.shape
    of_seeds, of_photographs = _weights(seeds, photographs)
    means = np.einsum("ds,ds->d", of_photographs @ values.T, of_seeds)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean of a figure that each seed gives, with Student's interval: no bounds for a single seed."""
    n = len(values)
    mean = float(np.mean(values))
    if n < 2:
        return Interval(mean, -math.inf, math.inf)
    half = STUDENT_975[min(n - 1, len(STUDENT_975)) - 1] * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)


@lru_cache(maxsize=4)
def _weights(seeds: int, photographs: int) -> tuple[Floats, Floats]:
    """Shares of each seed `[draws, seeds]` and of each photograph `[draws, photographs]` in each draw."""
    rng = np.random.default_rng(SEED)
    drawn = max(1, seeds - 1)
    of_seeds = rng.multinomial(drawn, np.full(seeds, 1 / seeds), DRAWS) / drawn
    of_photographs = rng.multinomial(photographs, np.full(photographs, 1 / photographs), DRAWS) / photographs
    return of_seeds, of_photographs
