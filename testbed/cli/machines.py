"""`testbed machines`: lab machines over SSH, checked and prepared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from testbed.cluster.check import Report

app = typer.Typer(no_args_is_help=True, help="Lab machines over SSH: can they carry a testbed, and make it so.")

_Topology = Annotated[Path, typer.Argument(metavar="TOPOLOGY", help="One with machines.", show_default=False)]
_Json = Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")]


@app.command()
def check(
    topology: _Topology,
    shaping: Annotated[str, typer.Option(help="How links are to be shaped: auto, netem or relay.")] = "auto",
    json: _Json = False,
) -> None:
    """Look at every machine: is it reached, with root; kernel, versions, clock, ports, disk (exit status 2 if not)."""
    import msgspec

    from testbed.cli.errors import WrongInputError
    from testbed.cli.topologies import resolved
    from testbed.network.ownership import require_root
    from testbed.network.shape import Shaping

    plan = resolved(topology, None)
    if shaping not in ("auto", *Shaping):
        raise WrongInputError(f"--shaping: there is no {shaping!r}: there are auto, {', '.join(Shaping)}")

    from testbed.cluster import check as checking

    require_root()
    reports = checking.check(plan, shaping)
    if json:
        print(msgspec.json.encode({"machines": reports}).decode())
    else:
        _print(reports)
    raise typer.Exit(0 if all(report.ok for report in reports) else 2)


@app.command()
def prepare(
    topology: _Topology,
    torch_index: Annotated[
        str | None, typer.Option(help="URL of the index where pip finds torch there.", show_default=False)
    ] = None,
    json: _Json = False,
) -> None:
    """Install what the machines lack: Debian packages, an environment, this project's wheel (exit status 1 if not)."""
    import msgspec

    from testbed.cli.progress import Steps
    from testbed.cli.topologies import resolved
    from testbed.network.ownership import require_root

    plan = resolved(topology, None)

    from testbed.cluster import prepare as preparing

    require_root()
    results = preparing.prepare(plan, torch_index, Steps())
    if json:
        print(msgspec.json.encode({"machines": results}).decode())
    else:
        for one in results:
            print(f"{one.machine}: {one.error or '; '.join(one.done) or 'has all that it needs'}")
    raise typer.Exit(0 if all(one.ok for one in results) else 1)


def _print(reports: Sequence[Report]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from testbed.cluster.check import CHECKS

    table = Table(box=box.SIMPLE_HEAD, title="machines", title_justify="left")
    for heading in ("machine", "address", *CHECKS, ""):
        table.add_column(heading, no_wrap=True)
    for report in reports:
        found = {finding.check: "ok" if finding.ok else "FAULT" for finding in report.findings}
        cells = [found.get(check, "-") for check in CHECKS]
        table.add_row(report.machine, report.address, *cells, "ready" if report.ok else "NOT READY")
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(table)
    for report in reports:
        for finding in report.findings:
            if not finding.ok:
                remedy = f"; mend it: {finding.remedy}" if finding.remedy else ""
                print(f"{report.machine}: {finding.check}: {finding.detail}{remedy}", file=sys.stderr)
