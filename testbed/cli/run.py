"""`testbed run`: a workload over a testbed, under each of its policies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from testbed.documents.resolved import ResolvedTopology
    from testbed.documents.workload import Workload
    from testbed.workload.inputs import Inputs


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
) -> None:
    """Run a workload, once for each of its policies, on identical arrivals, photographs and channel."""
    from testbed.cli.topologies import resolved
    from testbed.documents.loading import load_workload
    from testbed.network.ownership import require_root
    from testbed.runtime.lifecycle import attached, brought_up, topology_up

    plan = resolved(topology, name) if topology else topology_up(name)
    document = load_workload(workload, plan)
    require_root()

    from testbed.cli.progress import Steps, run_progress
    from testbed.network.probe import choose_shaping
    from testbed.reporting.tables import show
    from testbed.reporting.verdict import VALID
    from testbed.workload.series import run_series

    tell = Steps()
    drawn_seed = document.seed if seed is None else seed
    inputs = _inputs(document, plan, drawn_seed)
    lifetime = brought_up(plan, choose_shaping(shaping), keep=False, tell=tell) if topology else attached(name)
    with run_progress(serve) as watch, lifetime as running:
        runs = run_series(running, document, drawn_seed, inputs, output, tell, watch)
    show([stored.summary for stored in runs])
    for stored in runs:
        print(f"results: {stored.path}")
    if any(stored.summary.verdict != VALID for stored in runs):
        raise typer.Exit(1)


def _inputs(workload: Workload, topology: ResolvedTopology, seed: int) -> Inputs:
    from testbed.aecnn.checkpoint import CheckpointError
    from testbed.aecnn.own.protocol import ModelError
    from testbed.aecnn.photographs import PhotographError
    from testbed.cli.errors import WrongInputError
    from testbed.cli.progress import bar_when_told
    from testbed.workload.inputs import check_policies, draw_inputs, prepare_payloads

    try:
        with bar_when_told("measuring the model") as progress:
            inputs = draw_inputs(workload, topology, seed, progress)
        check_policies(workload, topology, inputs.profile, seed)
        with bar_when_told("preparing payloads") as progress:
            prepare_payloads(workload, topology, inputs, progress)
    except (CheckpointError, ModelError, PhotographError) as error:
        raise WrongInputError(f"model: {error}") from error
    return inputs
