"""The claims on compression: the paper's, and this project's own goals, each with a verdict and its figures.

A claim holds or does not where the 95 % interval says so, and is undecided where the interval includes zero. A goal is
reached or missed by the mean over the seeds, and it is said where the goal lies within the interval.

AECNN is taken as shipped (variant ""), a rival with every variant it was trained in, each where it is best.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from testbed.experiments.compression.convergence import Convergence, convergences
from testbed.experiments.compression.equal_bytes import (
    BUDGETS,
    AtBudget,
    Comparison,
    budgets_between,
    compare,
)
from testbed.experiments.compression.studies import NAMES, Point, Studies
from testbed.experiments.findings import FAILS, HOLDS, MISSED, REACHED, UNDECIDED, Finding, verdict_of
from testbed.experiments.paired import Floats, Interval, bootstrap
from testbed.jobs.decision import SPLITS

CLAIMED_RATIO, CLAIMED_LOSS = 256, 0.04
ACCURACY_GOAL = 0.92
LOSS_GOALS = {256: 0.015, 512: 0.03}
LEAST_SEEDS = 3
RIVALS = ("bottlenet++", "jpeg", "webp")


def claims(studies: Studies) -> tuple[Finding, ...]:
    """The paper's."""
    return (
        *(finding for variant in ("", "plain") for finding in _compressed_at(studies, variant)),
        *_beyond_bottlenet(studies),
        *(_converges(one) for one in convergences(studies.curves)),
    )


def goals(studies: Studies) -> tuple[Finding, ...]:
    """This project's."""
    return (
        _uncompressed(studies),
        *(_loss_at(studies, ratio, most) for ratio, most in LOSS_GOALS.items()),
        *(_above(studies, rival) for rival in RIVALS),
    )


def best_of(points: Sequence[Point]) -> Point:
    """The most accurate of some points, on the validation photographs."""
    return max(points, key=lambda point: point.validation_accuracy)


def loss(studies: Studies, right: Floats) -> Interval:
    """Accuracy of the uncompressed network less that of these answers, on the seeds that have both."""
    lost = studies.uncompressed.right - right
    return bootstrap(lost[~np.isnan(lost[:, 0])])


def percent(share: float) -> str:
    """A share as tables have it."""
    return f"{100 * share:.1f} %"


def in_points(interval: Interval, sign: str = "+") -> str:
    """An interval in percentage points."""
    if not np.isfinite(interval.low):
        return f"{100 * interval.value:{sign}.1f} (one seed: no interval)"
    return f"{100 * interval.value:{sign}.1f} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def whole(number: float) -> str:
    """A number of bytes, or a ratio."""
    return f"{number:,.0f}"


def seeds_in_words(seeds: int) -> str:
    """How many there are."""
    return f"{seeds} seed" + ("s" if seeds != 1 else "")


def verdict_over(comparison: Comparison) -> str:
    """Of the claim that the first method is above at every budget. It fails where it is below at one."""
    if all(at.above for at in comparison.at):
        return HOLDS
    return FAILS if any(at.below for at in comparison.at) else UNDECIDED


def in_words(comparison: Comparison) -> str:
    """Where the first method is above, below or neither."""
    spans = []
    for what, group in groupby(comparison.at, _standing):
        each = list(group)
        first, last = whole(each[0].budget), whole(each[-1].budget)
        spans.append(f"{what} at {first}" + (f" to {last}" if len(each) > 1 else ""))
    least, most = (bound(at.bytes_of_second for at in comparison.at) for bound in (min, max))
    short = least > 1.01 * comparison.at[0].budget or most < 0.99 * comparison.at[-1].budget
    return (
        f"{', '.join(spans)} bytes"
        + (f" (the rival's useful points have {whole(least)} to {whole(most)})" if short else "")
        + f"; {in_points(comparison.mean)} points over all "
        f"({seeds_in_words(comparison.seeds)}, {comparison.photographs} photographs)"
    )


def _standing(at: AtBudget) -> str:
    if at.below:
        return "below"
    if not at.within_budget:
        return "no point so small"
    return "above" if at.above else "within error"


