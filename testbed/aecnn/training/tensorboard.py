"""Training's figures as TensorBoard's scalars, for who has it installed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Self

from testbed.aecnn.training.config import ConfigError
from testbed.aecnn.training.progress import Progress


class TensorBoard:
    """Tells another progress what it is told, and writes the figures as scalars `STAGE/FIGURE`.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, progress: Progress) -> None:
        try:
            self._writer: Any = import_module("torch.utils.tensorboard").SummaryWriter(folder)
        except ImportError:
            raise ConfigError("--tensorboard: not installed; pip install 'testbed[tensorboard]'") from None
        self._progress = progress

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._writer.close()

    def __call__(self, stage: str, done: float, note: str, **figures: float) -> None:
        """Hear of a stage."""
        self._progress(stage, done, note, **figures)
        step = int(figures.pop("step", 0))
        for name, value in figures.items():
            self._writer.add_scalar(f"{stage}/{name}", value, step)
