"""The parts that a split cuts the network into, and who computes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from testbed.aecnn.compression import CompressedSplit, PointCodec
from testbed.aecnn.resnet import ResNet50, block_names
from testbed.jobs.decision import OperatingPoint

WHOLE = "whole"


class Head(nn.Module):
    """Pixels to the features at a split, through the blocks that were retrained for it."""

    def __init__(self, network: ResNet50, split: CompressedSplit) -> None:
        super().__init__()
        self.network, self.split = network, split

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 `[N, 3, H, W]` to `[N, C, H, W]`."""
        return self.split.run(self.network, block_names(upto=self.split.split), self.network.stem(pixels))


class Encoder(nn.Module):
    """Features at a split to an operating point's symbols: attention, pruning and quantiser."""

    def __init__(self, split: CompressedSplit, codec: PointCodec) -> None:
        super().__init__()
        self.split, self.codec = split, codec

    def forward(self, features: Tensor) -> Tensor:
        """`[N, C, H, W]` to int32 `[N, k, H, W]`."""
        return self.codec.quantiser.symbols(self.codec.kept(self.split.attended(features))).to(torch.int32)


class Decoder(nn.Module):
    """An operating point's symbols to features: what they stand for, and feature recovery."""

    def __init__(self, codec: PointCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, symbols: Tensor) -> Tensor:
        """int32 `[N, k, H, W]` to `[N, C, H, W]`."""
        recovered = self.codec.recovery(self.codec.quantiser.values(symbols.float()))
        assert isinstance(recovered, Tensor)
        return recovered


class Tail(nn.Module):
    """Recovered features at a split to logits."""

    def __init__(self, network: ResNet50, split: CompressedSplit) -> None:
        super().__init__()
        self.network, self.split = network, split

    def forward(self, recovered: Tensor) -> Tensor:
        """`[N, C, H, W]` to `[N, classes]`."""
        return self.split.tail(self.network, recovered)


def parts_of(network: ResNet50, splits: Iterable[CompressedSplit]) -> dict[str, nn.Module]:
    """The whole network, each split's head and tail, each point's encoder and decoder, named as the functions below."""
    parts: dict[str, nn.Module] = {WHOLE: network}
    for split in splits:
        parts |= {head_of(split.split): Head(network, split), tail_of(split.split): Tail(network, split)}
        for codec in split.codecs:
            parts |= {encoder_of(codec.point): Encoder(split, codec), decoder_of(codec.point): Decoder(codec)}
    return parts


def head_of(split: str) -> str:
    """The name of a split's head."""
    return f"{split}.head"


def tail_of(split: str) -> str:
    """The name of a split's tail."""
    return f"{split}.tail"


def encoder_of(point: OperatingPoint) -> str:
    """The name of an operating point's encoder."""
    return f"{point.split}.k{point.kept_channels}b{point.bits}.encoder"


def decoder_of(point: OperatingPoint) -> str:
    """The name of an operating point's decoder."""
    return f"{point.split}.k{point.kept_channels}b{point.bits}.decoder"


class Runtime(Protocol):
    """Computes parts by their names."""

    @property
    def version(self) -> str:
        """Its name and release: another may round otherwise."""
        ...

    def run(self, part: str, x: Tensor) -> Tensor:
        """One photograph through a part."""
        ...


class TorchRuntime:
    """torch as it is, with as many threads as it has been told to use."""

    version = f"torch {torch.__version__}"

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        self._parts = parts

    def run(self, part: str, x: Tensor) -> Tensor:
        """One photograph through a part."""
        with torch.inference_mode():
            computed = self._parts[part](x)
        assert isinstance(computed, Tensor)
        return computed
