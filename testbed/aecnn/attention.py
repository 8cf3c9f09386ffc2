"""Channel attention: how much each channel of a split's features matters for the photograph at hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

REDUCTION = 16


class ChannelAttention(nn.Module):
    """`s = sigmoid(W2 relu(W1 gap(X)) + W2 relu(W1 gmp(X)))`: one MLP, shared by average and greatest value.

    Without `maximum` it is `s = sigmoid(W2 relu(W1 gap(X)))`, squeeze and excitation (Hu et al. 2018).
    """

    def __init__(self, channels: int, *, maximum: bool = True) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // REDUCTION, bias=False)
        self.excite = nn.Linear(channels // REDUCTION, channels, bias=False)
        self.maximum = maximum

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to weights `[N, C, 1, 1]` between 0 and 1."""
        weight = self.excite(torch.relu(self.squeeze(x.mean(dim=(2, 3)))))
        if self.maximum:
            weight = weight + self.excite(torch.relu(self.squeeze(x.amax(dim=(2, 3)))))
        return torch.sigmoid(weight)[:, :, None, None]


def importance(weights: Tensor) -> Tensor:
    """Mean over photographs of their attention weights: `[N, C]` to `[C]`."""
    return weights.mean(dim=0)


def most_important(importances: Tensor, kept: int) -> Tensor:
    """Indices of the `kept` channels of highest importance, ascending; of equals the lower index."""
    order = torch.argsort(importances, descending=True, stable=True)
    return order[:kept].sort().values
