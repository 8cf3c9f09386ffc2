"""What the experiment reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from testbed.experiments.findings import verdicts
from testbed.experiments.policies import results
from testbed.experiments.policies.claims import claims, goals
from testbed.experiments.policies.judging import Judged
from testbed.experiments.policies.outcomes import Outcomes
from testbed.experiments.report import Report
from testbed.experiments.report import write as write_report
from testbed.experiments.tables import Table
from testbed.reporting.ownership import make_folders

COLUMNS = ("sweep", "value", "policy", "trained_at", "seed", *Judged.__struct_fields__)
"""Of `outcomes.csv`: a row for every point, policy and seed."""

Curves = dict[str, list[list[tuple[int, float]]]]


def report(outcomes: Outcomes, left_out: Sequence[tuple[str, str]], heading: str, more: Sequence[Table]) -> Report:
    """All tables; `more` are others' to add."""
    shown = (
        results.at_defaults(outcomes),
        *results.left_out(left_out),
        verdicts("Claims of the paper", claims(outcomes)),
        verdicts("Goals of this project", goals(outcomes)),
        *more,
    )
    return Report("Policies", heading, shown, (*results.elsewhere(outcomes), *results.sweeps(outcomes)))


def write(made: Report, outcomes: Outcomes, curves: Curves, folder: Path) -> Path:
    """Write the report with its figures; returns its path."""
    from testbed.experiments.policies.figures import draw

    make_folders(folder)
    rows = (
        (row.sweep, row.value, row.method, row.trained_at, row.seed, *msgspec.structs.astuple(row.judged))
        for row in outcomes.rows
    )
    return write_report(made, draw(outcomes, curves, folder), COLUMNS, rows, folder)
