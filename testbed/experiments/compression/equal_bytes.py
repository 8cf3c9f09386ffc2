"""Two methods at equal measured bytes: the difference of their accuracies, paired by photograph and seed.

A method's accuracy at a number of bytes is interpolated, photograph by photograph and linearly in log bytes, between
its two operating points next to it (a point lies at its mean bytes over that seed's photographs). Points that are
larger and no better than another are left out, as nobody would use them. Which these are is decided on the validation
photographs, so that a method gains nothing by having many.
Analogue samples count as the bytes that their channel could carry in the same time.

Nothing is extrapolated. At a budget of bytes the first method never gets more bytes than the second:

- smaller than the second's smallest point: the second gets that point, although it is larger;
- larger than the second's largest point: the second gets that point, and the first no more bytes than it has;
- larger than the first's largest point: the first gets that point, the second the whole budget;
- smaller than the first's smallest point: both get its bytes, which are over the budget: that shows nothing for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from testbed.experiments.compression.studies import Point
from testbed.experiments.paired import Floats, Interval, bootstrap

BUDGETS = (100.0, 140.0, 200.0, 280.0, 400.0, 560.0, 800.0, 1120.0, 1600.0, 2000.0)
"""Bytes a photograph at which methods are compared."""


class AtBudget(msgspec.Struct, frozen=True):
    """The first method against the second at one budget; bytes and accuracies are means over seeds."""

    budget: float
    bytes_of_first: float
    bytes_of_second: float
    accuracy_of_first: float
    accuracy_of_second: float
    difference: Interval

    @property
    def within_budget(self) -> bool:
        """Whether the first has a point so small."""
        return self.bytes_of_first <= self.budget * (1 + 1e-9)

    @property
    def above(self) -> bool:
        """Whether the first is above, not by chance and within the budget."""
        return self.within_budget and self.difference.low > 0

    @property
    def below(self) -> bool:
        """Whether the first is below, not by chance."""
        return self.difference.high < 0


class Comparison(msgspec.Struct, frozen=True):
    """The first method against the second over several budgets, and the mean of the differences."""

    seeds: int
    photographs: int
    at: tuple[AtBudget, ...]
    mean: Interval

    @property
    def distinct(self) -> list[AtBudget]:
        """Without the budgets at which both methods have what they have at the one before."""
        before = [None, *((at.bytes_of_first, at.bytes_of_second) for at in self.at)]
        return [
            at for at, last in zip(self.at, before, strict=False) if (at.bytes_of_first, at.bytes_of_second) != last
        ]


class _Curve(NamedTuple):
    """A method in one seed: its points' bytes, ascending, and their answers `[points, photographs]`."""

    sizes: Floats
    answers: Floats

    def at(self, size: float) -> Floats:
        """`[photographs]`: right answers at so many bytes, those of the first or last point beyond them."""
        after = int(np.searchsorted(self.sizes, size))
        if after == 0 or after == len(self.sizes):
            nearest: Floats = self.answers[min(after, len(self.sizes) - 1)]
            return nearest
        share = np.log(size / self.sizes[after - 1]) / np.log(self.sizes[after] / self.sizes[after - 1])
        between: Floats = (1 - share) * self.answers[after - 1] + share * self.answers[after]
        return between


def compare(first: Sequence[Point], second: Sequence[Point], budgets: Sequence[float]) -> Comparison | None:
    """The first method's points against the second's; of each, the points that the most seeds have.

    None if they have no seed in common, or the first's smallest point is larger than the second's largest in one.
    """
    first, second = _of_most_seeds(first), _of_most_seeds(second)
    if not first or not second or not budgets:
        return None
    seeds = np.flatnonzero(np.all([point.seeds for point in (*first, *second)], axis=0)).tolist()
    if len(seeds) == 0:
        return None
    photographs = first[0].right.shape[1]
    answers = np.full((2, len(budgets), len(seeds), photographs), np.nan)
    sizes = np.full(answers.shape[:3], np.nan)
    ours, theirs = frontier(first), frontier(second)
    for row, seed in enumerate(seeds):
        one, other = _curve(ours, seed), _curve(theirs, seed)
        if one.sizes[0] > other.sizes[-1]:
            return None
        for column, budget in enumerate(budgets):
            size, size_of_other = _allotted(budget, one.sizes, other.sizes)
            answers[0, column, row], answers[1, column, row] = one.at(size), other.at(size_of_other)
            sizes[0, column, row], sizes[1, column, row] = size, size_of_other
    differences = answers[0] - answers[1]
    at = tuple(
        AtBudget(
            budget,
            float(sizes[0, column].mean()),
            float(sizes[1, column].mean()),
            float(answers[0, column].mean()),
            float(answers[1, column].mean()),
            bootstrap(differences[column]),
        )
        for column, budget in enumerate(budgets)
    )
    return Comparison(len(seeds), photographs, at, bootstrap(differences.mean(axis=0)))


def budgets_between(first: Sequence[Point], second: Sequence[Point]) -> tuple[float, ...]:
    """Budgets for which both have points in every seed, in steps of a factor of about the square root of 2.

    Where there are none, the first's smallest point alone.
    """
    one, other = _range(first), _range(second)
    least, most = max(one[0], other[0]), min(one[1], other[1])
    if least >= most:
        return (one[0],)
    steps = max(1, round(2 * math.log2(most / least)))
    return tuple(least * (most / least) ** (step / steps) for step in range(steps + 1))


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that are better, on the validation photographs, than every smaller one; by their bytes."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: (point.carried_bytes, -point.validation_accuracy)):
        if not kept or point.validation_accuracy > kept[-1].validation_accuracy:
            kept.append(point)
    return kept


def _range(points: Sequence[Point]) -> tuple[float, float]:
    """Bytes of the smallest and of the largest point, in the seed where they are closest together."""
    ordered = sorted(points, key=lambda point: point.carried_bytes)
    return float(np.nanmax(ordered[0].carried_of_seeds)), float(np.nanmin(ordered[-1].carried_of_seeds))


def _of_most_seeds(points: Sequence[Point]) -> list[Point]:
    most = max((int(point.seeds.sum()) for point in points), default=0)
    return [point for point in points if point.seeds.sum() == most]


def _curve(points: Sequence[Point], seed: int) -> _Curve:
    ordered = sorted(points, key=lambda point: float(point.carried_of_seeds[seed]))
    sizes = np.array([point.carried_of_seeds[seed] for point in ordered])
    return _Curve(sizes, np.array([point.right[seed] for point in ordered]))


def _allotted(budget: float, ours: Floats, theirs: Floats) -> tuple[float, float]:
    """The bytes that each method gets at a budget, of what it has points for."""
    size = min(max(min(budget, ours[-1]), ours[0]), theirs[-1])
    return float(size), float(min(max(budget, size, theirs[0]), theirs[-1]))
