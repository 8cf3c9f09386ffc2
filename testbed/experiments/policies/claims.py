"""The paper's claims on policies, and this project's goals, each with a verdict and its figures.

Policies met the same slots, so that claims are judged by the differences, seed by seed: a claim holds or does not
where their 95 % interval says so, and is undecided where it includes zero. Goals ask more: intervals that do not
overlap.
"""

from __future__ import annotations

from collections.abc import Sequence

from testbed.experiments.findings import UNDECIDED, Finding, in_figures, reached, verdict_of
from testbed.experiments.paired import over_seeds
from testbed.experiments.policies.methods import DROO, METHODS, OURS
from testbed.experiments.policies.outcomes import AT_DEFAULTS, AT_OPTIMUM, EXHAUSTIVE, Outcomes, ahead
from testbed.experiments.policies.settings import DEFAULTS, DEVICES, OPTIMUM

CLAIMED_OVER = (DROO, "GRL-BottleNet++", "GRL-DeepJSCC")
METRICS = {"accuracy": "average accuracy", "success": "success probability", "throughput_per_s": "throughput"}
OPTIMUM_GOAL = 0.98
SIZE_GOAL = 0.03


def claims(outcomes: Outcomes) -> tuple[Finding, ...]:
    """The paper's: GRL-AECNN above its three rivals in three metrics."""
    return tuple(_claimed(outcomes, rival, metric, said) for rival in CLAIMED_OVER for metric, said in METRICS.items())


def goals(outcomes: Outcomes) -> tuple[Finding, ...]:
    """This project's."""
    rivals = [method.name for method in METHODS if method.name != OURS]
    return (
        _near_optimum(outcomes),
        *(_above(outcomes, rival) for rival in rivals if rival in outcomes.methods(AT_DEFAULTS)),
        *(_elsewhere(outcomes, size) for size in _sizes(outcomes)),
    )


def _claimed(outcomes: Outcomes, rival: str, metric: str, said: str) -> Finding:
    claim = f"GRL-AECNN above {rival} in {said}"
    ours, theirs = (outcomes.values(AT_DEFAULTS, 0, name, metric) for name in (OURS, rival))
    lead = ahead(ours, theirs)
    if lead is None:
        return Finding(claim, UNDECIDED, f"not judged: the profile has no options of {rival}")
    means = f"{in_figures(over_seeds(ours))} against {in_figures(over_seeds(theirs))}; ahead by {in_figures(lead)}"
    return Finding(claim, verdict_of(lead), means)


def _near_optimum(outcomes: Outcomes) -> Finding:
    goal = f"GRL-AECNN at least {OPTIMUM_GOAL} of the optimum at {OPTIMUM.devices} devices and {OPTIMUM.edges} edges"
    best = outcomes.values(AT_OPTIMUM, OPTIMUM.devices, EXHAUSTIVE, "estimated_reward")
    told = []
    verdict = UNDECIDED
    for at, said in ((OPTIMUM.devices, "trained there"), (DEFAULTS.devices, f"trained at {DEFAULTS.devices}")):
        ours = outcomes.values(AT_OPTIMUM, OPTIMUM.devices, OURS, "estimated_reward", at)
        if best and len(ours) == len(best):
            share = over_seeds([one / most for one, most in zip(ours, best, strict=True)])
            told.append(f"{said}: {in_figures(share, 4)}")
            if at == OPTIMUM.devices:
                verdict = reached(share.value >= OPTIMUM_GOAL)
    return Finding(goal, verdict, "; ".join(told) or "not judged")


def _above(outcomes: Outcomes, rival: str) -> Finding:
    goal = f"GRL-AECNN above {rival} in reward at the defaults, the intervals apart"
    ours, theirs = (outcomes.interval(AT_DEFAULTS, 0, name, "reward") for name in (OURS, rival))
    assert ours is not None and theirs is not None
    return Finding(goal, reached(ours.low > theirs.high), f"{in_figures(ours)} against {in_figures(theirs)}")


def _elsewhere(outcomes: Outcomes, size: int) -> Finding:
    goal = (
        f"Trained at {DEFAULTS.devices} devices, run at {size}: at most {SIZE_GOAL:.0%} below trained there, in reward"
    )
    ours = outcomes.values(DEVICES, size, OURS, "reward", DEFAULTS.devices)
    there = outcomes.values(DEVICES, size, OURS, "reward", size)
    share = over_seeds([one / other for one, other in zip(ours, there, strict=True)])
    return Finding(goal, reached(share.value >= 1 - SIZE_GOAL), f"{in_figures(share, 4)} of it")


def _sizes(outcomes: Outcomes) -> Sequence[int]:
    return sorted(
        {
            row.trained_at
            for row in outcomes.rows
            if (row.sweep, row.method) == (DEVICES, OURS) and row.trained_at not in (None, DEFAULTS.devices)
        }
    )
