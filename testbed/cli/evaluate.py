"""`testbed evaluate`: accuracy and payload bytes of every operating point of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    checkpoint: Annotated[str, typer.Argument(help='"default" for the shipped checkpoint, or a .safetensors file.')],
    images: Annotated[
        Path | None, typer.Option(help="Folder or zip in Caltech-101's layout; the shipped sample if not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False,
) -> None:
    """Accuracy, mean-per-class accuracy and payload bytes of every operating point, on photographs."""
    import msgspec
    import torch
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from testbed.aecnn.checkpoint import CheckpointError
    from testbed.aecnn.evaluation import evaluate_points
    from testbed.aecnn.inference import load_model
    from testbed.aecnn.photographs import PhotographError, open_photographs

    torch.set_num_threads(1)  # photographs are computed one at a time, which gains little from more
    named = "sample" if images is None else str(images)
    try:
        model = load_model(checkpoint)
        photographs = open_photographs(named, model.classes)
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(f"{len(photographs)} photographs", total=1.0)
            result = evaluate_points(
                model, photographs, checkpoint, named, lambda done: bar.update(task, completed=done)
            )
    except (CheckpointError, PhotographError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(msgspec.json.encode(result).decode())
        return
    table = Table(title=f"{checkpoint} on {named}, {result.n} photographs")
    table.add_column("split after")
    for column in ("kept", "bits", "nominal ratio", "payload mean", "payload p95", "accuracy", "mean of classes"):
        table.add_column(column, justify="right")
    for point in result.points:
        table.add_row(
            point.split or "none (JPEG)",
            str(point.kept_channels or ""),
            str(point.bits or ""),
            f"{point.nominal_ratio:.0f}" if point.nominal_ratio else "",
            f"{point.payload_mean:.0f} B",
            f"{point.payload_p95:.0f} B",
            f"{point.accuracy:.1%}",
            f"{point.mean_class_accuracy:.1%}",
        )
    Console().print(table)
