"""The difference between two runs as tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from testbed.reporting.difference import Change, Difference
from testbed.reporting.statistics import Compared
from testbed.reporting.tables import ABSENT, WIDTH

_MOST_CHANGES = 20
_SIGNIFICANT = 0.05


def show_difference(found: Difference, file: TextIO | None = None) -> None:
    """Prints it (to stdout)."""
    console = Console(file=file)
    console.width = max(WIDTH, console.width)
    console.print(_report(found))


def _report(found: Difference) -> RenderableType:
    parts: list[RenderableType] = [
        Text(f"a: {found.a} ({found.verdict_a})"),
        Text(f"b: {found.b} ({found.verdict_b})"),
        "",
    ]
    for heading, changes in (("Configuration", found.configuration), ("Environment", found.environment)):
        parts += [Text(heading, style="bold"), _changes(changes) if changes else "no difference", ""]
    parts += [Text("Jobs", style="bold"), *_paired(found), _shares(found.shares), ""]
    parts += [Text("Distributions over answered jobs", style="bold"), _values(found.distributions), ""]
    parts += [
        Text("Stages (beyond the device: of jobs that went there)", style="bold"),
        _values(found.stages),
        "",
    ]
    parts += [Text("Decisions", style="bold"), _decisions(found)]
    parts.append(
        Text(
            "p: adjusted for all that is compared (Holm), * below 5 %; effect: Cohen's h of shares, Cliff's delta of "
            "values, negligible below 0.2 and 0.15; apart: the most by which the distributions are"
        )
    )
    return Group(*parts)


def _changes(changes: Sequence[Change]) -> RenderableType:
    table = _table("", "a", "b", justify="left")
    for one in changes[:_MOST_CHANGES]:
        table.add_row(escape(one.name), escape(_shown(one.a)), escape(_shown(one.b)))
    rest = len(changes) - _MOST_CHANGES
    return Group(table, f"and {rest} more: --json has all") if rest > 0 else table


def _shown(value: Any) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, float):
        return f"{value:g}"
    text = ", ".join(map(_shown, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _paired(found: Difference) -> list[RenderableType]:
    pair = found.paired
    if pair is None:
        return ["not the same jobs"]
    p = "" if pair.p is None else f" (p {pair.p:.3g}, McNemar)"
    return [
        f"the same {pair.jobs} jobs: {_of(pair.same_decision, pair.jobs)} decided alike, "
        f"{_of(pair.same_prediction, pair.predicted)} answered alike, on time only in a "
        f"{pair.only_a_on_time}, only in b {pair.only_b_on_time}{p}"
    ]


def _of(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.1f} %)" if whole else "none"


def _shares(compared: Sequence[Compared]) -> Table:
    table = _table("", "a", "b", "b - a, points", "95 %", "p", "effect")
    for one in compared:
        table.add_row(one.name, *_share(one), _p(one), _figure(one.effect, "+.2f"))
    return table


def _share(one: Compared) -> tuple[str, str, str, str]:
    interval = ABSENT if one.interval is None else f"{100 * one.interval[0]:+.1f} to {100 * one.interval[1]:+.1f}"
    return _percent(one.a), _percent(one.b), _figure(one.change, "+.1f", 100), interval


def _values(compared: Sequence[Compared]) -> Table:
    table = _table("", "jobs", "median a", "median b", "b - a", "p", "effect", "apart")
    for one in compared:
        table.add_row(
            one.name,
            str(one.n_a) if one.n_a == one.n_b else f"{one.n_a}, {one.n_b}",
            _figure(one.a, ".3f"),
            _figure(one.b, ".3f"),
            _change(one),
            _p(one),
            _figure(one.effect, "+.2f"),
            _figure(one.distance, ".2f"),
        )
    return table


def _decisions(found: Difference) -> Table:
    table = _table("", "jobs a", "jobs b", "on time a", "on time b", "median ms a", "median ms b", "b - a")
    for one in found.decisions:
        success, completion = one.success, one.completion_ms
        table.add_row(
            escape(one.decision),
            str(success.n_a),
            str(success.n_b),
            _percent(success.a),
            _percent(success.b),
            _figure(completion.a, ".1f"),
            _figure(completion.b, ".1f"),
            _change(completion),
        )
    return table


def _change(one: Compared) -> str:
    return ABSENT if one.change is None else f"{100 * one.change:+.1f} %"


def _p(one: Compared) -> str:
    return ABSENT if one.p is None else f"{one.p:.2g}{' *' if one.p < _SIGNIFICANT else ''}"


def _percent(share: float | None) -> str:
    return ABSENT if share is None else f"{100 * share:.1f} %"


def _figure(value: float | None, form: str, times: float = 1) -> str:
    return ABSENT if value is None else format(times * value, form)


def _table(*headings: str, justify: str = "right") -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place and justify == "right" else "left", overflow="fold")
    return table
