"""A split network under one method: which parts of it each operating point shares, and which are its own."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from torch import Tensor, nn

from testbed.aecnn.attention import ChannelAttention
from testbed.aecnn.codec import PointCodec, Shape
from testbed.aecnn.methods import AECNN, CODECS
from testbed.aecnn.resnet import Bottleneck, ResNet50, block_names, stage_channels, stage_px
from testbed.jobs.decision import OperatingPoint


class Layout(msgspec.Struct, frozen=True):
    """What a method adds to the network after one stage: its operating points, and the blocks it has its own copy of.

    The copies stand in for the network's blocks, so that local and full inference keep theirs.
    """

    split: str
    points: tuple[OperatingPoint, ...]
    retrained: tuple[str, ...]
    method: str = AECNN

    @property
    def name(self) -> str:
        """By which a checkpoint and the parts of a model know it: AECNN's splits go by the stage alone."""
        return self.split if self.method == AECNN else f"{self.method}.{self.split}"


class CompressedSplit(nn.Module):
    """What one method's compression after one stage adds to a network of that width and input."""

    def __init__(self, layout: Layout, width: float, input_px: int, *, original: bool) -> None:
        super().__init__()
        self.layout = layout
        self.split = layout.split
        shape = Shape(stage_channels(layout.split, width), stage_px(layout.split, input_px))
        self.attention = ChannelAttention(shape.channels) if layout.method == AECNN else None
        codec = CODECS[layout.method]
        self.points = nn.ModuleDict({_key(point): codec(point, shape) for point in layout.points})
        self.retrained = nn.ModuleDict()
        shapes = ResNet50(1, width, original=original)
        for name in layout.retrained:
            stage, index = name.split(".")
            if stage not in self.retrained:
                self.retrained[stage] = nn.ModuleDict()
            blocks = self.retrained[stage]
            assert isinstance(blocks, nn.ModuleDict)
            blocks[index] = shapes.block(name)

    @property
    def last_block(self) -> str:
        """The block whose output is compressed."""
        return block_names(upto=self.split)[-1]

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
        """Features weighted by their attention, where the method has one."""
        if self.attention is None:
            return features
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
