"""The whole experiment: a training run for each seed, with every method of the shipped training file. Ablations, which
are compared photograph by photograph, are trained for the first seed alone, but for those whose curves are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from testbed.aecnn.training.progress import Progress
from testbed.jobs.profile import Profile

CONFIG = Path(__file__).parents[2] / "aecnn" / "configs" / "default.yaml"

Told = Callable[[str, float, str], None]
"""Is told how a training goes: the stage, the share of it that is done, a note."""


def train(
    data: Path, weights: Path, seeds: Sequence[int], output: Path, told: Told, config: Path = CONFIG
) -> tuple[list[Path], Profile]:
    """Train each seed in a folder of its own below `output`; what is done there is not done again.

    Returns:
        The studies' paths, and the profile of the first seed's checkpoint.

    Raises:
        ConfigError, WeightsError, PhotographError, OSError: what was given cannot be used.
    """
    import msgspec

    from testbed.aecnn.photographs import CaltechPhotographs
    from testbed.aecnn.training.config import load_config
    from testbed.aecnn.training.published import load_published
    from testbed.aecnn.training.run import TrainingRun

    settings = load_config(config)
    photographs = CaltechPhotographs(data, px=settings.input_px)
    checkpoints = []
    for seed in seeds:
        network = load_published(weights, len(photographs.classes), settings.width)
        compressions = [one for one in settings.compressions if seed == seeds[0] or one.curve or not one.variant]
        of_seed = msgspec.structs.replace(settings, seed=seed, compressions=compressions)
        run = TrainingRun(of_seed, photographs, network, output / f"seed-{seed}", _of_seed(seed, told))
        checkpoints.append(run.train())
    profile = _profile(checkpoints[0], lambda done: told("profile", done, f"{done:.0%}"))
    return [checkpoint.with_name("study.json") for checkpoint in checkpoints], profile


def _of_seed(seed: int, told: Told) -> Progress:
    def progress(stage: str, done: float, note: str, **figures: float) -> None:
        told(f"seed {seed}, {stage}", done, note)

    return progress


def _profile(checkpoint: Path, progress: Callable[[float], None]) -> Profile:
    import torch

    from testbed.aecnn.checkpoint import load_checkpoint, profile_path, save_profile
    from testbed.aecnn.inference import SplitModel
    from testbed.aecnn.photographs import open_photographs
    from testbed.aecnn.profile import measure_profile

    torch.set_num_threads(1)  # as a node computes
    model = SplitModel(load_checkpoint(checkpoint))
    if not profile_path(checkpoint).exists():
        sample = open_photographs(checkpoint.with_name("sample.zip"), model.classes)
        save_profile(checkpoint, measure_profile(model, sample, "sample", progress))
    return model.profile
