"""The parts that a split cuts the network into, and who computes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from testbed.aecnn.compression import CompressedSplit
from testbed.aecnn.resnet import ResNet50, block_names

WHOLE = "whole"


class Head(nn.Module):
    """uint8 pixels `[N, 3, H, W]` to the features at a split, through the blocks that were retrained for it."""

    def __init__(self, network: ResNet50, split: CompressedSplit) -> None:
        super().__init__()
        self.network, self.split = network, split

    def forward(self, pixels: Tensor) -> Tensor:
        """`[N, C, H, W]`."""
        return self.split.run(self.network, block_names(upto=self.split.split), self.network.stem(pixels))


class Tail(nn.Module):
    """Recovered features at a split to logits."""

    def __init__(self, network: ResNet50, split: CompressedSplit) -> None:
        super().__init__()
        self.network, self.split = network, split

    def forward(self, recovered: Tensor) -> Tensor:
        """`[N, classes]`."""
        return self.split.tail(self.network, recovered)


def parts_of(network: ResNet50, splits: Mapping[str, CompressedSplit]) -> dict[str, nn.Module]:
    """The whole network, and each split's head and tail, by the names of the functions below."""
    parts: dict[str, nn.Module] = {WHOLE: network}
    for name, split in splits.items():
        parts |= {head_of(name): Head(network, split), tail_of(name): Tail(network, split)}
    return parts


def head_of(split: str) -> str:
    """The name of a split's head."""
    return f"{split}.head"


def tail_of(split: str) -> str:
    """The name of a split's tail."""
    return f"{split}.tail"


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
