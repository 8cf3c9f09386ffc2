"""Success over time, beside the channel that it met."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from testbed.jobs.intervals import wilson_interval
from testbed.jobs.ledger import Outcome
from testbed.reporting.figures_svg import WIDTH, Box, Drawing, Linear, Panel, Values, logarithmic, series, svg
from testbed.reporting.page_data import Shown
from testbed.reporting.page_words import percent, rate

_LEFT, _RIGHT = 56.0, 28.0
_FINE = 240
"""Instants at which a channel is drawn."""
_BINS, _JOBS_A_BIN = 40, 10
_MOST_GROUPS = 4


class _Group(msgspec.Struct, frozen=True):
    """Directions of links that lead to one node, over time: each a row, each instant a column."""

    name: str
    bandwidth_bps: Values
    loss: Values  # the highest between an instant and the next


def success_beside_channel(runs: Sequence[Shown]) -> Drawing:
    """The share of jobs on time by arrival; below it the channel of the first run, which runs of a workload share."""
    end_s = max(run.seconds() for run in runs)
    groups, x = _channel(runs[0], end_s), Linear(0, end_s)
    heights = (170.0, 120.0, 80.0) if groups else (170.0,)
    tops = np.cumsum([24.0, *(height + 34 for height in heights)])
    boxes = [Box(_LEFT, float(top), WIDTH - _LEFT - _RIGHT, height) for top, height in zip(tops, heights, strict=False)]
    success = Panel(boxes[0], x, Linear(0, 1, factor=100))
    success.axes(None if groups else "time, s", "jobs on time, %")
    for number, run in enumerate(runs):
        _success(success, run, end_s, series(number), alone=len(runs) == 1)
    panels = [success]
    if groups:
        panels += _channel_panels(groups, boxes[1:], x, end_s)
    starts = sorted({phase.start_s for run in runs for phase in run.summary.phases if phase.start_s > 0})
    for panel in panels:
        for start_s in starts:
            panel.at(start_s)
    legend = [(series(number), run.label) for number, run in enumerate(runs)] if len(runs) > 1 else []
    legend += [(_colour(number), group.name) for number, group in enumerate(groups)]
    return Drawing(
        name="over-time",
        svg=svg(
            "over-time",
            boxes[-1].top + boxes[-1].height + 38,
            [part for panel in panels for part in panel.parts],
            "Success over time, beside the channel",
            "; ".join(_words(run) for run in runs),
        ),
        caption=_caption(runs, groups, bool(starts)),
        legend=tuple(legend),
    )


def _success(panel: Panel, run: Shown, end_s: float, colour: str, *, alone: bool) -> None:
    bins = int(np.clip(len(run.jobs) / _JOBS_A_BIN, 1, _BINS))
    place = np.clip((run.column("arrival_s") / end_s * bins).astype(int), 0, bins - 1)
    issued = np.bincount(place, minlength=bins).astype(float)
    on_time = np.bincount(place[run.is_(Outcome.ON_TIME)], minlength=bins).astype(float)
    with np.errstate(invalid="ignore"):
        share = on_time / issued
    middles = (np.arange(bins) + 0.5) * end_s / bins
    if alone:
        nan = (np.nan, np.nan)
        bounds = [wilson_interval(int(k), int(n)) if n else nan for k, n in zip(on_time, issued, strict=True)]
        low, high = np.array(bounds).T
        panel.band(middles, low, high, colour)
    panel.line(middles, share, colour, f"{run.label}: {percent(run.summary.success_probability)} of the jobs on time")
    if alone:
        for at_s, value, n in zip(middles, share, issued, strict=True):
            if n:
                words = f"around {at_s:.1f} s: {percent(value)} of {n:.0f} jobs on time"
                panel.dot(float(at_s), float(value), colour, words)


def _channel_panels(groups: Sequence[_Group], boxes: Sequence[Box], x: Linear, end_s: float) -> list[Panel]:
    at_s = np.linspace(0, end_s, _FINE)
    extremes = [float(f(group.bandwidth_bps)) for group in groups for f in (np.min, np.max)]
    highest_loss = max(float(group.loss.max()) for group in groups)
    rates = Panel(boxes[0], x, logarithmic(extremes, factor=1e-6))
    losses = Panel(boxes[1], x, Linear(0, max(0.01, 1.05 * highest_loss), factor=100))
    rates.axes(None, "bandwidth, Mbit/s")
    losses.axes("time, s", "loss, %")
    for number, group in enumerate(groups):
        colour = _colour(number)
        for panel, values, words in ((rates, group.bandwidth_bps, "bandwidth"), (losses, group.loss, "loss")):
            low, middle, high = values.min(axis=0), np.median(values, axis=0), values.max(axis=0)
            if (low < high).any():
                panel.band(at_s, low, high, colour)
            panel.line(at_s, middle, colour, f"{group.name}: {words}", steps=True)
    return [rates, losses]


def _channel(run: Shown, end_s: float) -> list[_Group]:
    """The ways out of the devices, by where they lead; those that vary come first."""
    devices = run.topology.devices if run.topology else {}
    links, at_s = run.links, np.linspace(0, end_s, _FINE)
    columns = [links[name].to_numpy(np.float64) for name in ("t_s", "bandwidth_bps", "loss")]
    found: dict[str, list[tuple[Values, Values]]] = {}
    for (a, b, direction), place in links.groupby(["a", "b", "direction"], sort=False).indices.items():
        start, end = (a, b) if direction == "up" else (b, a)
        if start not in devices:
            continue
        t_s, bandwidth_bps, loss = (column[place] for column in columns)
        row = np.clip(np.searchsorted(t_s, at_s, side="right") - 1, 0, None)
        highest = loss[row]
        between = np.clip(np.searchsorted(at_s, t_s, side="right") - 1, 0, _FINE - 1)
        np.maximum.at(highest, between, loss)
        found.setdefault(end, []).append((bandwidth_bps[row], highest))
    groups = [
        _Group(
            f"{len(sides)} device{'s' if len(sides) > 1 else ''} to {end}",
            np.stack([bandwidth_bps for bandwidth_bps, _ in sides]),
            np.stack([loss for _, loss in sides]),
        )
        for end, sides in found.items()
    ]
    return sorted(groups, key=lambda group: not _varies(group))[:_MOST_GROUPS]


def _varies(group: _Group) -> bool:
    return bool(np.ptp(group.bandwidth_bps, axis=1).any() or np.ptp(group.loss, axis=1).any())


def _colour(group: int) -> str:
    return series(-1 - group)  # from the end, where runs rarely come to


def _words(run: Shown) -> str:
    phases = ", ".join(
        f"{phase.start_s:g} to {phase.end_s:g} s {percent(phase.success_probability)}" for phase in run.summary.phases
    )
    return f"{run.label} on time: {phases}"


def _caption(runs: Sequence[Shown], groups: Sequence[_Group], events: bool) -> str:
    words = ["By intended arrival" + (", with 95 % Wilson intervals." if len(runs) == 1 else ".")]
    if groups:
        low, high = (f(group.bandwidth_bps) for f, group in ((np.min, groups[0]), (np.max, groups[0])))
        spread = f", {rate(low)} to {rate(high)} on the way to {groups[0].name.split()[-1]}" if low < high else ""
        first = " of the first run" if len(runs) > 1 else ""
        words.append(f"Below, the links{first} from devices as applied, median and range{spread}.")
        words.append("A loss of 100 % is a cut.")
    if events:
        words.append("Vertical lines are the workload's events.")
    return " ".join(words)
