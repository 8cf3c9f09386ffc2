"""`testbed up`: builds, starts and certifies a topology."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def up(
    topology: Annotated[Path, typer.Argument(metavar="TOPOLOGY", help="A topology file.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="The testbed's name, if not the topology's.")] = None,
    shaping: Annotated[str, typer.Option(help="How links are shaped: auto, netem or relay.")] = "auto",
) -> None:
    """Bring a testbed up: its links measured, its nodes ready for runs."""
    from testbed.cli.topologies import resolved

    plan = resolved(topology, name)

    from testbed.cli.links import print_certificate
    from testbed.cli.progress import Steps
    from testbed.cluster.ray_head import listen_for
    from testbed.network.ownership import require_root
    from testbed.network.probe import choose_shaping
    from testbed.runtime.lifecycle import brought_up

    require_root()
    listen_for(plan)
    chosen = choose_shaping(shaping)
    with brought_up(plan, chosen, keep=True, tell=Steps()) as running:
        print_certificate(running.certificate)
    print(f"testbed {plan.name} is up ({chosen.value}); next: testbed run WORKLOAD, testbed down")
