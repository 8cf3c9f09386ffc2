"""What every method of compression has at an operating point: what is sent, quantised, and made features again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from testbed.aecnn.entropy_coder import TOTAL
from testbed.aecnn.quantiser import Quantiser
from testbed.jobs.decision import OperatingPoint


class Shape(NamedTuple):
    """Of a split's features: channels, and height or width."""

    channels: int
    px: int


class PointCodec(nn.Module, ABC):
    """One operating point of one method: its quantiser, the coder's frequencies, what the method puts around them.

    A photograph's features become `sent`, of which symbols travel; what those stand for, `recovered` makes features of.
    """

    frequencies: Tensor  # [k, 2^bits], whole numbers of at least 1

    uniform: ClassVar[bool] = False
    """Whether symbols are sent as they are: their frequencies are then all equal."""

    def __init__(self, point: OperatingPoint, shape: Shape) -> None:
        super().__init__()
        self.point = point
        self.shape = shape
        self.quantiser = Quantiser(point.kept_channels, point.bits)
        levels = 1 << point.bits
        table = torch.full((point.kept_channels, levels), TOTAL // levels, dtype=torch.int32)
        self.register_buffer("frequencies", table)

    @property
    def side(self) -> int:
        """Height and width of what is sent."""
        return self.shape.px

    @property
    def noise(self) -> float:
        """Standard deviation, in symbols, of what the air adds to each; 0 where symbols arrive as they were sent."""
        return 0.0

    @abstractmethod
    def sent(self, features: Tensor) -> Tensor:
        """`[N, C, H, W]` to what is quantised, `[N, k, side, side]`, float32."""

    @abstractmethod
    def recovered(self, values: Tensor) -> Tensor:
        """What the symbols stand for, `[N, k, side, side]`, to features `[N, C, H, W]`."""

    def prepare(self, features: Iterator[Tensor]) -> None:
        """Take in what the training photographs' features `[N, C, H, W]` are like, before anything is trained."""

    def disturbed(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Values as they come out of the channel that the method is trained through."""
        return values

    def symbols(self, features: Tensor) -> Tensor:
        """`[N, C, H, W]` to int32 `[N, k, side, side]`."""
        return self.quantiser.symbols(self.sent(features)).to(torch.int32)

    def features(self, symbols: Tensor) -> Tensor:
        """Symbols to features `[N, C, H, W]`."""
        return self.recovered(self.quantiser.values(symbols.float()))

    @property
    def nominal_ratio(self) -> float:
        """Bits of the float32 features over bits of the symbols: `(C / k) * (32 / b)` where all positions are sent."""
        features = 32 * self.shape.channels * self.shape.px**2
        return features / (self.point.bits * self.point.kept_channels * self.side**2)
