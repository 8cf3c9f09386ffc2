"""Rivals that gradients train: an encoder on the device, a decoder on the edge."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from testbed.aecnn.codec import PointCodec


class LearnedCodec(PointCodec):
    """A subclass sets both; its decoder ends in a batch norm, which ReLU follows as at the end of a network's stage."""

    encoder: nn.Sequential
    decoder: nn.Sequential

    def prepare(self, features: Iterator[Tensor]) -> None:
        """Let the decoder's norm start at the features' own level, as AECNN's does, instead of having to find it."""
        norm = self.decoder[-1]
        assert isinstance(norm, nn.BatchNorm2d)
        with torch.no_grad():
            levels = [torch.stack([x.mean((2, 3)), x.square().mean((2, 3))]) for x in features]
            mean, square = torch.cat(levels, dim=1).mean(1)
            norm.bias.copy_(mean)
            norm.weight.copy_((square - mean.square()).clamp_min(0).sqrt())

    def recovered(self, values: Tensor) -> Tensor:
        """The decoder's features."""
        return torch.relu(self.decoder(values))


def restoring(k: int, channels: int) -> nn.Sequential:
    """The plainest decoder, AECNN's but for what that passes through: conv 3x3 (k to C), batch norm."""
    return nn.Sequential(nn.Conv2d(k, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
