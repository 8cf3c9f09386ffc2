"""The report of an experiment: a folder with the tables, the figures and every outcome."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from testbed.experiments.tables import Table
from testbed.reporting.ownership import give_to_caller, make_folders


class Report(msgspec.Struct, frozen=True):
    """What an experiment says, in tables: first what the terminal shows, then the rest."""

    title: str
    heading: str
    shown: tuple[Table, ...]
    rest: tuple[Table, ...]


class Made(msgspec.Struct, frozen=True):
    """What was made; whether what is shipped agrees with what was committed of it, or was not looked at."""

    report: Report
    path: Path
    agrees: bool = True


def write(
    made: Report,
    figures: Sequence[tuple[str, str]],
    columns: Sequence[str],
    outcomes: Iterable[Sequence[object]],
    folder: Path,
) -> Path:
    """Write `report.md` and `outcomes.csv` beside the figures, whose names and captions are given; returns the path of
    the report."""
    make_folders(folder)
    path = folder / "report.md"
    images = "\n".join(f"![{caption}]({name})\n\n*{caption}.*\n" for name, caption in figures)
    tables = "\n".join(table.markdown() for table in (*made.shown, *made.rest))
    path.write_text(f"# {made.title}\n\n{made.heading}\n\n{tables}\n## Figures\n\n{images}", encoding="utf-8")
    with (folder / "outcomes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([_cell(value) for value in row] for row in outcomes)
    for name in ("report.md", "outcomes.csv", *(name for name, _ in figures)):
        give_to_caller(folder / name)
    return path


def _cell(value: object) -> object:
    if value is None:
        return ""
    return f"{value:.10g}" if isinstance(value, float) else value
