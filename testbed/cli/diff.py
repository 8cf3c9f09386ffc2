"""`testbed diff`: what differs between two stored runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def diff(
    a: Annotated[Path, typer.Argument(metavar="RUN", help="A folder below results/.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="RUN", help="The one to compare with it.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print the difference as one JSON value.")] = False,
) -> None:
    """Compare two runs: configuration, environment, distributions with tests and effect sizes, stages, decisions."""
    import msgspec

    from testbed.reporting.difference import difference
    from testbed.reporting.difference_tables import show_difference
    from testbed.reporting.stored_run import NotARun, open_run

    try:
        runs = open_run(a), open_run(b)
    except NotARun as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from error
    found = difference(*runs)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        show_difference(found)
