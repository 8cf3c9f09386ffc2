"""Channels of the air that rivals are trained through: erasures, and white Gaussian noise."""

from __future__ import annotations

import torch
from torch import Tensor


def erased(values: Tensor, probability: Tensor, generator: torch.Generator) -> Tensor:
    """Values, each lost with a probability on its own; what is lost arrives as 0.

    `probability` is broadcast over `values`.
    """
    drawn = torch.rand(values.shape, generator=generator, device=generator.device)
    return values.masked_fill(drawn.to(values.device) < probability, 0.0)


def noisy(values: Tensor, deviation: Tensor, generator: torch.Generator) -> Tensor:
    """Values plus white Gaussian noise; its standard `deviation` is broadcast over them."""
    drawn = torch.randn(values.shape, generator=generator, device=generator.device)
    return values + deviation * drawn.to(values.device)


def power(values: Tensor) -> Tensor:
    """Mean square of each photograph's values: `[N, k, H, W]` to `[N, 1, 1, 1]`."""
    return values.square().mean(dim=(1, 2, 3), keepdim=True)


def noise_to_signal(snr_db: float) -> float:
    """Power of the noise over the signal's, from the signal-to-noise ratio in decibels."""
    return float(10 ** (-snr_db / 10))
