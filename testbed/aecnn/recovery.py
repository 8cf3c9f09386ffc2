"""Feature recovery: the edge's guess of the channels that were not sent."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FeatureRecovery(nn.Module):
    """conv 3x3 (k to C), batch norm, ReLU; the kept channels are passed through as they came."""

    kept: Tensor  # [k], indices into the C channels

    def __init__(self, kept: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(kept, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.register_buffer("kept", torch.arange(kept))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, k, H, W]` to `[N, C, H, W]`."""
        recovered = torch.relu(self.norm(self.conv(x)))
        return recovered.index_copy(1, self.kept, x.to(recovered.dtype))
