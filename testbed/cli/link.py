"""`testbed link`: changes a link by hand."""

from __future__ import annotations

from typing import Annotated

import typer


def link(
    a: Annotated[str, typer.Argument(metavar="A", help="One end of the link.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="The other end.", show_default=False)],
    changes: Annotated[list[str], typer.Option("--set", metavar="PARAMETER=VALUE", help="Such as bandwidth=1Mbit/s.")],
    direction: Annotated[str, typer.Option(help="both, or up (from A to B) or down alone.")] = "both",
    name: Annotated[str | None, typer.Option(help="The testbed, where several are up.")] = None,
) -> None:
    """Change bandwidth, delay, jitter, loss or queue of a link in place, until it is changed again."""
    from testbed.cli.errors import WrongInputError
    from testbed.documents.resolve import parse_change
    from testbed.documents.resolved import LinkChange

    try:
        change = parse_change(changes)
    except ValueError as error:
        raise WrongInputError(f"--set: {error}") from error
    if direction not in ("both", "up", "down"):
        raise WrongInputError(f"--direction: {direction!r} is not one of both, up, down")

    from testbed.cluster.ray_head import listen_for
    from testbed.network.ownership import require_root
    from testbed.runtime.lifecycle import attached, topology_up

    require_root()
    listen_for(topology_up(name))
    with attached(name) as running:
        pairs = {(one.a, one.b) for one in running.topology.links}
        if (a, b) not in pairs and (b, a) not in pairs:
            raise WrongInputError(f"there is no link between {a} and {b}; `testbed status` lists the links")
        nothing = LinkChange()
        forward = change if direction in ("both", "up") else nothing
        backward = change if direction in ("both", "down") else nothing
        wanted = (a, b, forward, backward) if (a, b) in pairs else (b, a, backward, forward)
        if problem := running.assembly.change(*wanted):
            raise WrongInputError(f"--set: {problem}")
