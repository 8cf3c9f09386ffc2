"""The quantiser: per-channel affine, 2 to 8 bits, ranges learned from percentiles while training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST_BITS, MOST_BITS = 2, 8
CLIPPED = 0.04
"""Share of values, in units of 2^-bits, left outside the range at each end: few levels clip more."""
MOMENTUM = 0.1


class Quantiser(nn.Module):
    """Maps `[N, k, H, W]` to symbols 0 .. 2^bits - 1, a range for each of the k channels, and back."""

    low: Tensor  # [k]
    high: Tensor  # [k]
    seen: Tensor  # whether a range has been learned yet

    def __init__(self, channels: int, bits: int) -> None:
        super().__init__()
        if not LEAST_BITS <= bits <= MOST_BITS:
            raise ValueError(f"bits: {bits} is outside {LEAST_BITS} to {MOST_BITS}")
        self.bits = bits
        self.register_buffer("low", torch.zeros(channels))
        self.register_buffer("high", torch.ones(channels))
        self.register_buffer("seen", torch.zeros((), dtype=torch.uint8))

    @property
    def greatest(self) -> int:
        """The greatest symbol."""
        return (1 << self.bits) - 1

    def observe(self, x: Tensor) -> None:
        """Move the ranges towards this batch's percentiles."""
        values = x.detach().float().transpose(0, 1).flatten(1)
        outside = CLIPPED * 2.0**-self.bits
        low, high = torch.quantile(values, torch.tensor([outside, 1 - outside], device=values.device), dim=1)
        momentum = MOMENTUM if self.seen else 1.0
        self.low.lerp_(low, momentum)
        self.high.lerp_(high, momentum)
        self.seen.fill_(1)

    def symbols(self, x: Tensor) -> Tensor:
        """`[N, k, H, W]` to integers of the same shape (as float32, exact); values outside the range are clipped."""
        return torch.round(self.scaled(x))

    def values(self, symbols: Tensor) -> Tensor:
        """What the symbols stand for."""
        return symbols * self._step + self.low[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """Quantised and back; gradients pass straight through within the range, and stop outside it."""
        scaled = self.scaled(x)
        return self.values(scaled + (torch.round(scaled) - scaled).detach())

    @property
    def _step(self) -> Tensor:
        width = (self.high - self.low).clamp_min(1e-6) / self.greatest
        return width[:, None, None]

    def scaled(self, x: Tensor) -> Tensor:
        """Values in units of symbols, clipped to their range: what rounding makes symbols of."""
        return ((x - self.low[:, None, None]) / self._step).clamp(0, self.greatest)


class FixedQuantiser(Quantiser):
    """The same between two bounds that the method itself sets."""

    def __init__(self, channels: int, bits: int, low: float, high: float) -> None:
        super().__init__(channels, bits)
        self.low.fill_(low)
        self.high.fill_(high)
        self.seen.fill_(1)

    def observe(self, x: Tensor) -> None:
        """Leave the range as it is, whatever the values."""
