"""How soon trainings get where: step by step against end to end, at equal passes over the training photographs."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
import numpy as np

from testbed.aecnn.outcomes import REFERENCE, Curve
from testbed.experiments.paired import Floats, Interval, over_seeds

STEPS, WHOLE = "step by step", "end to end"
"""The two ways, as the names of curves end."""

MARGIN = 0.01
"""How far below the lower of the two final accuracies the mark lies that both have to reach."""


class Convergence(msgspec.Struct, frozen=True):
    """One thing trained in both ways, over the seeds that have both curves."""

    what: str
    seeds: int
    lead: Interval  # accuracy of step by step less that of end to end, mean over the passes that both made
    lead_at_end: Interval  # after the last of these passes
    passes_step_by_step: float  # until the mark was reached, mean over seeds
    passes_end_to_end: float
    fewer: Interval  # passes that step by step needs less


def convergences(curves: Sequence[Sequence[Curve]]) -> tuple[Convergence, ...]:
    """Every pair of curves, `curves` being those of each seed."""
    of_seeds = [curves_by_name(of_seed) for of_seed in curves]
    compared = []
    for what in sorted({what for found in of_seeds for what, _ in found}):
        pairs = [(found.get((what, STEPS)), found.get((what, WHOLE))) for found in of_seeds]
        both = [(steps, whole) for steps, whole in pairs if steps and whole]
        if both:
            compared.append(_convergence(what, both))
    return tuple(compared)


def curves_by_name(curves: Sequence[Curve]) -> dict[tuple[str, str], Curve]:
    """Curves by what was trained and in which way.

    A name that ends in neither way is of step by step, the reference's rather than what is shipped, which may be
    trained for longer. What joins the words of a name does not matter.
    """
    found = {}
    for curve in sorted(curves, key=lambda curve: curve.name.endswith(REFERENCE)):
        words = re.sub(r"[-.]", " ", curve.name).removesuffix(f" {REFERENCE}")
        way = WHOLE if words.endswith(f" {WHOLE}") else STEPS
        found[words.removesuffix(f" {way}"), way] = curve
    return found


def accuracy_after(curve: Curve, passes: Floats) -> Floats:
    """Accuracy after so many passes, linear between records; 0 before the first, when there was nothing to use."""
    return np.interp(passes, curve.passes, curve.accuracy, left=0.0)


def passes_until(curve: Curve, accuracy: float) -> float:
    """Passes until the curve first reaches an accuracy, linear between records; infinite if it never does."""
    reached = np.flatnonzero(np.asarray(curve.accuracy) >= accuracy)
    if len(reached) == 0:
        return float("inf")
    at = int(reached[0])
    if at == 0:
        return curve.passes[0]
    rise = (accuracy - curve.accuracy[at - 1]) / (curve.accuracy[at] - curve.accuracy[at - 1])
    return curve.passes[at - 1] + rise * (curve.passes[at] - curve.passes[at - 1])


def _convergence(what: str, both: Sequence[tuple[Curve, Curve]]) -> Convergence:
    leads, leads_at_end, needed = [], [], []
    for steps, whole in both:
        last = min(steps.passes[-1], whole.passes[-1])
        passes = np.linspace(min(steps.passes[0], whole.passes[0]), last, 501)
        difference = accuracy_after(steps, passes) - accuracy_after(whole, passes)
        leads.append(float(difference.mean()))
        leads_at_end.append(float(difference[-1]))
        mark = min(steps.accuracy[-1], whole.accuracy[-1]) - MARGIN
        needed.append((passes_until(steps, mark), passes_until(whole, mark)))
    return Convergence(
        what,
        len(both),
        over_seeds(leads),
        over_seeds(leads_at_end),
        float(np.mean([steps for steps, _ in needed])),
        float(np.mean([whole for _, whole in needed])),
        over_seeds([whole - steps for steps, whole in needed]),
    )
