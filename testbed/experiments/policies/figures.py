"""The figures of the experiment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from testbed.experiments.drawing import PALETTE, figure
from testbed.experiments.paired import Interval
from testbed.experiments.policies.methods import METHODS, OURS, Method
from testbed.experiments.policies.outcomes import AT_DEFAULTS, AT_OPTIMUM, Outcomes
from testbed.experiments.policies.settings import DEFAULTS

MARKS = "osD^vP*X<>h"
SHOWN = {"reward": "reward", "accuracy": "accuracy, late counts 0", "success": "share on time"}


def draw(outcomes: Outcomes, curves: dict[str, list[list[tuple[int, float]]]], folder: Path) -> list[tuple[str, str]]:
    """Draw what was judged; the file names with their captions. `curves`: of each learner, those of its seeds."""
    drawn = []
    for sweep in dict.fromkeys(row.sweep for row in outcomes.rows):
        if sweep not in (AT_DEFAULTS, AT_OPTIMUM):
            name = f"sweep-{sweep.split(',')[0].replace(' ', '-')}.svg"
            _sweep(outcomes, sweep, folder / name)
            drawn.append((name, f"Over {sweep}: means and 95 % intervals over the seeds"))
    if curves:
        _curves(curves, folder / "training.svg")
        drawn.append(("training.svg", "Training: the reward of the actors' own decisions; a line a seed"))
    return drawn


def _sweep(outcomes: Outcomes, sweep: str, path: Path) -> None:
    values = outcomes.swept(sweep)
    with figure(path, panels=len(SHOWN), width=11, height=3.6) as panels:
        for panel, (shown, label) in zip(panels, SHOWN.items(), strict=True):
            for number, method in enumerate(METHODS):
                trained_at = DEFAULTS.devices if method.name == OURS else None
                found = [(value, outcomes.interval(sweep, value, method.name, shown, trained_at)) for value in values]
                _line(panel, method, number, [(value, interval) for value, interval in found if interval])
            panel.set(xlabel=sweep, ylabel=label)
        panels[0].legend(fontsize=6)


def _line(panel: Axes, method: Method, number: int, points: list[tuple[float, Interval]]) -> None:
    """What learns is drawn solid."""
    if not points:
        return
    intervals = [interval for _, interval in points]
    bars = [[one.value - one.low for one in intervals], [one.high - one.value for one in intervals]]
    panel.errorbar(
        [value for value, _ in points],
        [one.value for one in intervals],
        bars if np.isfinite(bars).all() else None,
        color=PALETTE[number % len(PALETTE)],
        marker=MARKS[number],
        linestyle="-" if method.learner else "--",
        linewidth=1,
        elinewidth=0.8,
        capsize=2,
        label=method.name,
    )


def _curves(curves: dict[str, list[list[tuple[int, float]]]], path: Path) -> None:
    with figure(path, width=6, height=3.4) as (panel,):
        for number, (name, seeds) in enumerate(curves.items()):
            for place, points in enumerate(seeds):
                slots, rewards = [slot for slot, _ in points], [reward for _, reward in points]
                colour = PALETTE[number % len(PALETTE)]
                panel.plot(slots, rewards, color=colour, linewidth=1, label=name if place == 0 else "_")
        panel.set(xlabel="slots learnt from", ylabel="reward, mean of 100 slots")
        panel.legend(fontsize=7)
