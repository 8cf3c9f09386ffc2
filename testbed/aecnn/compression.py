"""A split network: which parts of it each operating point shares, and which are its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from testbed.aecnn.attention import ChannelAttention
from testbed.aecnn.quantiser import Quantiser
from testbed.aecnn.recovery import FeatureRecovery
from testbed.aecnn.resnet import Bottleneck, ResNet50, block_names, stage_channels
from testbed.jobs.decision import OperatingPoint


class PointCodec(nn.Module):
    """One operating point: quantiser, feature recovery and the coder's frequencies."""

    frequencies: Tensor  # [k, 2^bits], whole numbers of at least 1

    def __init__(self, point: OperatingPoint, channels: int) -> None:
        super().__init__()
        self.point = point
        self.quantiser = Quantiser(point.kept_channels, point.bits)
        self.recovery = FeatureRecovery(point.kept_channels, channels)
        self.register_buffer("frequencies", torch.ones(point.kept_channels, 1 << point.bits, dtype=torch.int32))

    def kept(self, attended: Tensor) -> Tensor:
        """The channels that are sent, of `[N, C, H, W]`."""
        return attended[:, self.recovery.kept].float()


class CompressedSplit(nn.Module):
    """What compression after one stage adds to the network: attention, its points, and retrained copies of blocks.

    The blocks named in `retrained` stand in for the network's own, so that local and full inference keep theirs.
    """

    def __init__(
        self, split: str, width: float, points: Sequence[OperatingPoint], retrained: Sequence[str], *, original: bool
    ) -> None:
        super().__init__()
        self.split = split
        channels = stage_channels(split, width)
        self.attention = ChannelAttention(channels)
        self.points = nn.ModuleDict({_key(point): PointCodec(point, channels) for point in points})
        self.retrained = nn.ModuleDict()
        shapes = ResNet50(1, width, original=original)
        for name in retrained:
            stage, index = name.split(".")
            if stage not in self.retrained:
                self.retrained[stage] = nn.ModuleDict()
            blocks = self.retrained[stage]
            assert isinstance(blocks, nn.ModuleDict)
            blocks[index] = shapes.block(name)

    @property
    def retrained_names(self) -> tuple[str, ...]:
        """The blocks that have a copy here, in the network's order."""
        return tuple(name for name in block_names() if self._own(name) is not None)

    @property
    def codecs(self) -> tuple[PointCodec, ...]:
        """The operating points, in their order."""
        return tuple(codec for codec in self.points.values() if isinstance(codec, PointCodec))

    def codec(self, point: OperatingPoint) -> PointCodec:
        """The codec of one operating point."""
        found = self.points[_key(point)]
        assert isinstance(found, PointCodec)
        return found

    def block(self, network: ResNet50, name: str) -> Bottleneck:
        """The retrained copy of a block if there is one, else the network's own."""
        return self._own(name) or network.block(name)

    def run(self, network: ResNet50, names: Sequence[str], x: Tensor) -> Tensor:
        """`x` through the blocks named, in that order."""
        for name in names:
            x = self.block(network, name)(x)
        return x

    def attended(self, features: Tensor) -> Tensor:
        """Features weighted by their attention."""
        weighted = features * self.attention(features)
        assert isinstance(weighted, Tensor)
        return weighted

    def tail(self, network: ResNet50, recovered: Tensor) -> Tensor:
        """Recovered features to logits."""
        return network.classify(self.run(network, block_names(after=self.split), recovered))

    def _own(self, name: str) -> Bottleneck | None:
        stage, index = name.split(".")
        for blocks in (self.retrained[name] for name in self.retrained if name == stage):
            assert isinstance(blocks, nn.ModuleDict)
            if index in blocks:
                block = blocks[index]
                assert isinstance(block, Bottleneck)
                return block
        return None


def _key(point: OperatingPoint) -> str:
    return f"k{point.kept_channels}b{point.bits}"
