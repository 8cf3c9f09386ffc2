"""The parts that a split cuts the network into, and who computes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from testbed.aecnn.codec import PointCodec
from testbed.aecnn.compression import CompressedSplit
from testbed.aecnn.exits import EarlyExit
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
    """Features at a split to an operating point's symbols."""

    def __init__(self, split: CompressedSplit, codec: PointCodec) -> None:
        super().__init__()
        self.split, self.codec = split, codec

    def forward(self, features: Tensor) -> Tensor:
        """`[N, C, H, W]` to int32 `[N, k, side, side]`."""
        return self.codec.symbols(self.split.attended(features))


class Decoder(nn.Module):
    """An operating point's symbols to features."""

    def __init__(self, codec: PointCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, symbols: Tensor) -> Tensor:
        """int32 `[N, k, side, side]` to `[N, C, H, W]`."""
        return self.codec.features(symbols)


class Tail(nn.Module):
    """Recovered features at a split to logits."""

    def __init__(self, network: ResNet50, split: CompressedSplit) -> None:
        super().__init__()
        self.network, self.split = network, split

    def forward(self, recovered: Tensor) -> Tensor:
        """`[N, C, H, W]` to `[N, classes]`."""
        return self.split.tail(self.network, recovered)


class Exit(nn.Module):
    """Pixels to logits, leaving the network early."""

    def __init__(self, network: ResNet50, split: str, early: EarlyExit) -> None:
        super().__init__()
        self.network, self.split, self.early = network, split, early

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 `[N, 3, H, W]` to `[N, classes]`."""
        return self.early(self.network.head(pixels, self.split))  # type: ignore[no-any-return]


def parts_of(
    network: ResNet50, splits: Iterable[CompressedSplit], exits: Mapping[str, EarlyExit]
) -> dict[str, nn.Module]:
    """The whole network, its early exits by their options' encodings, each compressed split's head and tail, and each
    operating point's encoder and decoder, named as the functions below.
    """
    parts: dict[str, nn.Module] = {WHOLE: network}
    parts |= {exit_of(split): Exit(network, split, early) for split, early in exits.items()}
    for split in splits:
        layout = split.layout
        parts |= {head_of(layout.name): Head(network, split), tail_of(layout.name): Tail(network, split)}
        for codec in split.codecs:
            parts[encoder_of(layout.name, codec.point)] = Encoder(split, codec)
            parts[decoder_of(layout.name, codec.point)] = Decoder(codec)
    for part in parts.values():
        part.eval()  # an export puts what is inside back into the part's own mode
    return parts


def exit_of(split: str) -> str:
    """The name of an early exit after a stage: its part's, and its option's encoding."""
    return f"exit-{split}"


def head_of(layout: str) -> str:
    """The name of a compressed split's head."""
    return f"{layout}.head"


def tail_of(layout: str) -> str:
    """The name of a compressed split's tail."""
    return f"{layout}.tail"


def encoder_of(layout: str, point: OperatingPoint) -> str:
    """The name of an operating point's encoder."""
    return f"{layout}.k{point.kept_channels}b{point.bits}.encoder"


def decoder_of(layout: str, point: OperatingPoint) -> str:
    """The name of an operating point's decoder."""
    return f"{layout}.k{point.kept_channels}b{point.bits}.decoder"


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
