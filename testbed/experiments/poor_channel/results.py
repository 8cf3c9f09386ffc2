"""The tables of the experiment."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from testbed.experiments.findings import in_figures
from testbed.experiments.paired import Interval
from testbed.experiments.poor_channel.crossovers import Crossover
from testbed.experiments.poor_channel.methods import OURS, Method
from testbed.experiments.poor_channel.outcomes import Outcome, Outcomes
from testbed.experiments.poor_channel.settings import BURSTS, EMULATED, LIMITS_MS, LOSS, LOSSY_MBPS, RATE, SIMULATED
from testbed.experiments.tables import Table
from testbed.jobs.decision import Kind
from testbed.jobs.ledger import STAGES
from testbed.jobs.profile import Profile

NONE = "-"
SUCCESS_LIMIT_MS = 200.0


def methods_compared(outcomes: Outcomes, methods: Sequence[Method], profile: Profile) -> Table:
    """What each method sends, and how often it is right, over all phases: photographs are the same in all."""
    rows = []
    for method in methods:
        found = [row for row in outcomes.rows if row.method == method.name and row.jobs]
        jobs = sum(row.jobs for row in found)
        right = sum(int(row.correct.sum()) for row in found)
        sent = sum(row.payload_bytes * row.jobs for row in found)
        row = profile.by_option[method.option]
        rows.append(
            (
                method.name,
                str(method.option),
                f"{sent / jobs:,.0f}" if jobs else NONE,
                f"{100 * right / jobs:.1f}" if jobs else NONE,
                f"{100 * row.accuracy:.1f}",
                f"{jobs:,}",
            )
        )
    headings = ("method", "option", "bytes a job", "accuracy %", "of the profile %", "jobs")
    note = "Of the answered. The profile's accuracy is over all photographs of the sample, each once."
    return Table("Methods", headings, tuple(rows), names=2, note=note)


def completions(outcomes: Outcomes, methods: Sequence[Method]) -> Table:
    """Median completion time over the uplink rate."""
    return _over(
        "Completion time over the uplink rate: median, ms (95 %)",
        outcomes,
        methods,
        RATE,
        "{:g} Mbit/s",
        lambda row: row.median_ms,
        lambda interval: in_milliseconds(interval),
        f"No losses. {NONE}: no job began and ended within a phase.",
    )


def successes(outcomes: Outcomes, methods: Sequence[Method]) -> list[Table]:
    """Success probability over the uplink rate, and over losses of either kind."""
    limit = f"{SUCCESS_LIMIT_MS:g} ms"
    sweeps = (
        (RATE, "the uplink rate", "{:g} Mbit/s", "No losses."),
        (LOSS, "loss", "{:.0%}", f"At {LOSSY_MBPS:g} Mbit/s, in both directions."),
        (BURSTS, "loss in bursts", "{:.0%}", f"At {LOSSY_MBPS:g} Mbit/s, in both directions."),
    )
    return [
        _over(
            f"Success probability within {limit} over {said}, % (95 %)",
            outcomes,
            methods,
            sweep,
            form,
            lambda row: 100 * row.success(SUCCESS_LIMIT_MS),
            in_percent,
            note,
        )
        for sweep, said, form, note in sweeps
    ]


def lossy_completions(outcomes: Outcomes, methods: Sequence[Method]) -> list[Table]:
    """Median and 95th percentile matter under loss: a lost packet waits for TCP's timer."""
    return [
        _over(
            f"Completion time over {said}: median, ms (95 %)",
            outcomes,
            methods,
            sweep,
            "{:.0%}",
            lambda row: row.median_ms,
            lambda interval: in_milliseconds(interval),
            f"At {LOSSY_MBPS:g} Mbit/s, in both directions.",
        )
        for sweep, said in ((LOSS, "loss"), (BURSTS, "loss in bursts"))
    ]


def best_within(outcomes: Outcomes, methods: Sequence[Method]) -> Table:
    """The most accurate of ours under each limit at each rate, a late answer counted as wrong."""
    ours = [method for method in methods if method.option.kind is Kind.SPLIT and method.option.encoding == OURS]
    rows = [
        (f"{rate:g} Mbit/s", *(_best_at(outcomes, ours, rate, limit_ms) for limit_ms in LIMITS_MS))
        for rate in outcomes.values(RATE)
    ]
    headings = ("uplink rate", *(f"{limit:g} ms" for limit in LIMITS_MS))
    note = "AECNN's ratio and split of the highest accuracy in %, where an answer after the limit counts as wrong."
    return Table("Which ratio under which latency limit", headings, tuple(rows), names=len(headings), note=note)


def _best_at(outcomes: Outcomes, methods: Sequence[Method], rate: float, limit_ms: float) -> str:
    def accuracy(row: Outcome) -> float:
        return row.accuracy(limit_ms)

    found = {
        method.name.removeprefix("AECNN "): interval.value
        for method in methods
        if (interval := outcomes.interval(RATE, rate, method.name, accuracy))
    }
    best = max(found, key=found.__getitem__, default=None)
    return f"{best}: {100 * found[best]:.0f}" if best and found[best] > 0 else NONE


