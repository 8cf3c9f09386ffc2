"""`testbed evaluate`: accuracy and payload bytes of every operating point of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help='"default" for the shipped checkpoint, a .safetensors file, or your own package.module:Class.'
        ),
    ],
    images: Annotated[
        Path | None, typer.Option(help="Folder or zip in Caltech-101's layout; the shipped sample if not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """Accuracy, mean-per-class accuracy and payload bytes of every operating point, on photographs."""
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
