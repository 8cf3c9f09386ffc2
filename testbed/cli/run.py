"""`testbed run`: a workload over a testbed, under each of its policies."""

from __future__ import annotations

import contextlib
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from testbed.documents.workload import Workload
    from testbed.reporting.stored_run import StoredRun
    from testbed.workload.turns import Series


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
    find_load: Annotated[
        bool,
        typer.Option("--find-load", help="Find the highest rate of arrivals at which --success is held, by many runs."),
    ] = False,
    success: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="With --find-load: the success probability asked.")
    ] = 0.95,
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

    if find_load:
        _check_rate(document)

    from testbed.cli.inputs import ready
    from testbed.cli.progress import Steps, run_progress
    from testbed.reporting.tables import show, show_load
    from testbed.reporting.verdict import VALID
    from testbed.workload.load import find_loads

    tell = Steps()
    drawn_seed = document.seed if seed is None else seed
    inputs = ready(document, plan, drawn_seed, simulated=simulate)

    def run_all(asked: Workload) -> list[StoredRun]:
        found = inputs if asked is document else ready(asked, plan, drawn_seed, simulated=simulate)
        return series(asked, drawn_seed, found, output, tell, watch)

    with run_progress(serve) as watch, contextlib.ExitStack() as stack:
        if simulate:
            from testbed.workload.simulated import simulate_series

            series: Series = partial(simulate_series, plan)
        else:
            from testbed.network.probe import choose_shaping
            from testbed.runtime.lifecycle import attached, brought_up
            from testbed.workload.turns import Turns

            lifetime = brought_up(plan, choose_shaping(shaping), keep=False, tell=tell) if topology else attached(name)
            series = Turns(stack.enter_context(lifetime)).run
        if find_load:
            loads = find_loads(document, len(plan.devices), run_all, success=success, output=output, tell=tell)
        else:
            runs = run_all(document)
    if find_load:
        for load in loads:
            show_load(load)
        raise typer.Exit(any(load.rate_per_s is None for load in loads))
    show([stored.summary for stored in runs])
    for stored in runs:
        print(f"results: {stored.path}")
    if len(runs) > 1:
        print(f"side by side, as a page: {shlex.join(['testbed', 'report', *(str(stored.path) for stored in runs)])}")
    if any(stored.summary.verdict != VALID for stored in runs):
        raise typer.Exit(1)


def _check_rate(workload: Workload) -> None:
    from testbed.cli.errors import WrongInputError

    try:
        _ = workload.rate_per_s
    except ValueError as error:
        raise WrongInputError(f"--find-load: {error}") from error
