"""A run's view in the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from testbed.reporting.live import EdgeNow, LinkNow, View
from testbed.reporting.page_words import ABSENT, milliseconds, percent, rate

_FIXED_LINES = 10
"""What stands above and between the tables."""


def live_table(view: View, lines: int) -> RenderableType:
    """The view in so many lines: the run, its edges, and as many links as there is room for, the poorest first."""
    room = max(2, lines - _FIXED_LINES)
    edges = view.edges[: max(1, room // 3)]
    links = sorted(view.links, key=lambda link: (-link.loss, link.bandwidth_bps))[: max(1, room - len(edges))]
    parts: list[RenderableType] = [_heading(view), _jobs(view)]
    if edges:
        parts.append(_table("edge", ("queued work", "jobs", "on time"), [_edge(edge) for edge in edges]))
    if links:
        parts.append(_table("link", ("rate", "delay", "loss"), [_link(link) for link in links]))
    hidden = [f"{len(view.edges) - len(edges)} more edges"] if len(view.edges) > len(edges) else []
    hidden += [f"{len(view.links) - len(links)} more links"] if len(view.links) > len(links) else []
    return Group(*parts, Text(", ".join(hidden), style="dim")) if hidden else Group(*parts)


def _heading(view: View) -> Text:
    return Text(f"{view.run}: {max(0.0, view.elapsed_s):.0f} of {view.duration_s:g} s", style="bold")


def _jobs(view: View) -> Table:
    counts = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in view.ended.items())
    p50, p95 = (milliseconds(figure).removesuffix(" ms") for figure in (view.completion_p50_ms, view.completion_p95_ms))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row("jobs", f"{sum(view.ended.values())} of {view.issued}: {counts}")
    table.add_row("on time", f"{percent(view.success)}, in the last 10 s {percent(view.success_recent)}")
    table.add_row("p50 / p95", f"{p50} / {p95} ms in the last 10 s")
    return table


def _table(first: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _edge(edge: EdgeNow) -> tuple[str, ...]:
    share = percent(edge.on_time / edge.jobs) if edge.jobs else ABSENT
    return edge.name, milliseconds(1e3 * edge.backlog_s), str(edge.jobs), share


def _link(link: LinkNow) -> tuple[str, ...]:
    loss = "cut" if link.loss >= 1 else percent(link.loss)
    return f"{link.start} > {link.end}", rate(link.bandwidth_bps), milliseconds(link.delay_ms), loss
