"""Runs as tables in the terminal: one run, several side by side, and their phases."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import TextIO

import msgspec
from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from testbed.jobs.slot import DecidedBy
from testbed.reporting.by_class import ClassFigures
from testbed.reporting.load import Load, Trial
from testbed.reporting.loadgen import LoadGen
from testbed.reporting.phases import UNDECIDED, Phase
from testbed.reporting.slots import Slots
from testbed.reporting.summary import Summary
from testbed.reporting.verdict import VALID

WIDTH = 100
"""Columns that every table fits into, and is given where stdout is not a terminal."""

UNBOUNDED = 10_000
ABSENT = "-"


def show(summaries: Sequence[Summary], file: TextIO | None = None) -> None:
    """Prints the table of one run or the comparison of several, the phases, and why any is INVALID (to stdout)."""
    console = Console(file=file)
    content = report(_distinguished(summaries))
    columns = console.width
    console.width = UNBOUNDED
    needed = console.measure(content).minimum
    console.width = max(WIDTH, columns, needed)  # a narrow terminal breaks lines, where rich would drop digits
    console.print(content)


def report(summaries: Sequence[Summary]) -> RenderableType:
    """What `show` prints."""
    parts: list[RenderableType] = []
    if len(summaries) == 1:
        parts += [_heading(summaries[0].policy), run_table(summaries[0]), ""]
    else:
        parts += [comparison_table(summaries), "accuracy: a missed deadline counts 0; answered: of the answered jobs\n"]
    if any(len(summary.phases) > 1 for summary in summaries):
        best = ", * best in its phase" if len(summaries) > 1 else ""
        parts += [_heading(f"Accuracy by phase (a missed deadline counts 0{best})"), phase_table(summaries), ""]
        if any(_chooses(summary) for summary in summaries):
            parts += [_heading("Decisions by phase"), choice_table(summaries), ""]
    if any(summary.classes for summary in summaries):
        parts += [_heading("Classes of jobs"), class_table(summaries), ""]
    if len(summaries) > 1 and any(summary.slots for summary in summaries):
        parts += [_heading("Slots"), slot_table(summaries), ""]
    if len(summaries) > 1 and any(summary.loadgen for summary in summaries):
        parts += [_heading("As MLPerf's LoadGen has it"), loadgen_table(summaries), ""]
    parts += [
        Text(f"{summary.policy} is {summary.verdict}: {reason}", style="red")
        for summary in summaries
        for reason in summary.reasons
    ]
    return Group(*parts)


def run_table(summary: Summary) -> Table:
    """One run, a line per figure."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), show_header=False, show_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    misses = ", ".join(f"{stage} {n}" for stage, n in summary.misses_by_stage.items())
    for name, value in {
        "jobs issued": f"{summary.issued}",
        "on time, late, failed, dropped": f"{summary.on_time}, {summary.late}, {summary.failed}, {summary.dropped}",
        "success probability (95 %)": _success(summary),
        "accuracy (a miss counts 0)": _percent(summary.accuracy),
        "accuracy of the answered": _percent(summary.accuracy_answered),
        "throughput on time": f"{summary.throughput_on_time_per_s:.2f} /s",
        "completion p50 / p95 / p99": f"{_percentiles(summary)} ms",
        "payload a job": f"{_whole(summary.payload_bytes_per_job)} bytes",
        "late in stage": misses or ABSENT,
        "decisions": ", ".join(_shares(summary.decisions)) or ABSENT,
        **(_slots(summary.slots) if summary.slots else {}),
        **({f"LoadGen's {summary.loadgen.scenario}": _loadgen(summary.loadgen)} if summary.loadgen else {}),
        "verdict": summary.verdict,
    }.items():
        table.add_row(name, escape(value))
    return table


def comparison_table(summaries: Sequence[Summary]) -> Table:
    """Several runs, a row each."""
    table = _with_policy(max_width=12)
    for heading, width in _COMPARED.items():
        table.add_column(heading, justify="right", no_wrap=True, min_width=width)
    for summary in summaries:
        table.add_row(
            escape(summary.policy),
            f"{summary.issued}",
            _success(summary),
            _percent(summary.accuracy),
            _percent(summary.accuracy_answered),
            _percentiles(summary),
            _whole(summary.payload_bytes_per_job),
            Text(summary.verdict, style="" if summary.verdict == VALID else "red"),
        )
    return table


