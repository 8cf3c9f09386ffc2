"""The tables of the experiment."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.experiments.findings import in_figures
from testbed.experiments.policies.methods import OURS
from testbed.experiments.policies.outcomes import AT_DEFAULTS, AT_OPTIMUM, EXHAUSTIVE, Outcomes
from testbed.experiments.policies.settings import DEFAULTS, DEVICES, OPTIMUM
from testbed.experiments.tables import Table

NONE = ""
FIGURES = {
    "reward": "reward (95 %)",
    "accuracy": "accuracy (95 %)",
    "success": "on time (95 %)",
    "throughput_per_s": "jobs on time /s (95 %)",
}


def at_defaults(outcomes: Outcomes) -> Table:
    """All methods at the defaults."""
    rows = []
    for name in outcomes.methods(AT_DEFAULTS):
        intervals = [outcomes.interval(AT_DEFAULTS, 0, name, figure) for figure in FIGURES]
        digits = [3, 3, 3, 1]
        cells = (in_figures(one, places) for one, places in zip(intervals, digits, strict=True) if one)
        rows.append((name, *cells))
    note = (
        f"{DEFAULTS.devices} devices, {DEFAULTS.edges} edges. Means over the seeds, with Student's intervals, which "
        "hold how seeds differ in slots and in training. A late job's accuracy counts 0."
    )
    return Table("At the defaults", ("policy", *FIGURES.values()), tuple(rows), note=note)


def left_out(names: Sequence[tuple[str, str]]) -> list[Table]:
    """Who was not judged, and why."""
    if not names:
        return []
    return [Table("Not judged", ("policy", "why"), tuple(names), names=2)]


def sweeps(outcomes: Outcomes) -> list[Table]:
    """The reward, then the success probability, along each sweep."""
    tables = []
    note = (
        f"Learners are trained at the defaults ({DEFAULTS.devices} devices) and run unchanged, but for DROO-AECNN, "
        "which has one size for good: trained there, or left out."
    )
    for sweep in dict.fromkeys(row.sweep for row in outcomes.rows):
        if sweep in (AT_DEFAULTS, AT_OPTIMUM):
            continue
        values = outcomes.swept(sweep)
        for figure, said in (("reward", "reward"), ("success", "share on time"), ("accuracy", "accuracy")):
            rows = []
            for name in outcomes.methods(sweep):
                trained_at = DEFAULTS.devices if name == OURS else None
                found = [outcomes.interval(sweep, value, name, figure, trained_at) for value in values]
                rows.append((name, *(in_figures(one, 3) if one else NONE for one in found)))
            headings = ("policy", *(f"{value:g}" for value in values))
            tables.append(Table(f"{said[0].upper()}{said[1:]} over {sweep}", headings, tuple(rows), note=note))
    return tables


def elsewhere(outcomes: Outcomes) -> list[Table]:
    """GRL-AECNN run at other sizes than it was trained at, and the optimum."""
    rows = []
    for row in dict.fromkeys(
        (row.value, row.trained_at) for row in outcomes.rows if row.sweep == DEVICES and row.method == OURS
    ):
        value, trained_at = row
        reward = outcomes.interval(DEVICES, value, OURS, "reward", trained_at)
        success = outcomes.interval(DEVICES, value, OURS, "success", trained_at)
        if reward and success:
            rows.append((f"{value:g}", str(trained_at), in_figures(reward), in_figures(success)))
    rows.sort(key=lambda cells: (float(cells[0]), int(cells[1])))
    sizes = Table("GRL-AECNN at other sizes", ("devices", "trained at", "reward (95 %)", "on time (95 %)"), tuple(rows))
    near = []
    for name, trained_at in ((EXHAUSTIVE, None), (OURS, OPTIMUM.devices), (OURS, DEFAULTS.devices)):
        found = outcomes.interval(AT_OPTIMUM, OPTIMUM.devices, name, "estimated_reward", trained_at)
        if found:
            near.append((name, str(trained_at or NONE), in_figures(found, 4)))
    headings = ("policy", "trained at", "estimated reward (95 %)")
    title = f"Against the best of all decisions, {OPTIMUM.devices} devices and {OPTIMUM.edges} edges"
    return [sizes, Table(title, headings, tuple(near))]
