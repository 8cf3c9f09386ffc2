"""`testbed certify`: the thorough certificate of a testbed that is up."""

from __future__ import annotations

from typing import Annotated

import typer


def certify(
    testbed: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The testbed, where several are up.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option(help="The same.", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """Measure the links thoroughly, in minutes: a loss of 0.1 %, bursts of losses, jitter's distribution, queues."""
    import msgspec

    from testbed.cli.links import print_certificate, print_misses
    from testbed.cli.progress import Steps
    from testbed.cluster.ray_head import listen_for
    from testbed.network.certify import misses
    from testbed.network.ownership import Ownership, require_root
    from testbed.runtime.lifecycle import attached, store_certificate, topology_up

    require_root()
    listen_for(topology_up(testbed or name))
    with attached(testbed or name) as running:
        certificate = running.assembly.certify(Steps(), thorough=True)
        store_certificate(Ownership.open(running.topology.name), certificate)
    if json:
        print(msgspec.json.encode({"before": certificate}).decode())
        print_misses(certificate)
    else:
        print_certificate(certificate)
    raise typer.Exit(1 if misses(certificate) else 0)
