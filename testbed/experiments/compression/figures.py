"""The figures of the experiment."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from testbed.aecnn.outcomes import Curve
from testbed.experiments.compression.convergence import STEPS, WHOLE, convergences, curves_by_name
from testbed.experiments.compression.equal_bytes import BUDGETS, AtBudget, compare
from testbed.experiments.compression.latency import (
    BANDWIDTHS_BPS,
    LIMITS_S,
    best_within,
    completion_s,
    without_rivals,
)
from testbed.experiments.compression.results import choice, kept_channels
from testbed.experiments.compression.stability import stabilities
from testbed.experiments.compression.studies import NAMES, SANITY, Point, Studies
from testbed.experiments.drawing import PALETTE, figure, plain_logarithmic
from testbed.jobs.decision import SPLITS, Kind
from testbed.jobs.profile import Profile

COLOURS = dict(zip((name for name in NAMES if name), PALETTE, strict=False))
MARKS = dict(zip(SPLITS, "^sDo", strict=True))


def draw(studies: Studies, profile: Profile, folder: Path) -> list[tuple[str, str]]:
    """Draw what the studies hold; the file names with their captions."""
    drawn = []
    for name, caption, draws in (
        (
            "accuracy.svg",
            "Accuracy over measured bytes, down to 25 points below uncompressed; bars: from seed to seed",
            _accuracy,
        ),
        ("difference.svg", "AECNN's accuracy less each rival's at equal measured bytes; bands: 95 %", _difference),
        ("convergence.svg", "Step by step against end to end at equal passes; one line a seed", _convergence),
        ("rankings.svg", "How stable the ranking of channels is", _rankings),
    ):
        if draws(studies, folder / name):
            drawn.append((name, caption))
    _latency(profile, folder / "latency.svg")
    caption = "Completion time over bandwidth, and the most accurate option in time under each latency limit"
    return [*drawn, ("latency.svg", caption)]


def _accuracy(studies: Studies, path: Path) -> bool:
    shown = [point for point in studies.points if point.carried_bytes > 0 and point.method in COLOURS]
    shown = [point for point in shown if not (point.method == "aecnn" and point.variant)]
    if not shown:
        return False
    lines: dict[tuple[str, str, str], list[Point]] = {}
    for point in shown:
        lines.setdefault((point.method, point.variant, point.split or ""), []).append(point)
    with figure(path, width=9) as (panel,):
        for (method, variant, split), points in lines.items():
            points.sort(key=lambda point: point.carried_bytes)
            label = ", ".join(filter(None, (NAMES[method], variant, split and f"after {split}")))
            _with_bars(panel, points, COLOURS[method], MARKS.get(split, "x" if variant else "."), label)
        accuracy = studies.uncompressed.accuracy
        panel.axhline(100 * accuracy, color="black", linewidth=0.8, linestyle=":", label="uncompressed")
        panel.set(xscale="log", xlabel="bytes a photograph", ylabel="accuracy, %", ylim=(100 * accuracy - 25, None))
        plain_logarithmic(panel.xaxis)
        panel.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return True


def _with_bars(panel: Axes, points: list[Point], colour: str, mark: str, label: str) -> None:
    of_seeds = [100 * point.right[point.seeds].mean(axis=1) for point in points]
    means = np.array([seeds.mean() for seeds in of_seeds])
    bars = [means - [seeds.min() for seeds in of_seeds], [seeds.max() for seeds in of_seeds] - means]
    sizes = [point.carried_bytes for point in points]
    panel.errorbar(sizes, means, bars, color=colour, marker=mark, linewidth=1, elinewidth=0.8, capsize=2, label=label)


def _difference(studies: Studies, path: Path) -> bool:
    ours = studies.of("aecnn", variant="")
    compared: dict[str, list[AtBudget]] = {}
    for method in COLOURS:
        found = compare(ours, studies.of(method), BUDGETS) if method not in ("aecnn", *SANITY) else None
        if found and (within := [at for at in found.distinct if at.within_budget]):
            compared[method] = within
    if not compared:
        return False
    with figure(path, panels=len(compared), width=2.6 * len(compared) + 0.6, height=2.8) as panels:
        for panel, (method, within) in zip(panels, compared.items(), strict=True):
            sizes = [at.budget for at in within]
            low, high = [100 * at.difference.low for at in within], [100 * at.difference.high for at in within]
            panel.fill_between(sizes, low, high, color=COLOURS[method], alpha=0.25, linewidth=0)
            panel.plot(sizes, [100 * at.difference.value for at in within], ".-", color=COLOURS[method])
            panel.axhline(0, color="black", linewidth=0.8)
            ends = (BUDGETS[0], BUDGETS[-1])
            panel.set(xscale="log", xlim=ends, xlabel="bytes a photograph", title=f"against {NAMES[method]}")
            plain_logarithmic(panel.xaxis)
        panels[0].set_ylabel("AECNN's lead, points")
    return True


def _convergence(studies: Studies, path: Path) -> bool:
    by_seed = [curves_by_name(curves) for curves in studies.curves]
    pairs = [one.what for one in convergences(studies.curves)]
    if not pairs:
        return False
    with figure(path, panels=len(pairs), width=4 * len(pairs) + 0.6, height=3.2) as panels:
        for panel, what in zip(panels, pairs, strict=True):
            for way, colour in ((STEPS, PALETTE[0]), (WHOLE, PALETTE[1])):
                found = [curves[what, way] for curves in by_seed if (what, way) in curves]
                for place, curve in enumerate(found):
                    _curve(panel, curve, colour, way if place == 0 else "_")
            panel.set(xlabel="passes over the training photographs", title=what)
            panel.legend()
        panels[0].set_ylabel("accuracy on validation photographs, %")
    return True


def _curve(panel: Axes, curve: Curve, colour: str, label: str) -> None:
    panel.plot(curve.passes, [100 * share for share in curve.accuracy], color=colour, linewidth=1, label=label)


def _rankings(studies: Studies, path: Path) -> bool:
    found = [one for one in stabilities(studies.rankings, kept_channels(studies)) if one.with_classes is not None]
    if not found:
        return False
    splits = sorted({one.split for one in found}, key=SPLITS.index)
    ways = list(dict.fromkeys(one.by for one in found))
    with figure(path, panels=2, width=8, height=3.2) as (correlations, overlaps):
        for place, by in enumerate(ways):
            mine = [one for one in found if one.by == by]
            where = [splits.index(one.split) + (place - (len(ways) - 1) / 2) * 0.8 / len(ways) for one in mine]
            heights = [one.with_classes or 0.0 for one in mine]
            correlations.bar(where, heights, 0.8 / len(ways), color=PALETTE[place], label=by)
            for one in mine:
                shares = [(k / one.channels, 100 * share) for k, share in one.overlaps.items() if share is not None]
                label = f"{by}, {one.split}"
                overlaps.plot(*zip(*shares, strict=True), MARKS[one.split], color=PALETTE[place], label=label)
        correlations.set(xticks=range(len(splits)), xticklabels=splits, ylim=(None, 1))
        correlations.set_ylabel("rank correlation of a class with all")
        correlations.legend(loc="lower right", frameon=True)
        kept = np.geomspace(0.005, 1, 50)
        overlaps.plot(kept, 100 * kept, color="black", linewidth=0.8, linestyle=":", label="by chance")
        overlaps.set(xscale="log", xlabel="share of the channels that is kept", ylabel="in a class's list too, %")
        plain_logarithmic(overlaps.xaxis)
        overlaps.legend(fontsize=7)
    return True


def _latency(profile: Profile, path: Path) -> None:
    candidates = without_rivals(profile)
    with figure(path, panels=2, width=10, height=4.2) as (completion, best):
        _completion(completion, candidates)
        _best(best, candidates)


def _completion(panel: Axes, profile: Profile) -> None:
    times = [completion_s(profile, bandwidth) for bandwidth in BANDWIDTHS_BPS]
    rows = [row for row in profile.rows if row.option.kind is not Kind.FULL or row.option.encoding in ("raw", "jpeg")]
    plain = iter(("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 3))))
    for row in rows:
        seconds = [1e3 * of_bandwidth[row.option] for of_bandwidth in times]
        if row.option.point is None:
            panel.plot(_mbits(), seconds, color="black", linestyle=next(plain), linewidth=1, label=str(row.option))
            continue
        same = [one for one in rows if one.option.point and one.option.point.split == row.option.point.split]
        shade = mpl.colormaps[("Purples", "Oranges", "Greens", "Blues")[SPLITS.index(row.option.point.split)]]
        colour = shade(0.4 + 0.6 * same.index(row) / max(1, len(same) - 1))
        panel.plot(_mbits(), seconds, color=colour, linewidth=1, label=choice(row))
    panel.set(xscale="log", yscale="log", xlabel="bandwidth, Mbit/s", ylabel="completion time, ms")
    for axis in (panel.xaxis, panel.yaxis):
        plain_logarithmic(axis)
    panel.legend(fontsize=6, ncols=2, loc="upper right", frameon=True)


def _best(panel: Axes, profile: Profile) -> None:
    """A map: the best option for each bandwidth and limit."""
    chosen = [best_within(profile, bandwidth, LIMITS_S) for bandwidth in BANDWIDTHS_BPS]
    options = [row for row in profile.rows if any(row in column for column in chosen)]
    options.sort(key=lambda row: row.accuracy)
    places = np.array([[options.index(row) + 1 if row else 0 for row in column] for column in chosen]).T
    colours = ["#f4f4f4", *(mpl.colormaps["viridis"](place) for place in np.linspace(0, 1, max(1, len(options))))]
    limits = [1e3 * limit for limit in LIMITS_S]
    colour_map = ListedColormap(colours)
    # thousands of cells are one picture in the SVG: as paths they would take 1.3 MB
    panel.pcolormesh(_mbits(), limits, places, cmap=colour_map, vmin=-0.5, vmax=len(colours) - 0.5, rasterized=True)
    named = [Patch(color=colour, label=choice(row)) for colour, row in zip(colours, [None, *options], strict=False)]
    panel.legend(handles=named[::-1], fontsize=6, loc="upper right", frameon=True)
    panel.set(xscale="log", yscale="log", xlabel="bandwidth, Mbit/s", ylabel="latency limit, ms")
    for axis in (panel.xaxis, panel.yaxis):
        plain_logarithmic(axis)
    panel.grid(visible=False)


def _mbits() -> list[float]:
    return [bandwidth / 1e6 for bandwidth in BANDWIDTHS_BPS]
