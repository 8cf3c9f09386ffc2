"""The figures of the experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from testbed.experiments.drawing import PALETTE, figure, plain_logarithmic
from testbed.experiments.poor_channel.methods import Method
from testbed.experiments.poor_channel.outcomes import Outcome, Outcomes
from testbed.experiments.poor_channel.results import SUCCESS_LIMIT_MS
from testbed.experiments.poor_channel.settings import BURSTS, LOSS, LOSSY_MBPS, RATE

MARKS = "osD^vP*X<>hp"


def draw(outcomes: Outcomes, methods: Sequence[Method], folder: Path) -> list[tuple[str, str]]:
    """Draw what came out; the file names with their captions."""
    with figure(folder / "completion.svg", width=8, height=4.6) as (panel,):
        _lines(panel, outcomes, methods, RATE, lambda row: row.median_ms)
        panel.set(xscale="log", yscale="log", xlabel="uplink rate, Mbit/s", ylabel="median completion time, ms")
        plain_logarithmic(panel.xaxis)
        plain_logarithmic(panel.yaxis)
        panel.legend(fontsize=6)
    with figure(folder / "success.svg", panels=2, width=10, height=4) as (success, accuracy):
        _lines(success, outcomes, methods, RATE, lambda row: 100 * row.success(SUCCESS_LIMIT_MS))
        _lines(accuracy, outcomes, methods, RATE, lambda row: 100 * row.accuracy(SUCCESS_LIMIT_MS))
        for panel, label in ((success, "answered"), (accuracy, "answered rightly")):
            panel.set(xscale="log", xlabel="uplink rate, Mbit/s", ylabel=f"{label} within {SUCCESS_LIMIT_MS:g} ms, %")
            plain_logarithmic(panel.xaxis)
        accuracy.legend(fontsize=6)
    with figure(folder / "loss.svg", panels=2, width=10, height=4) as panels:
        for panel, sweep in zip(panels, (LOSS, BURSTS), strict=True):
            _lines(panel, outcomes, methods, sweep, lambda row: row.median_ms, scale=100)
            panel.set(yscale="log", xlabel=f"{sweep}, %", ylabel="median completion time, ms")
            plain_logarithmic(panel.yaxis)
        panels[0].legend(fontsize=6)
    return [
        ("completion.svg", "Completion time over the uplink rate, without losses; 95 % intervals over the repetitions"),
        ("success.svg", "Share of jobs answered in time over the uplink rate, and answered rightly in time"),
        ("loss.svg", f"Completion time under losses at {LOSSY_MBPS:g} Mbit/s: independent, and in bursts"),
    ]


def _lines(
    panel: Axes,
    outcomes: Outcomes,
    methods: Sequence[Method],
    sweep: str,
    shown: Callable[[Outcome], float],
    scale: float = 1,
) -> None:
    values = outcomes.values(sweep)
    for number, method in enumerate(methods):
        found = [(value, outcomes.interval(sweep, value, method.name, shown)) for value in values]
        points = [(value, interval) for value, interval in found if interval]
        bars = [[one.value - one.low for _, one in points], [one.high - one.value for _, one in points]]
        panel.errorbar(
            [scale * value for value, _ in points],
            [one.value for _, one in points],
            bars if points and np.isfinite(bars).all() else None,
            color=PALETTE[number % len(PALETTE)],
            marker=MARKS[number % len(MARKS)],
            linestyle="-" if method.ratio else "--",
            linewidth=1,
            elinewidth=0.8,
            capsize=2,
            label=method.name,
        )