def crossovers(found: Sequence[Crossover]) -> Table:
    """Where AECNN finishes earlier."""
    rows = tuple((one.ours, one.theirs, in_rates(one)) for one in found)
    note = "By the medians, interpolated between the rates tried; each repetition by itself, then their mean."
    return Table("Where AECNN finishes earlier", ("AECNN", "than", "at uplink rates"), rows, names=3, note=note)


def gaps(outcomes: Mapping[str, Outcomes], methods: Sequence[Method]) -> list[Table]:
    """How far the model is from the emulated network: phase by phase in median completion and success, then stage by
    stage.
    """
    if not {EMULATED, SIMULATED} <= outcomes.keys():
        return []
    by_phase, by_stage = [], []
    for sweep, form in ((RATE, "{:g} Mbit/s"), (LOSS, "{:.0%}"), (BURSTS, "{:.0%}")):
        values = outcomes[EMULATED].values(sweep)
        by_phase.append(
            Table(
                f"Simulated against emulated over the {sweep}: median completion, % / success, points",
                ("method", *(form.format(value) for value in values)),
                tuple((method.name, *(_gap(outcomes, sweep, value, method) for value in values)) for method in methods),
                note=f"Success is an answer within {SUCCESS_LIMIT_MS:g} ms.",
            )
        )
        by_stage.append(
            Table(
                f"Simulated less emulated, stage by stage over the {sweep}: ms",
                ("method", *STAGES),
                tuple((method.name, *_stage_gap(outcomes, sweep, method)) for method in methods),
                note="Medians of each phase's jobs, and of their differences the mean over phases and repetitions.",
            )
        )
    return [*by_phase, *by_stage]


def _gap(outcomes: Mapping[str, Outcomes], sweep: str, value: float, method: Method) -> str:
    def both(figure: Callable[[Outcome], float]) -> list[float]:
        found = (outcomes[how].interval(sweep, value, method.name, figure) for how in (EMULATED, SIMULATED))
        return [interval.value for interval in found if interval]

    medians, successes = both(lambda row: row.median_ms), both(lambda row: row.success(SUCCESS_LIMIT_MS))
    if len(medians) < 2:
        return NONE
    return f"{100 * (medians[1] / medians[0] - 1):+.1f} / {100 * (successes[1] - successes[0]):+.1f}"


def _stage_gap(outcomes: Mapping[str, Outcomes], sweep: str, method: Method) -> list[str]:
    emulated, simulated = (
        {(row.value, row.seed): row.stages_ms for row in outcomes[how].rows if _is(row, sweep, method)}
        for how in (EMULATED, SIMULATED)
    )
    both = emulated.keys() & simulated.keys()
    return [
        f"{fmean(simulated[one][stage] - emulated[one][stage] for one in both):+.2f}" if both else NONE
        for stage in STAGES
    ]


def _is(row: Outcome, sweep: str, method: Method) -> bool:
    return row.jobs > 0 and (row.sweep, row.method) == (sweep, method.name)


def in_rates(one: Crossover) -> str:
    """The rates of a crossover in words."""
    if not one.ever:
        return "at none tried"
    bounds = []
    if one.above:
        bounds.append(f"above {_rate(one.above)}")
    if one.below:
        bounds.append(f"below {_rate(one.below)}")
    return " and ".join(bounds) or "at all tried"


def in_milliseconds(interval: Interval) -> str:
    """A time with its interval, where there is one."""
    digits = 0 if interval.value >= 100 else 1
    return in_figures(interval, digits).removesuffix(" (one seed: no interval)")


def in_percent(interval: Interval) -> str:
    """A share in percent with its interval, where there is one, which ends where shares do."""
    if math.isfinite(interval.low):
        interval = Interval(interval.value, max(0.0, interval.low), min(100.0, interval.high))
    return in_figures(interval, 1).removesuffix(" (one seed: no interval)")


def _rate(interval: Interval) -> str:
    return in_figures(interval, 2).replace(" (one seed: no interval)", "").replace(" (", " Mbit/s (", 1) + (
        "" if interval.low > 0 else " Mbit/s"
    )


def _over(
    title: str,
    outcomes: Outcomes,
    methods: Sequence[Method],
    sweep: str,
    form: str,
    figure: Callable[[Outcome], float],
    written: Callable[[Interval], str],
    note: str,
) -> Table:
    values = outcomes.values(sweep)
    rows = []
    for method in methods:
        intervals = [outcomes.interval(sweep, value, method.name, figure) for value in values]
        rows.append((method.name, *(written(interval) if interval else NONE for interval in intervals)))
    return Table(title, ("method", *(form.format(value) for value in values)), tuple(rows), note=note)
