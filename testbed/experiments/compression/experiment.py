"""The experiment on compression: what is shipped evaluated beside the committed studies, or all trained anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from testbed.experiments.compression.report import report, write
from testbed.experiments.compression.shipped import agreement, evaluate
from testbed.experiments.compression.studies import Studies, committed
from testbed.experiments.compression.training import CONFIG, Told, train
from testbed.experiments.report import Made


def quick(
    output: Path, progress: Callable[[float], None], paths: Sequence[Path] | None = None, images: str = "sample"
) -> Made:
    """Evaluate the shipped checkpoint, compare it with its study, and report from the studies: the committed ones.

    `progress` is told the share done. Raises StudyError, CheckpointError, OSError.
    """
    from testbed.aecnn.checkpoint import checkpoint_path, load_profile

    studies = Studies.load(committed() if paths is None else paths)
    evaluated = evaluate("default", progress, images)
    profile = load_profile(checkpoint_path("default"), evaluated.checkpoint)
    study = studies.of_checkpoint(evaluated.checkpoint)
    compared = agreement(evaluated, study) if study else None
    made = report(studies, profile, evaluated, compared)
    return Made(made, write(made, studies, profile, output), compared is not None and compared.agrees)


def whole(data: Path, weights: Path, seeds: Sequence[int], output: Path, told: Told, config: Path = CONFIG) -> Made:
    """Train every seed below `output`, where a killed experiment goes on, and report from that.

    Raises what `train` does, and StudyError.
    """
    paths, profile = train(data, weights, seeds, output, told, config)
    studies = Studies.load(paths)
    made = report(studies, profile, None, None)
    return Made(made, write(made, studies, profile, output))
