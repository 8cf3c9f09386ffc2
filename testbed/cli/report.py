"""`testbed report`: stored runs as a table, and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

COMPARISON = "comparison.html"


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders below results/.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            help="The page's file, if not report.html of the run, or comparison.html beside the first of several.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summaries as one JSON value; no page.")] = False,
) -> None:
    """Show one run, or several side by side, and draw their page; also runs that were killed, with what they kept."""
    import msgspec

    from testbed.reporting.page import NAME, write_page
    from testbed.reporting.page_data import Unreadable
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
        page = output or (runs[0] / NAME if len(runs) == 1 else runs[0].resolve().parent / COMPARISON)
        try:
            write_page(stored, page)
        except (OSError, Unreadable) as error:
            typer.echo(f"the page was not written: {error}", err=True)
            raise typer.Exit(1) from error
        typer.echo(f"page: {page}")
    if any(summary.verdict != VALID for summary in summaries):
        raise typer.Exit(1)
