"""Mean and covariance of a split's channels, over photographs and positions."""

from __future__ import annotations

import torch
from torch import Tensor


class Moments:
    """Gathered from features a batch at a time, in double precision, on the processor."""

    def __init__(self, channels: int) -> None:
        self._n = 0
        self._sum = torch.zeros(channels, dtype=torch.float64)
        self._products = torch.zeros(channels, channels, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """Take in `[N, C, H, W]`."""
        rows = features.detach().transpose(0, 1).flatten(1).double()
        self._n += rows.shape[1]
        self._sum += rows.sum(dim=1).cpu()
        self._products += (rows @ rows.T).cpu()

    @property
    def mean(self) -> Tensor:
        """`[C]`, float64."""
        if self._n == 0:
            raise ValueError("moments of no features")
        return self._sum / self._n

    @property
    def covariance(self) -> Tensor:
        """`[C, C]`, float64."""
        mean = self.mean
        return self._products / self._n - torch.outer(mean, mean)
