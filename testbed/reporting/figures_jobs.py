"""Where jobs' time went, how long they took, and what accuracy their bytes bought."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from testbed.jobs.intervals import wilson_interval
from testbed.jobs.ledger import STAGES, Outcome
from testbed.reporting.figures_svg import (
    WIDTH,
    Box,
    Drawing,
    Linear,
    Panel,
    Truths,
    Untold,
    Values,
    logarithmic,
    series,
    svg,
    text,
)
from testbed.reporting.page_data import Shown
from testbed.reporting.page_words import interval, milliseconds, percent, size
from testbed.reporting.phases import UNDECIDED
from testbed.reporting.verdict import ANSWERED

_BAR, _GAP = 24.0, 12.0
_CURVE_POINTS = 300
_MOST_DEADLINES = 4
WORDS = {"edge_wait": "wait at edge", "wait": "wait at device"}
"""What stages are called; the others by their own names."""


class Split(msgspec.Struct, frozen=True):
    """The mean milliseconds of each stage over some jobs."""

    label: str
    jobs: int
    mean_ms: dict[str, float]


class Bought(msgspec.Struct, frozen=True):
    """What some jobs sent, and how many were answered rightly."""

    label: str
    jobs: int
    payload_bytes: float  # mean
    accuracy: float
    accuracy_interval: tuple[float, float]


def stages(runs: Sequence[Shown]) -> list[Split]:
    """The answered jobs of each run, those on time and those late apart; nothing where there is none."""
    found = []
    for run in runs:
        before = f"{run.label}, " if len(runs) > 1 else ""
        for outcome, words in ((Outcome.ON_TIME, "on time"), (Outcome.LATE, "late")):
            of = run.is_(outcome)
            if of.any():
                means = {stage: float(np.nanmean(run.column(f"{stage}_ms")[of])) for stage in STAGES}
                found.append(Split(f"{before}{words}", int(of.sum()), means))
    return found


def stage_breakdown(splits: Sequence[Split], deadlines_ms: Sequence[float]) -> Drawing:
    """A bar for each group of jobs, its stages in the order of a job's life."""
    left = 20 + 6.4 * max(len(split.label) for split in splits)
    height = len(splits) * (_BAR + _GAP) + _GAP
    longest = max(sum(split.mean_ms.values()) for split in splits)
    box = Box(left, 16, WIDTH - left - 90, height)
    panel = Panel(box, Linear(0, max([longest, *deadlines_ms[:1]]) * 1.02), Untold(height, 0))
    panel.axes("mean milliseconds since intended arrival", None)
    for number, split in enumerate(splits):
        top = _GAP + number * (_BAR + _GAP)
        panel.parts.append(text(left - 8, box.top + top + 16, split.label, "end"))
        reached = 0.0
        for place, stage in enumerate(STAGES):
            took = split.mean_ms[stage]
            words = f"{split.label}: {WORDS.get(stage, stage)} {milliseconds(took)}"
            panel.bar(reached, reached + took, top + _BAR, top, f"k{place}", words)
            reached += took
        panel.parts.append(text(WIDTH - 4, box.top + top + 16, milliseconds(reached), "end", class_="note"))
    for deadline_ms in deadlines_ms:
        panel.at(deadline_ms)
    return Drawing(
        name="stages",
        svg=svg(
            "stages",
            height + 56,
            panel.parts,
            "Where the time of late jobs and of those on time went",
            "; ".join(f"{split.label}: {milliseconds(sum(split.mean_ms.values()))}" for split in splits),
        ),
        caption=f"Answered jobs. {_deadline_words(deadlines_ms)}",
        legend=tuple((f"k{place}", WORDS.get(stage, stage)) for place, stage in enumerate(STAGES)),
    )


def completion(runs: Sequence[Shown], deadlines_ms: Sequence[float]) -> Drawing | None:
    """The share of all jobs issued that were answered within a time; of one run also by what was decided."""
    curves = _curves(runs)
    if not curves:
        return None
    shown = [float(value) for _, times, _ in curves for value in (times[0], times[-1])]
    x = logarithmic([*shown, *deadlines_ms])
    panel = Panel(Box(56, 24, WIDTH - 84, 250), x, Linear(0, 1, factor=100))
    panel.axes("completion, ms since intended arrival", "jobs answered within, %")
    for number, (label, times, issued) in enumerate(curves):
        shares = np.arange(1, len(times) + 1) / issued
        some = np.unique(np.linspace(0, len(times) - 1, _CURVE_POINTS).astype(int))
        within, reached = np.append(times[some], x.high), np.append(shares[some], shares[-1])
        words = f"{label}: half within {milliseconds(float(np.median(times)))}"
        panel.line(within, reached, series(number), words, steps=True)
    for deadline_ms in deadlines_ms:
        panel.at(deadline_ms, f"deadline {deadline_ms:g} ms")
    whole = "of the jobs issued" if len(runs) > 1 else "of the jobs that were decided so"
    return Drawing(
        name="completion",
        svg=svg(
            "completion",
            320,
            panel.parts,
            "How long jobs took",
            "; ".join(f"{label}: median {milliseconds(float(np.median(times)))}" for label, times, _ in curves),
        ),
        caption=f"Shares {whole}: a curve that stays below 100 % has jobs without an answer.",
        legend=tuple((series(number), label) for number, (label, *_) in enumerate(curves)),
    )


def bought(run: Shown) -> list[Bought]:
    """The answered jobs of a run by what was decided."""
    found = []
    answered = run.is_(*ANSWERED)
    options = run.jobs[["decision", "encoding", "split", "kept_channels", "bits"]].astype("string").fillna("")
    for key, rows in options[answered].groupby(list(options.columns), sort=True).indices.items():
        place = np.flatnonzero(answered)[rows]
        right = int(run.jobs["correct"].iloc[place].fillna(False).to_numpy(bool).sum())
        payload = float(run.column("payload_bytes")[place].mean())
        found.append(_bought(_option_words(*key), len(place), payload, right))
    return found


