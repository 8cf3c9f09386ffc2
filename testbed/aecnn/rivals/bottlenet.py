"""BottleNet++ (Shao and Zhang, 2020): a learned bottleneck, trained through the channel that it is to be sent over."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from testbed.aecnn.codec import Shape
from testbed.aecnn.quantiser import FixedQuantiser
from testbed.aecnn.rivals.channels import erased, noise_to_signal, noisy, power
from testbed.aecnn.rivals.learned import LearnedCodec, restoring
from testbed.jobs.decision import OperatingPoint

_LEAST = 1e-6  # by which to divide where training is to meet no losses at all


class BottleNet(LearnedCodec):
    """conv 3x3, batch norm, sigmoid on the device; erasures; conv 3x3, batch norm, ReLU on the edge.

    One more map beside the C channels, the same at all positions, tells the encoder the channel's condition: how likely
    a symbol is lost, in units of `trained`. In training the photographs of a batch meet conditions spread evenly from 0
    to twice that; afterwards all meet `condition`: 0 where the transport delivers everything, as TCP does.
    """

    usual: ClassVar[float] = 0.01
    """What training expects of the channel unless told otherwise."""

    trained: Tensor  # the condition that training meets on average

    def __init__(self, point: OperatingPoint, shape: Shape) -> None:
        super().__init__(point, shape)
        k, channels = point.kept_channels, shape.channels
        self.quantiser = FixedQuantiser(k, point.bits, 0.0, 1.0)
        self.condition = 0.0
        self.register_buffer("trained", torch.tensor(self.usual))
        self.encoder = nn.Sequential(nn.Conv2d(channels + 1, k, 3, padding=1, bias=False), nn.BatchNorm2d(k))
        self.decoder = restoring(k, channels)

    def sent(self, features: Tensor) -> Tensor:
        """The bottleneck's values, between 0 and 1."""
        told = (self._conditions(features) / self.trained.clamp_min(_LEAST)).to(features.dtype)
        told = told.expand(-1, -1, *features.shape[2:])
        return torch.sigmoid(self.encoder(torch.cat([features, told], dim=1)).float())

    def disturbed(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Values through a channel in the condition that the encoder was told."""
        return self._through(values, self._conditions(values), generator)

    def _through(self, values: Tensor, conditions: Tensor, generator: torch.Generator) -> Tensor:
        return erased(values, conditions, generator)

    def _conditions(self, batch: Tensor) -> Tensor:
        """Of each photograph, `[N, 1, 1, 1]`; in training by its place in the batch, which is drawn anyway."""
        n = len(batch)
        if not self.training:
            return batch.new_full((n, 1, 1, 1), self.condition, dtype=torch.float32)
        shares = (torch.arange(n, device=batch.device) + 0.5) / n
        return (2 * self.trained * shares)[:, None, None, None]


class AwgnBottleNet(BottleNet):
    """BottleNet++ whose values go through white Gaussian noise; the condition is the noise's power over theirs."""

    usual: ClassVar[float] = noise_to_signal(snr_db=10)

    def _through(self, values: Tensor, conditions: Tensor, generator: torch.Generator) -> Tensor:
        return noisy(values, (conditions * power(values.detach())).sqrt(), generator)
