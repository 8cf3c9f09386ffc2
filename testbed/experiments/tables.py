"""A table of text: as Markdown in a report, and in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Drawn

LEAST_WIDTH = 100
LEAST_WORDS = 16
UNBOUNDED = 10_000


class Table(msgspec.Struct, frozen=True):
    """Rows of text under headings. The first `names` columns are words, the others figures."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int = 1
    note: str = ""

    def markdown(self) -> str:
        """A heading, the table, the note."""
        marks = ["---"] * self.names + ["---:"] * (len(self.headings) - self.names)
        lines = [self.headings, marks, *self.rows]
        table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return "\n\n".join(filter(None, (f"## {self.title}", table, self.note))) + "\n"

    def drawn(self) -> Drawn:
        """For a terminal."""
        drawn = Drawn(
            title=escape(self.title),
            title_style="bold",
            title_justify="left",
            caption=escape(self.note) or None,
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            show_edge=False,
        )
        for place, heading in enumerate(self.headings):
            words = place < self.names
            justify: Literal["left", "right"] = "left" if words else "right"
            longest = max(len(row[place]) for row in (self.headings, *self.rows))
            least = min(longest, LEAST_WORDS) if words else longest
            drawn.add_column(escape(heading), justify=justify, overflow="fold", no_wrap=not words, min_width=least)
        for row in self.rows:
            drawn.add_row(*map(escape, row))
        return drawn


def show(tables: Sequence[Table]) -> None:
    """Print to stdout, as wide as the figures need: a narrow terminal breaks lines, where rich would drop digits."""
    console = Console()
    for table in tables:
        drawn = table.drawn()
        width = console.width
        console.width = UNBOUNDED
        console.width = max(LEAST_WIDTH, width, console.measure(drawn).minimum)
        console.print(drawn)
        console.print()
        console.width = width
