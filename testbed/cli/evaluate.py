"""`testbed evaluate`: accuracy and payload bytes of every operating point of a model; what a policy comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_SLOTS = 300


def evaluate(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help='"default" for the shipped checkpoint, a .safetensors file (a policy\'s too), or package.module:Class.'
        ),
    ],
    images: Annotated[
        Path | None, typer.Option(help="Folder or zip in Caltech-101's layout; the shipped sample if not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """Accuracy, mean-per-class accuracy and payload bytes of every operating point, on photographs.

    A policy's file: its reward, accuracy and share of jobs on time, on slots that it did not learn from.
    """
    from testbed.experiments.policies.evaluation import is_policy

    if is_policy(Path(checkpoint)):
        _evaluate_policy(Path(checkpoint), images, as_json)
        return
    import msgspec
    import torch
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from testbed.aecnn.checkpoint import CheckpointError
    from testbed.aecnn.evaluation import evaluate_points
    from testbed.aecnn.loading import load_model
    from testbed.aecnn.own.check import check_stages
    from testbed.aecnn.own.protocol import ModelError
    from testbed.aecnn.photographs import PhotographError, open_photographs
    from testbed.cli.errors import WrongInputError
    from testbed.cli.progress import bar
    from testbed.documents.workload import is_class
    from testbed.runtime.user_modules import make_importable, search_path

    torch.set_num_threads(1)  # photographs are computed one at a time, which gains little from more
    named = "sample" if images is None else str(images)
    try:
        make_importable(search_path())
        model = load_model(checkpoint)
        photographs = open_photographs(named, model.classes, model.input_px)
        if is_class(checkpoint):
            check_stages(checkpoint, model, photographs.jpeg(0))
        with bar(f"{len(photographs)} photographs") as progress:
            task = progress.add_task("", total=1.0)
            result = evaluate_points(
                model, photographs, checkpoint, named, lambda done: progress.update(task, completed=done)
            )
    except (CheckpointError, ModelError, PhotographError) as error:
        raise WrongInputError(str(error)) from None
    if as_json:
        typer.echo(msgspec.json.encode(result).decode())
        return
    table = Table(
        "",
        "point",
        box=SIMPLE,
        caption="bytes of the payload (95th percentile); ratio nominal;\n"
        "accuracy (95 % interval), mean of the classes' own",
    )
    for column in ("ratio", "bytes", "accuracy", "class"):
        table.add_column(column, justify="right")
    for point in (*result.points, *result.others):
        low, high = point.accuracy_interval
        table.add_row(
            point.encoding,
            f"{point.split}/k{point.kept_channels}/b{point.bits}" if point.split else "",
            f"{point.nominal_ratio:.0f}" if point.nominal_ratio else "",
            f"{point.payload_mean:.0f} ({point.payload_p95:.0f})",
            f"{point.accuracy:.1%} ({100 * low:.1f}-{100 * high:.1f})",
            f"{point.mean_class_accuracy:.1%}",
            end_section=point is result.points[-1],
        )
    typer.echo(f"{checkpoint}: {result.n} photographs of {named}")
    Console().print(table)


def _evaluate_policy(path: Path, images: Path | None, as_json: bool) -> None:
    import msgspec

    from testbed.aecnn.checkpoint import CheckpointError, load_checkpoint, load_profile
    from testbed.cli.errors import WrongInputError
    from testbed.cli.progress import bar
    from testbed.experiments.policies.evaluation import config_of, evaluate_policy
    from testbed.experiments.tables import Table, show
    from testbed.offloading.errors import PolicyError

    if images is not None:
        raise WrongInputError("--images: a policy is evaluated on slots of its scenario, not on photographs")
    try:
        checkpoint = load_checkpoint(config_of(path).checkpoint)
        profile = load_profile(checkpoint.path, checkpoint.sha256)
        with bar(f"{_SLOTS} slots") as progress:
            task = progress.add_task("", total=1.0)
            result = evaluate_policy(path, profile, _SLOTS, lambda done: progress.update(task, completed=done))
    except (CheckpointError, PolicyError) as error:
        raise WrongInputError(str(error)) from None
    if as_json:
        typer.echo(msgspec.json.encode(result).decode())
        return
    rows = tuple(
        (name, f"{one.reward:.3f}", f"{one.accuracy:.1%}", f"{one.success:.1%}", f"{one.throughput_per_s:.1f}")
        for name, one in result.results.items()
    )
    size = f"{result.scenario.devices} devices, {result.scenario.edges} edges"
    headings = ("policy", "reward", "accuracy", "on time", "on time /s")
    show([Table(f"{path}: {result.slots} slots, {size}", headings, rows, note="a late job's accuracy counts 0")])
