"""`testbed run`: a workload over a testbed, under each of its policies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    workload: Annotated[Path, typer.Argument(metavar="WORKLOAD", help="A workload file.", show_default=False)],
    topology: Annotated[Path | None, typer.Option(help="Bring this topology up for the run, and down again.")] = None,
    output: Annotated[Path, typer.Option(help="Where runs are stored.")] = Path("results"),
    seed: Annotated[int | None, typer.Option(min=0, help="Seed, if not the workload's.")] = None,
    name: Annotated[str | None, typer.Option(help="The testbed, where several are up; or its name to be.")] = None,
    shaping: Annotated[str, typer.Option(help="With --topology: auto, netem or relay.")] = "auto",
    serve: Annotated[
        int | None,
        typer.Option(min=0, max=65535, metavar="PORT", help="Show it at this port of 127.0.0.1, too; 0: any."),
    ] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="On a model: no network, no root.")] = False,
) -> None:
    """Run a workload, once for each of its policies, on identical arrivals, photographs and channel."""
    from testbed.cli.topologies import resolved
    from testbed.documents.loading import load_workload
    from testbed.network.ownership import require_root

    if topology:
        plan = resolved(topology, name)
    else:
        from testbed.runtime.lifecycle import topology_up

        plan = topology_up(name)
    document = load_workload(workload, plan)
    if not simulate:
        from testbed.cluster.ray_head import listen_for

        require_root()
        listen_for(plan)

    from testbed.cli.inputs import ready
    from testbed.cli.progress import Steps, run_progress
    from testbed.reporting.tables import show
    from testbed.reporting.verdict import VALID

    tell = Steps()
    drawn_seed = document.seed if seed is None else seed
    inputs = ready(document, plan, drawn_seed, simulated=simulate)
    if simulate:
        from testbed.workload.simulated import simulate_series

        with run_progress(serve) as watch:
            runs = simulate_series(plan, document, drawn_seed, inputs, output, tell, watch)
    else:
        from testbed.network.probe import choose_shaping
        from testbed.runtime.lifecycle import attached, brought_up
        from testbed.workload.series import run_series

        lifetime = brought_up(plan, choose_shaping(shaping), keep=False, tell=tell) if topology else attached(name)
        with run_progress(serve) as watch, lifetime as running:
            runs = run_series(running, document, drawn_seed, inputs, output, tell, watch)
    show([stored.summary for stored in runs])
    for stored in runs:
        print(f"results: {stored.path}")
    if any(stored.summary.verdict != VALID for stored in runs):
        raise typer.Exit(1)
