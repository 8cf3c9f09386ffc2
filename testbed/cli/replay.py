"""`testbed replay`: a stored run again, from its manifest alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def replay(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder below results/.", show_default=False)],
    output: Annotated[Path, typer.Option(help="Where the new run is stored.")] = Path("results"),
    name: Annotated[str | None, typer.Option(help="What to call the testbed, if not as it was.")] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="On a model, though it was on a network.")] = False,
) -> None:
    """Repeat a run, on a network brought up for it or on the model, and say what differed."""
    from testbed.cli.errors import WrongInputError
    from testbed.cli.topologies import named
    from testbed.network.ownership import require_root
    from testbed.reporting.difference import difference
    from testbed.reporting.difference_tables import show_difference
    from testbed.reporting.stored_run import NotARun, open_run
    from testbed.reporting.verdict import VALID
    from testbed.workload.manifest import SIMULATED
    from testbed.workload.replay import ManifestError, planned

    try:
        before = open_run(run)
        plan = planned(before.manifest)
    except (NotARun, ManifestError) as error:
        raise WrongInputError(str(error) if isinstance(error, NotARun) else f"{run}: {error}") from error
    topology = named(plan.topology, name)
    simulated = simulate or plan.shaping == SIMULATED
    if not simulated:
        from testbed.cluster.ray_head import listen_for

        require_root()
        listen_for(topology)

    from testbed.cli.inputs import ready
    from testbed.cli.progress import Steps, run_progress

    tell = Steps()
    inputs = ready(plan.workload, topology, plan.seed, simulated=simulated)
    if simulated:
        from testbed.workload.simulated import simulate_series

        with run_progress() as watch:
            (again,) = simulate_series(topology, plan.workload, plan.seed, inputs, output, tell, watch)
    else:
        from testbed.network.probe import choose_shaping
        from testbed.runtime.lifecycle import brought_up
        from testbed.workload.series import run_series

        lifetime = brought_up(topology, choose_shaping(plan.shaping), keep=False, tell=tell)
        with lifetime as running, run_progress() as watch:
            (again,) = run_series(running, plan.workload, plan.seed, inputs, output, tell, watch)
    show_difference(difference(before, again))
    print(f"results: {again.path}")
    if again.summary.verdict != VALID:
        raise typer.Exit(1)
