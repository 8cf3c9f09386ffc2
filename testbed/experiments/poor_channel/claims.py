"""The paper's claims on completion times, each with a verdict and its figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from testbed.experiments.findings import HOLDS, UNDECIDED, Finding, verdict_of
from testbed.experiments.paired import over_seeds
from testbed.experiments.poor_channel.crossovers import Crossover
from testbed.experiments.poor_channel.methods import Method
from testbed.experiments.poor_channel.outcomes import Outcome, Outcomes
from testbed.experiments.poor_channel.results import in_milliseconds, in_rates
from testbed.experiments.poor_channel.settings import RATE

FULL = ("full, raw", "full, JPEG")
HEADLINE = "AECNN 256x"


def claims(outcomes: Outcomes, methods: Sequence[Method], crossovers: Sequence[Crossover]) -> tuple[Finding, ...]:
    """The papers': AECNN finishes earlier than full offloading, above all on a poor channel; it beats BottleNet++."""
    return (
        *(_earlier(outcomes, methods, full) for full in FULL if any(method.name == full for method in methods)),
        *_more_when_poorer(outcomes, methods, crossovers),
        *_beats_rival(outcomes, methods),
    )


def fastest_of_ours(outcomes: Outcomes, methods: Sequence[Method], rate: float) -> str | None:
    """The 256x point with the shortest median at a rate."""
    found = {
        method.name: interval.value
        for method in methods
        if method.name.startswith(HEADLINE)
        and (interval := outcomes.interval(RATE, rate, method.name, lambda row: row.median_ms))
    }
    return min(found, key=found.__getitem__, default=None)


def _earlier(outcomes: Outcomes, methods: Sequence[Method], full: str) -> Finding:
    """At the poorest rate at which both have jobs."""
    claim = f"{HEADLINE} finishes earlier than {full} offloading on a poor channel"
    for rate in outcomes.values(RATE):
        ours = fastest_of_ours(outcomes, methods, rate)
        theirs = outcomes.of(RATE, rate, full)
        if ours and theirs:
            mine = outcomes.of(RATE, rate, ours)
            lead = over_seeds([math.log(b.median_ms / a.median_ms) for a, b in zip(mine, theirs, strict=False)])
            times = [over_seeds([row.median_ms for row in rows]) for rows in (mine, theirs)]
            verdict = UNDECIDED if not math.isfinite(lead.low) else verdict_of(lead)
            said = f"{ours} {in_milliseconds(times[0])} ms, {full} {in_milliseconds(times[1])} ms"
            return Finding(claim, verdict, f"at {rate:g} Mbit/s: {said}")
    return Finding(claim, UNDECIDED, "no rate at which both have jobs")


def _more_when_poorer(outcomes: Outcomes, methods: Sequence[Method], crossovers: Sequence[Crossover]) -> list[Finding]:
    return [
        Finding(
            f"{one.ours} gains over {one.theirs} offloading as the channel gets poorer",
            HOLDS if one.ever and one.below and not one.above else UNDECIDED if one.ever else "does not hold",
            f"finishes earlier {in_rates(one)}",
        )
        for one in crossovers
        if one.theirs in FULL and one.ours.startswith(HEADLINE)
    ]


def _beats_rival(outcomes: Outcomes, methods: Sequence[Method]) -> list[Finding]:
    """At like bytes after the same split: more often right. Photographs are those of each device."""
    found = []
    for rival in (method for method in methods if method.like):
        accuracies = [_accuracies(outcomes, name) for name in (rival.like, rival.name) if name]
        if all(accuracies):
            lead = over_seeds([ours - theirs for ours, theirs in zip(*accuracies, strict=False)])
            means = [over_seeds(one).value for one in accuracies]
            verdict = UNDECIDED if not math.isfinite(lead.low) else verdict_of(lead)
            said = f"{100 * means[0]:.1f} % against {100 * means[1]:.1f} %"
            found.append(Finding(f"{rival.like} is more accurate than BottleNet++ at the same bytes", verdict, said))
    return found


def _accuracies(outcomes: Outcomes, method: str) -> list[float]:
    """Of each repetition, over all its phases."""
    by_seed: dict[int, list[Outcome]] = {}
    for row in outcomes.rows:
        if row.method == method and row.jobs:
            by_seed.setdefault(row.seed, []).append(row)
    return [sum(int(row.correct.sum()) for row in rows) / sum(row.jobs for row in rows) for rows in by_seed.values()]
