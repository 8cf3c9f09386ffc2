"""The statistics of batch norms, made those of the photographs at hand."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def restore_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give every batch norm the statistics of its inputs, and the scale and shift that leave its outputs as they are.

    Weights published with their batch norms folded away have none. Without this, training starts from normalised
    activations that the weights never saw, and diverges.
    """
    seen: dict[nn.BatchNorm2d, list[tuple[Tensor, Tensor]]] = {
        norm: [] for norm in network.modules() if isinstance(norm, nn.BatchNorm2d)
    }

    def record(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        values = inputs[0].float()
        seen[norm].append((values.mean((0, 2, 3)), values.square().mean((0, 2, 3))))

    hooks = [norm.register_forward_pre_hook(record) for norm in seen]
    network.eval()
    with torch.no_grad():
        for batch in batches:
            network(batch)
    for hook in hooks:
        hook.remove()
    with torch.no_grad():
        for norm, moments in seen.items():
            mean = torch.stack([first for first, _ in moments]).mean(0)
            variance = torch.stack([second for _, second in moments]).mean(0) - mean.square()
            assert norm.running_mean is not None and norm.running_var is not None
            slope = norm.weight / (norm.running_var + norm.eps).sqrt()
            norm.bias.add_(slope * (mean - norm.running_mean))
            norm.weight.copy_(slope * (variance + norm.eps).sqrt())
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
