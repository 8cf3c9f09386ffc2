"""Confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z_95 = 1.959963984540054  # the normal distribution's 97.5 % quantile


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """The Wilson score interval of a success probability, 95 % by default.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference", JASA 22, without continuity
    correction: unlike the normal interval it holds near 0 and 1 and for few trials.

    Raises:
        ValueError: no trials, or successes outside 0 to `trials`.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials have no interval")
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = interval_half(share, trials, z)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high


def interval_half(share: float, trials: int, z: float = Z_95) -> float:
    """Half the width of the Wilson score interval at a share, 0 to 1, of so many trials."""
    return z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))


def jobs_needed(share: float, half: float, z: float = Z_95) -> int:
    """The fewest trials of which the Wilson score interval at a share reaches no farther than `half` to each side.

    Solves `interval_half(share, n) = half`, squared, for n: h^2 n^2 + z^2 (2 h^2 - q) n + z^4 (h^2 - 1/4) = 0, with q
    = share (1 - share).
    """
    a, b, c = half**2, z**2 * (2 * half**2 - share * (1 - share)), z**4 * (half**2 - 0.25)
    n = max(1, math.floor((-b + math.sqrt(max(0.0, b * b - 4 * a * c))) / (2 * a)))
    return n if interval_half(share, n) <= half else n + 1


def mean_of_shares_interval(successes: Sequence[int], trials: Sequence[int], z: float = Z_95) -> tuple[float, float]:
    """The normal interval of the mean of several groups' success probabilities, 95 % by default.

    Each group's variance is that of Agresti and Coull's (1998) "add two successes and two failures", American
    Statistician 52: a group that only succeeded, of few trials, still has one.

    Raises:
        ValueError: no group, or a group without trials.
    """
    if not trials or min(trials) < 1:
        raise ValueError("groups without trials have no interval")
    pairs = list(zip(successes, trials, strict=True))
    mean = sum(right / n for right, n in pairs) / len(pairs)
    shares = [((right + 2) / (n + 4), n + 4) for right, n in pairs]
    half = z * math.sqrt(sum(share * (1 - share) / n for share, n in shares)) / len(pairs)
    return max(0.0, mean - half), min(1.0, mean + half)