def bought_whole(runs: Sequence[Shown]) -> list[Bought]:
    """Each run as a whole, where a job that is not on time counts as wrong."""
    found = []
    for run in runs:
        right = run.is_(Outcome.ON_TIME) & run.jobs["correct"].fillna(False).to_numpy(bool)
        if len(run.jobs):
            payload = float(run.column("payload_bytes").mean())
            found.append(_bought(run.label, len(run.jobs), payload, int(right.sum())))
    return found


def accuracy_against_bytes(points: Sequence[Bought], caption: str) -> Drawing:
    """A point for each; what sends nothing stands at the left, where a logarithmic axis has no place for it."""
    sent = [point.payload_bytes for point in points if point.payload_bytes > 0]
    lowest = min(point.accuracy_interval[0] for point in points)
    y = Linear(min(0.9, np.floor(lowest * 10) / 10), 1, factor=100)
    beginning = 130.0 if len(sent) < len(points) else 56.0
    scale = logarithmic([*(0.7 * one for one in sent), *(1.4 * one for one in sent)])
    some = Panel(Box(beginning, 24, WIDTH - beginning - 28, 250), scale, y)
    nothing = Panel(Box(56, 24, 60, 250), Untold(-1, 1), y)
    if sent:
        some.axes("mean payload, bytes a job", "accuracy, %" if beginning < 100 else None)
    if len(sent) < len(points):
        nothing.axes(None, "accuracy, %")
        nothing.parts.append(text(86, 289, "nothing sent", "middle"))
    for number, point in enumerate(points):
        panel, x = (some, point.payload_bytes) if point.payload_bytes > 0 else (nothing, 0.0)
        words = f"{point.label}: {percent(point.accuracy)} of {point.jobs} jobs, {size(point.payload_bytes)} a job"
        panel.dot(x, point.accuracy, series(number), words, point.accuracy_interval)
        panel.beside(x, point.accuracy, point.label)
    return Drawing(
        name="accuracy",
        svg=svg(
            "accuracy",
            320,
            [*nothing.parts, *some.parts],
            "Accuracy against bytes",
            "; ".join(f"{point.label}: {percent(point.accuracy)}, {size(point.payload_bytes)}" for point in points),
        ),
        caption=caption,
    )


def success_by_run(runs: Sequence[Shown]) -> Drawing:
    """The success probability of each run, with its interval."""
    left = 24 + 6.4 * max(len(run.label) for run in runs)
    height = len(runs) * 26.0
    box = Box(left, 16, WIDTH - left - 150, height)
    panel = Panel(box, Linear(0, 1, factor=100), Untold(len(runs), 0))
    panel.axes("jobs on time, %", None)
    for number, run in enumerate(runs):
        summary, y = run.summary, box.top + (number + 0.5) * 26 + 4
        panel.parts.append(text(left - 8, y, run.label, "end"))
        if summary.success_probability is None or summary.success_interval is None:
            continue
        bounds = interval(summary.success_interval)
        words = f"{run.label}: {percent(summary.success_probability)} on time, 95 % interval {bounds}"
        colour = series(number)
        panel.dot(summary.success_probability, number + 0.5, colour, words, x_range=summary.success_interval)
        panel.parts.append(text(WIDTH - 4, y, bounds, "end", class_="note"))
    return Drawing(
        name="success",
        svg=svg(
            "success",
            height + 56,
            panel.parts,
            "Success probability of each run",
            "; ".join(f"{run.label}: {percent(run.summary.success_probability)}" for run in runs),
        ),
        caption="Of all jobs issued, with 95 % Wilson intervals.",
    )


def deadlines_ms(runs: Sequence[Shown]) -> list[float]:
    """The deadlines that jobs had, the first few if they are many."""
    found = sorted({float(value) for run in runs for value in np.unique(run.column("deadline_ms"))})
    return found[:_MOST_DEADLINES]


def _curves(runs: Sequence[Shown]) -> list[tuple[str, Values, int]]:
    """Names, times in order, and how many jobs were issued."""
    curves = [_curve(run.label if len(runs) > 1 else "all jobs", run, np.ones(len(run.jobs), bool)) for run in runs]
    if len(runs) == 1:
        kinds = runs[0].jobs["decision"].fillna(UNDECIDED)
        names = sorted(set(kinds) - {UNDECIDED})
        if len(names) > 1:
            curves += [_curve(str(name), runs[0], (kinds == name).to_numpy(bool)) for name in names]
    return [curve for curve in curves if len(curve[1])]


def _curve(label: str, run: Shown, of: Truths) -> tuple[str, Values, int]:
    return label, np.sort(run.column("completion_ms")[of & run.is_(*ANSWERED)]), int(of.sum())


def _bought(label: str, jobs: int, payload_bytes: float, right: int) -> Bought:
    return Bought(label, jobs, payload_bytes, right / jobs, wilson_interval(right, jobs))


def _option_words(decision: str, encoding: str, split: str, kept_channels: str, bits: str) -> str:
    point = f" {split} {kept_channels}x{bits} bit" if split else ""
    return f"{decision}{f' {encoding}' if encoding else ''}{point}"


def _deadline_words(deadlines_ms: Sequence[float]) -> str:
    if not deadlines_ms:
        return ""
    several = ", ".join(f"{deadline_ms:g}" for deadline_ms in deadlines_ms)
    return (
        f"The vertical line is the deadline, {several} ms." if len(deadlines_ms) == 1 else f"Deadlines: {several} ms."
    )
