"""What tables of a page are made of."""

from __future__ import annotations

import msgspec

from testbed.reporting.page_words import milliseconds, percent

MOST_ROWS = 500
"""Of what is listed one by one."""


class Cell(msgspec.Struct, frozen=True):
    """What a cell says, the number that it sorts by (None: the text), and whether it is something amiss."""

    words: str
    value: float | None = None
    bad: bool = False


class Table(msgspec.Struct, frozen=True):
    """A table of the page; one that is long scrolls."""

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: list[list[Cell]]
    long: bool = False


def share_cell(share: float | None) -> Cell:
    """A share of 1."""
    return Cell(percent(share), share)


def ms_cell(figure: float | None) -> Cell:
    """Milliseconds, without their unit."""
    return Cell(milliseconds(figure).removesuffix(" ms"), figure)