def _compressed_at(studies: Studies, variant: str) -> list[Finding]:
    """More than 256x, once by the nominal ratio and once by the bytes sent."""
    named = f"AECNN, {variant or 'as shipped'}"
    points = studies.of("aecnn", variant=variant)
    if variant and not points:
        return []
    claim = f"{named}: {CLAIMED_RATIO}x or more ({{}}) at a loss of about {100 * CLAIMED_LOSS:.0f} points"
    nominal = [point for point in points if (point.nominal_ratio or 0) >= CLAIMED_RATIO]
    measured = [point for point in points if (studies.measured_ratio(point) or 0) > CLAIMED_RATIO]
    return [
        _loss_claim(studies, claim.format("nominal"), nominal),
        _loss_claim(studies, claim.format("measured, header included"), measured),
    ]


def _loss_claim(studies: Studies, claim: str, points: Sequence[Point]) -> Finding:
    if not points:
        return Finding(claim, UNDECIDED, "the studies have no such operating point")
    lost, figures = _loss_of(studies, points)
    beyond = Interval(CLAIMED_LOSS - lost.value, CLAIMED_LOSS - lost.high, CLAIMED_LOSS - lost.low)
    return Finding(claim, verdict_of(beyond), figures)


def _loss_of(studies: Studies, points: Sequence[Point]) -> tuple[Interval, str]:
    best = best_of(points)
    lost = loss(studies, best.right)
    described = (
        f"{best.label}: {whole(best.mean_bytes)} bytes, nominal {whole(best.nominal_ratio or 0)}x, "
        f"measured {whole(studies.measured_ratio(best) or 0)}x"
    )
    return lost, f"loss of {in_points(lost, '')} points ({described}; {seeds_in_words(int(best.seeds.sum()))})"


def _beyond_bottlenet(studies: Studies) -> list[Finding]:
    """At equal measured bytes, at each depth."""
    claim = "AECNN above BottleNet++ at equal measured bytes, both split after {}"
    found = []
    for split in SPLITS:
        ours, theirs = studies.of("aecnn", split=split, variant=""), studies.of("bottlenet++", split=split)
        if not ours or not theirs:
            continue
        found.append(_compared(claim.format(split), compare(ours, theirs, budgets_between(ours, theirs))))
    return found or [Finding(claim.format("the same stage"), UNDECIDED, "the studies have no BottleNet++")]


def _converges(one: Convergence) -> Finding:
    return Finding(
        f"Step by step converges faster than end to end at equal passes: {one.what}",
        verdict_of(one.lead),
        f"{in_points(one.lead)} points of accuracy, mean over the passes; {in_points(one.lead_at_end)} after the last; "
        f"{one.passes_step_by_step:.1f} against {one.passes_end_to_end:.1f} passes to within a point of the lower end "
        f"({seeds_in_words(one.seeds)})",
    )


def _uncompressed(studies: Studies) -> Finding:
    accuracy = bootstrap(studies.uncompressed.right)
    beyond = Interval(accuracy.value - ACCURACY_GOAL, accuracy.low - ACCURACY_GOAL, accuracy.high - ACCURACY_GOAL)
    figures = f"{in_points(accuracy, '')} %, {seeds_in_words(len(studies.seeds))}, {studies.photographs} photographs"
    return _goal(studies, f"Uncompressed at least {percent(ACCURACY_GOAL)}", beyond, figures)


def _loss_at(studies: Studies, ratio: int, most: float) -> Finding:
    goal = f"AECNN at {ratio}x nominal loses at most {100 * most:.1f} points"
    points = [point for point in studies.of("aecnn", variant="") if (point.nominal_ratio or 0) >= ratio]
    if not points:
        return Finding(goal, MISSED, "the studies have no such operating point")
    lost, figures = _loss_of(studies, points)
    return _goal(studies, goal, Interval(most - lost.value, most - lost.high, most - lost.low), figures)


def _above(studies: Studies, rival: str) -> Finding:
    goal = f"AECNN above {NAMES[rival]} from {whole(BUDGETS[0])} to {whole(BUDGETS[-1])} bytes"
    return _compared(goal, compare(studies.of("aecnn", variant=""), studies.of(rival), BUDGETS))


def _compared(claim: str, comparison: Comparison | None) -> Finding:
    if comparison is None:
        return Finding(claim, UNDECIDED, "the studies have no points to compare")
    return Finding(claim, verdict_over(comparison), in_words(comparison))


def _goal(studies: Studies, goal: str, beyond: Interval, figures: str) -> Finding:
    verdict = REACHED if beyond.value >= 0 else MISSED
    if beyond.undecided:
        verdict += ", within error"
    if len(studies.seeds) < LEAST_SEEDS:
        verdict += f" (fewer than {LEAST_SEEDS} seeds)"
    return Finding(goal, verdict, figures)
