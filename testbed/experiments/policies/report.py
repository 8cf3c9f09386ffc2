"""The report of the experiment: a folder with the tables, the figures and every outcome."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import msgspec

from testbed.experiments.policies import results
from testbed.experiments.policies.claims import claims, goals
from testbed.experiments.policies.judging import Judged
from testbed.experiments.policies.outcomes import Outcomes
from testbed.experiments.tables import Table
from testbed.reporting.ownership import give_to_caller, make_folders

COLUMNS = ("sweep", "value", "policy", "trained_at", "seed", *Judged.__struct_fields__)
"""Of `outcomes.csv`: a row for every point, policy and seed."""

Curves = dict[str, list[list[tuple[int, float]]]]


class Report(msgspec.Struct, frozen=True):
    """What the experiment says, in tables: first what the terminal shows, then the rest."""

    heading: str
    shown: tuple[Table, ...]
    rest: tuple[Table, ...]


def report(outcomes: Outcomes, left_out: Sequence[tuple[str, str]], heading: str, more: Sequence[Table]) -> Report:
    """All tables; `more` are others' to add."""
    shown = (
        results.at_defaults(outcomes),
        *results.left_out(left_out),
        results.verdicts("Claims of the paper", claims(outcomes)),
        results.verdicts("Goals of this project", goals(outcomes)),
        *more,
    )
    return Report(heading, shown, (*results.elsewhere(outcomes), *results.sweeps(outcomes)))


def write(made: Report, outcomes: Outcomes, curves: Curves, folder: Path) -> Path:
    """Write `report.md`, `outcomes.csv` and the figures; returns the path of the report."""
    from testbed.experiments.policies.figures import draw

    make_folders(folder)
    figures = draw(outcomes, curves, folder)
    path = folder / "report.md"
    images = "\n".join(f"![{caption}]({name})\n\n*{caption}.*\n" for name, caption in figures)
    tables = "\n".join(table.markdown() for table in (*made.shown, *made.rest))
    path.write_text(f"# Policies\n\n{made.heading}\n\n{tables}\n## Figures\n\n{images}", encoding="utf-8")
    with (folder / "outcomes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in outcomes.rows:
            at = "" if row.trained_at is None else row.trained_at
            figures_of = (f"{figure:.10g}" for figure in msgspec.structs.astuple(row.judged))
            writer.writerow((row.sweep, f"{row.value:g}", row.method, at, row.seed, *figures_of))
    for name in ("report.md", "outcomes.csv", *(name for name, _ in figures)):
        give_to_caller(folder / name)
    return path
