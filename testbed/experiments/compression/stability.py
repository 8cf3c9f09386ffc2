"""How stable the channels' importance is: across classes, from seed to seed, and from one ranking to another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from testbed.aecnn.outcomes import Ranking
from testbed.experiments.paired import Floats


class Stability(msgspec.Struct, frozen=True):
    """One ranking of one split's channels; means over seeds. What cannot be told is None.

    Correlations are Spearman's, of importances. An overlap is the share of the `k` most important channels that two
    lists of them have in common; by chance it is `k` over the number of channels.
    """

    split: str
    by: str
    seeds: int
    channels: int
    with_classes: float | None  # correlation of each class's importances with those over all photographs
    least_class: float | None  # the least of these
    between_seeds: float | None  # correlation of two seeds' importances
    with_attention: float | None  # correlation with the ranking by attention
    overlaps: dict[int, float | None]  # by k, of each class's list with that over all photographs
    spread: float  # 90th over 10th percentile of the importances over all photographs


def stabilities(
    rankings: Sequence[Sequence[Ranking]], kept_channels: Mapping[str, Sequence[int]]
) -> tuple[Stability, ...]:
    """Every ranking of every split, `rankings` being those of each seed, `kept_channels` the lists' lengths."""
    found: dict[tuple[str, str], list[Ranking]] = defaultdict(list)
    attention: dict[str, list[Ranking | None]] = defaultdict(list)
    for of_seed in rankings:
        by_key: dict[tuple[str, str], Ranking] = {}
        for ranking in of_seed:
            by_key.setdefault((ranking.split, ranking.by), ranking)  # the first is that of what is shipped
        for key, ranking in by_key.items():
            found[key].append(ranking)
            attention[f"{key}"].append(by_key.get((ranking.split, "attention")))
    return tuple(
        _stability(key, each, attention[f"{key}"], kept_channels.get(key[0], ())) for key, each in found.items()
    )


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; 0 where all of a list are tied."""
    ranks_a, ranks_b = _ranks(np.asarray(a)), _ranks(np.asarray(b))
    ranks_a, ranks_b = ranks_a - ranks_a.mean(), ranks_b - ranks_b.mean()
    scale = float(np.sqrt((ranks_a**2).sum() * (ranks_b**2).sum()))
    return float((ranks_a * ranks_b).sum()) / scale if scale else 0.0


def overlap(a: ArrayLike, b: ArrayLike, k: int) -> float:
    """Share of the `k` greatest of `a` that are among the `k` greatest of `b`; of equal ones the first count."""
    return len(_top(np.asarray(a), k) & _top(np.asarray(b), k)) / k


def _stability(
    key: tuple[str, str], each: Sequence[Ranking], attention: Sequence[Ranking | None], lengths: Sequence[int]
) -> Stability:
    split, by = key
    channels = len(each[0].importances)
    classes = [(ranking.importances, of_class) for ranking in each for of_class in ranking.of_classes]
    correlations = [spearman(whole, of_class) for whole, of_class in classes]
    pairs = [spearman(a.importances, b.importances) for a, b in combinations(each, 2)]
    others = [(ranking, other) for ranking, other in zip(each, attention, strict=True) if other is not None]
    with_attention = [spearman(ranking.importances, other.importances) for ranking, other in others]
    tenths = [np.percentile(ranking.importances, [10, 90]) for ranking in each]
    return Stability(
        split,
        by,
        len(each),
        channels,
        _mean(correlations),
        min(correlations, default=None),
        _mean(pairs),
        _mean(with_attention) if by != "attention" else None,
        {k: _mean([overlap(whole, of_class, k) for whole, of_class in classes]) for k in lengths if k < channels},
        float(np.mean([high / low if low > 0 else np.inf for low, high in tenths])),
    )


def _ranks(values: Floats) -> Floats:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def _top(values: Floats, k: int) -> set[int]:
    return set(np.argsort(-values, kind="stable")[:k].tolist())


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