def phase_table(summaries: Sequence[Summary]) -> Table:
    """Accuracy by policy and phase, the best of each phase marked where there are several."""
    several = len(summaries) > 1
    table = _with_policy(max_width=26)
    spans = _spans(summaries)
    best = {}
    for span in spans:
        table.add_column(_span(span), justify="right", no_wrap=True, min_width=9)
        accuracies = [phase.accuracy for summary in summaries if (phase := _phase_at(summary, span))]
        best[span] = max((accuracy for accuracy in accuracies if accuracy is not None), default=None)
    for summary in summaries:
        phases = [(_phase_at(summary, span), best[span]) for span in spans]
        cells = [_accuracy_cell(phase, top if several else None) for phase, top in phases]
        table.add_row(escape(summary.policy), *cells)
    return table


def choice_table(summaries: Sequence[Summary]) -> Table:
    """What the policies that choose chose in each phase, as shares of its jobs."""
    choosing = [summary for summary in summaries if _chooses(summary)]
    kinds = sorted({kind for summary in choosing for kind in summary.decisions})
    table = _with_policy(max_width=26)
    table.add_column("phase", no_wrap=True, min_width=9)
    for kind in kinds:
        table.add_column(escape(kind), justify="right", no_wrap=True, min_width=max(6, len(kind)))
    for summary in choosing:
        for phase in summary.phases:
            shares = [_percent(phase.decisions.get(kind, 0) / phase.issued if phase.issued else None) for kind in kinds]
            table.add_row(escape(summary.policy), _span((phase.start_s, phase.end_s)), *shares)
    return table


def slot_table(summaries: Sequence[Summary]) -> Table:
    """The slots of the policies that decide them."""
    table = _with_policy(max_width=26)
    for heading in _slots(_NO_SLOTS):
        table.add_column(heading, justify="right", no_wrap=True)
    for summary in summaries:
        if summary.slots:
            table.add_row(escape(summary.policy), *_slots(summary.slots).values())
    return table


def show_load(load: Load, file: TextIO | None = None) -> None:
    """Prints every rate that a search tried, and the highest that was held (to stdout)."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    headings = {"/s a device": 11, "/s in all": 9, "jobs": 5, "success (95 %)": 18, "verdict": 7, "held": 4}
    for heading, width in headings.items():
        table.add_column(heading, justify="right", no_wrap=True, min_width=width)
    for trial in sorted(load.trials, key=lambda trial: trial.rate_per_s):
        table.add_row(
            f"{trial.rate_per_s:g}",
            f"{load.devices * trial.rate_per_s:g}",
            f"{trial.issued}",
            _success(trial),
            Text(trial.verdict, style="" if trial.verdict == VALID else "red"),
            "yes" if trial.held else "no",
        )
    asked = f"a success probability of {100 * load.success:g} %"
    if load.rate_per_s is None:
        found = f"no rate that was tried holds {asked}"
    else:
        most = f"not held at {load.not_held_per_s:g} /s" if load.not_held_per_s else "no higher rate was tried"
        found = f"{load.rate_per_s:g} /s a device, {load.total_per_s:g} /s in all, hold {asked}; {most}"
    console = Console(file=file)
    console.width = max(WIDTH, console.width)
    console.print(_heading(f"{load.policy}: maximum load"), table, Text(found + "\n"))


def class_table(summaries: Sequence[Summary]) -> Table:
    """The classes of jobs, a row for each of a policy's."""
    table = _with_policy(max_width=26)
    table.add_column("class", overflow="fold", min_width=6, max_width=20)
    for heading, width in {"deadline": 8, **_COMPARED}.items():
        if heading not in ("answered", "bytes/job", "verdict"):
            table.add_column(heading, justify="right", no_wrap=True, min_width=width)
    for summary in summaries:
        for each in summary.classes:
            table.add_row(
                escape(summary.policy),
                escape(each.job_class or "(none)"),
                f"{each.deadline_ms:g} ms",
                f"{each.issued}",
                _success(each),
                _percent(each.accuracy),
                _percentiles(each),
            )
    return table


