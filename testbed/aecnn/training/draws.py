"""What training draws at random: every draw from a generator of its own, so that a run can go on in its middle."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import torch


class Draw(IntEnum):
    """What a generator is for."""

    ORDER = 1  # of the photographs in a pass
    COPIES = 2  # of a step's photographs
    LOSS = 3  # whatever a step's loss draws


def generator(seed: Sequence[int], draw: Draw, number: int) -> np.random.Generator:
    """The generator of one purpose in one pass or step of one fit, which `seed` names."""
    return np.random.default_rng([*seed, draw, number])


def torch_generator(rng: np.random.Generator, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for torch's own draws, such as noise, that follows from `rng`."""
    return torch.Generator(device).manual_seed(int(rng.integers(2**63)))
