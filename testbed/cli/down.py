"""`testbed down`: undoes a testbed, whoever still lives of it."""

from __future__ import annotations

from typing import Annotated

import typer


def down(
    testbed: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The testbed, where several are up.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option(help="The same.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every testbed on this machine.")] = False,
) -> None:
    """Take a testbed down: end its processes, remove what it made, touch nothing else."""
    from testbed.cluster.undo import take_down
    from testbed.network.ownership import Ownership, names_up, require_root, resolve_name

    require_root()
    up = names_up()
    if not up:
        print("no testbed is up: nothing to do")
        return
    failed = False
    for one in up if everything else [resolve_name(testbed or name)]:
        print(f"taking {one} down ...", flush=True)
        reports = take_down(Ownership.open(one))
        for machine, report in reports.items():
            made = {
                "processes": report.processes,
                "namespaces": len(report.namespaces),
                "interfaces": len(report.interfaces),
                "files": len(report.files),
            }
            where = f" on {machine}" if len(reports) > 1 else ""
            print(f"{one} is down{where}: " + ", ".join(f"{count} {what}" for what, count in made.items()))
        for failure in (failure for report in reports.values() for failure in report.failures):
            failed = True
            print(f"not undone: {failure}; call testbed down {one} again")
    raise typer.Exit(1 if failed else 0)