def loadgen_table(summaries: Sequence[Summary]) -> Table:
    """What LoadGen would say, policy by policy."""
    table = _with_policy(max_width=26)
    table.add_column("scenario", no_wrap=True)
    table.add_column("result", overflow="fold")
    for summary in summaries:
        if summary.loadgen:
            table.add_row(escape(summary.policy), summary.loadgen.scenario, _loadgen(summary.loadgen))
    return table


def _loadgen(found: LoadGen) -> str:
    figures = [f"{100 * found.percentile:g}th percentile {_whole(found.latency_ms)} ms"]
    if found.scenario == "single_stream":
        figures.append(f"early-stopping estimate {_whole(found.estimate_ms)} ms")
    else:
        figures.append(f"{found.over_latency} of {found.queries} over the bound")
    return f"{found.result}: {', '.join([*figures, *found.reasons])}"


def _slots(slots: Slots) -> dict[str, str]:
    by = slots.decided_by
    return {
        "slots within 5 ms": f"{_percent(slots.share_on_time)} of {slots.slots}",
        "published p50 / p99": f"{_tenths(slots.late_p50_ms)} / {_tenths(slots.late_p99_ms)} ms",
        "deciding p50 / p99": f"{_tenths(slots.decide_p50_ms)} / {_tenths(slots.decide_p99_ms)} ms",
        "jobs by slot / last / greedy": " / ".join(str(by.get(name, 0)) for name in DecidedBy),
    }


_NO_SLOTS = Slots(0.0, 0, 0, 0.0, None, None, None, None, {})


_COMPARED = {
    "jobs": 5,
    "success (95 %)": 18,
    "accuracy": 8,
    "answered": 8,
    "p50 / p95 / p99 ms": 18,
    "bytes/job": 9,
    "verdict": 7,
}


def _distinguished(summaries: Sequence[Summary]) -> list[Summary]:
    """The summaries, those of a policy shown before numbered in their order."""
    seen: collections.Counter[str] = collections.Counter()
    named = []
    for summary in summaries:
        seen[summary.policy] += 1
        again = f" ({seen[summary.policy]})" if seen[summary.policy] > 1 else ""
        named.append(msgspec.structs.replace(summary, policy=summary.policy + again))
    return named


def _with_policy(max_width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("policy", overflow="fold", min_width=8, max_width=max_width)
    return table


def _heading(text: str) -> Text:
    return Text(text, style="bold")


def _chooses(summary: Summary) -> bool:
    return len(summary.decisions.keys() - {UNDECIDED}) > 1


def _spans(summaries: Sequence[Summary]) -> list[tuple[float, float]]:
    return sorted({(phase.start_s, phase.end_s) for summary in summaries for phase in summary.phases})


def _span(span: tuple[float, float]) -> str:
    return f"{span[0]:g}-{span[1]:g} s"


def _phase_at(summary: Summary, span: tuple[float, float]) -> Phase | None:
    return next((phase for phase in summary.phases if (phase.start_s, phase.end_s) == span), None)


def _accuracy_cell(phase: Phase | None, best: float | None) -> Text:
    if phase is None or phase.accuracy is None:
        return Text(ABSENT)
    if phase.accuracy == best:
        return Text(f"* {_percent(phase.accuracy)}", style="bold")
    return Text(_percent(phase.accuracy))


def _success(summary: Summary | ClassFigures | Trial) -> str:
    if summary.success_probability is None or summary.success_interval is None:
        return ABSENT
    low, high = summary.success_interval
    return f"{_percent(summary.success_probability)} ({100 * low:.1f}-{100 * high:.1f})"


def _percentiles(summary: Summary | ClassFigures) -> str:
    figures = (summary.completion_p50_ms, summary.completion_p95_ms, summary.completion_p99_ms)
    return " / ".join(_whole(figure) for figure in figures)


def _percent(share: float | None) -> str:
    return ABSENT if share is None else f"{100 * share:.1f} %"


def _tenths(figure: float | None) -> str:
    return ABSENT if figure is None else f"{figure:.1f}"


def _whole(figure: float | None) -> str:
    return ABSENT if figure is None else f"{figure:.0f}"


def _shares(decisions: dict[str, int]) -> list[str]:
    total = sum(decisions.values())
    return [f"{name} {100 * n / total:.0f} %" for name, n in sorted(decisions.items(), key=lambda item: -item[1])]
