"""`testbed report`: stored runs as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders below results/.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print the summaries as one JSON value.")] = False,
) -> None:
    """Show one run, or several side by side; also runs that were killed, with what they kept."""
    import msgspec

    from testbed.reporting.stored_run import NotARun, open_run
    from testbed.reporting.tables import show
    from testbed.reporting.verdict import VALID

    try:
        stored = [open_run(path) for path in runs]
    except NotARun as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from error
    summaries = [run.summary for run in stored]
    if json:
        named = {str(path): summary for path, summary in zip(runs, summaries, strict=True)}
        typer.echo(msgspec.json.format(msgspec.json.encode(named), indent=2).decode())
    else:
        show(summaries)
    if any(summary.verdict != VALID for summary in summaries):
        raise typer.Exit(1)
