"""The rates at which one method begins to finish earlier than another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from testbed.experiments.paired import Interval, over_seeds
from testbed.experiments.poor_channel.outcomes import Outcomes
from testbed.experiments.poor_channel.settings import RATE


class Crossover(msgspec.Struct, frozen=True):
    """Where `ours` finishes earlier than `theirs`, by the median: below a rate, above one, or between two; Mbit/s.

    Interpolated between the rates tried: a completion time is about a constant plus bits over the rate, so that the
    difference is linear in the seconds per bit. None: no bound among them. `ever` says whether it finishes earlier at
    any rate tried.
    """

    ours: str
    theirs: str
    ever: bool
    above: Interval | None = None
    below: Interval | None = None


def crossover(outcomes: Outcomes, ours: str, theirs: str) -> Crossover | None:
    """Where the medians cross, each repetition by itself; None where one of both has no jobs.

    A bound that not every repetition has is left out of the interval of those that do not have it.
    """
    seeds = sorted({row.seed for row in outcomes.rows})
    found = [one for seed in seeds if (one := _of_seed(outcomes, ours, theirs, seed)) is not None]
    if not found:
        return None
    above = [low for low, high in found if low < high and low > 0]
    below = [high for low, high in found if low < high < math.inf]
    return Crossover(
        ours,
        theirs,
        any(low < high for low, high in found),
        over_seeds(above) if above else None,
        over_seeds(below) if below else None,
    )


def earlier_between(rates: Sequence[float], differences: Sequence[float]) -> tuple[float, float]:
    """The rates between which a method is earlier, given by how much it is later at ascending rates; 0 or infinite: as
    far as was tried; the second not above the first: nowhere."""
    earlier = [place for place, difference in enumerate(differences) if difference < 0]
    if not earlier:
        return math.inf, 0.0
    first, last = earlier[0], earlier[-1]
    low = 0.0 if first == 0 else _equal_at(rates, differences, first - 1)
    high = math.inf if last == len(rates) - 1 else _equal_at(rates, differences, last)
    return low, high


def _of_seed(outcomes: Outcomes, ours: str, theirs: str, seed: int) -> tuple[float, float] | None:
    rates, differences = [], []
    for rate in outcomes.values(RATE):
        both = [[row for row in outcomes.of(RATE, rate, name) if row.seed == seed] for name in (ours, theirs)]
        if all(both):
            rates.append(rate)
            differences.append(both[0][0].median_ms - both[1][0].median_ms)
    return earlier_between(rates, differences) if rates else None


def _equal_at(rates: Sequence[float], differences: Sequence[float], place: int) -> float:
    """Where the difference between two neighbouring rates is zero, linear in their inverses."""
    x0, x1 = (1 / rate for rate in rates[place : place + 2])
    y0, y1 = differences[place : place + 2]
    return 1 / (x0 + (x1 - x0) * y0 / (y0 - y1))
