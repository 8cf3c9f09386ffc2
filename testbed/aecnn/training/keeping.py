"""Stages of a training run, kept on disk: what is finished, and where the one under way has come to."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn


class Keep:
    """The state of one stage under way: the module being trained, its optimiser, the steps done.

    A stage fits once; what it does before must come out the same when it is done again.
    """

    def __init__(self, path: Path, module: nn.Module, every_s: float) -> None:
        self._path = path
        self._module = module
        self._every_s = every_s
        self._saved_at = time.monotonic()

    def restore(self, optimiser: torch.optim.Optimizer) -> tuple[int, float]:
        """Put module and optimiser where a killed run left them; steps done, and their mean loss. Else `(0, 0)`."""
        if not self._path.exists():
            return 0, 0.0
        kept: dict[str, Any] = torch.load(self._path, map_location="cpu", weights_only=True)
        self._module.load_state_dict(kept["module"])
        optimiser.load_state_dict(kept["optimiser"])
        return kept["step"], kept["loss"]

    def offer(self, optimiser: torch.optim.Optimizer, step: int, loss: float) -> None:
        """Keep the state after `step` steps, if the last one kept is old enough."""
        if time.monotonic() - self._saved_at < self._every_s:
            return
        kept = {
            "module": self._module.state_dict(),
            "optimiser": optimiser.state_dict(),
            "step": step,
            "loss": loss,
        }
        partial = self._path.with_suffix(".writing")
        torch.save(kept, partial)
        partial.replace(self._path)
        self._saved_at = time.monotonic()


class Stages:
    """The stages of one run in one folder: `NAME.safetensors` when finished, `NAME.under-way` until then."""

    def __init__(self, folder: Path, every_s: float = 120.0) -> None:
        self._folder = folder
        self._every_s = every_s

    def path(self, name: str) -> Path:
        """The file of a finished stage: the module's state."""
        return self._folder / f"{name}.safetensors"

    def run(self, name: str, module: nn.Module, train: Callable[[Keep], None]) -> None:
        """Leave `module` as the stage leaves it: read if it was finished, else trained from where it had come to."""
        path = self.path(name)
        if path.exists():
            module.load_state_dict(safetensors.torch.load_file(path))
            return
        under_way = path.with_suffix(".under-way")
        train(Keep(under_way, module, self._every_s))
        partial = path.with_suffix(".partial")
        safetensors.torch.save_file({key: value.contiguous() for key, value in module.state_dict().items()}, partial)
        partial.replace(path)
        under_way.unlink(missing_ok=True)
