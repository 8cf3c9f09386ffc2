"""`testbed exec`: a command inside a node."""

from __future__ import annotations

from typing import Annotated

import typer


def exec_(
    node: Annotated[str, typer.Argument(metavar="NODE", help="A device, edge or access point.", show_default=False)],
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND [ARG...]", help="What to run.", show_default=False)
    ],
    name: Annotated[str | None, typer.Option(help="The testbed, where several are up.", show_default=False)] = None,
) -> None:
    """Run a command inside a node, where the other nodes' names resolve; its streams and exit status are its own."""
    import sys

    from testbed.cli.errors import WrongInputError
    from testbed.cluster.elsewhere import run_on
    from testbed.network.inside import become
    from testbed.network.ownership import Ownership, require_root, resolve_name
    from testbed.network.state import read_state

    require_root()
    ownership = Ownership.open(resolve_name(name))
    state = read_state(ownership)
    if node not in state.part.placement:
        raise WrongInputError(f"there is no node {node!r}: the nodes are {', '.join(state.part.placement)}")
    if not state.part.here(node):
        raise typer.Exit(run_on(state.part.placement[node], state, node, command))
    try:
        become(ownership, state, node, command)
    except OSError as error:
        print(f"testbed: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(127 if isinstance(error, FileNotFoundError) else 126) from None
