"""An analogue bottleneck in the manner of DeepJSCC (Bourtsoulatze, Kurka and Gündüz, 2019): no bits, no code."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from testbed.aecnn.codec import Shape
from testbed.aecnn.quantiser import FixedQuantiser
from testbed.aecnn.rivals.channels import noise_to_signal, noisy, power
from testbed.aecnn.rivals.learned import LearnedCodec, restoring
from testbed.jobs.decision import OperatingPoint

SNR_DB = 10.0
PEAK = 4.0
"""The greatest amplitude that the converters pass, in units of the signal's root mean square; beyond, they clip."""
SAMPLE_BITS = 8
_LEAST_POWER = 1e-20


class AnalogueCodec(LearnedCodec):
    """conv 3x3 and batch norm, each photograph's power made 1, noise of the air, conv 3x3, batch norm, ReLU.

    A symbol stands for one sample of the analogue signal, as converters of 8 bits have it: its byte is what an
    emulation sends in place of one real use of the channel, and measures no information. Samples are sent as they are,
    without an entropy code, and the noise is there at inference too. With methods that send bits, compare at equal time
    on the air: they take bits over the channel's capacity, which is `log2(1 + SNR) / 2` bits for a real use, and this
    one takes `channel_uses`.
    """

    uniform: ClassVar[bool] = True

    snr_db: Tensor  # power of the signal over that of the noise, in decibels

    def __init__(self, point: OperatingPoint, shape: Shape) -> None:
        if point.bits != SAMPLE_BITS:
            raise ValueError(f"bits: {point.bits}, but an analogue sample has {SAMPLE_BITS}")
        super().__init__(point, shape)
        k, channels = point.kept_channels, shape.channels
        self.quantiser = FixedQuantiser(k, point.bits, -PEAK, PEAK)
        self.register_buffer("snr_db", torch.tensor(SNR_DB))
        self.encoder = nn.Sequential(nn.Conv2d(channels, k, 3, padding=1, bias=False), nn.BatchNorm2d(k))
        self.decoder = restoring(k, channels)

    @property
    def noise(self) -> float:
        """Standard deviation of the air's noise, in symbols."""
        return self._deviation * self.quantiser.greatest / (2 * PEAK)

    @property
    def channel_uses(self) -> int:
        """Real uses of the channel for a photograph, each of mean power 1; half as many complex ones."""
        return self.point.kept_channels * self.side**2

    def sent(self, features: Tensor) -> Tensor:
        """Samples, of mean square 1 over each photograph."""
        samples = self.encoder(features).float()
        return samples * torch.rsqrt(power(samples) + _LEAST_POWER)  # type: ignore[no-any-return]

    def disturbed(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Samples after the air, as far as the receiver's converter passes them."""
        deviation = torch.tensor(self._deviation, device=values.device)
        return noisy(values, deviation, generator).clamp(-PEAK, PEAK)

    @property
    def _deviation(self) -> float:
        return math.sqrt(noise_to_signal(self.snr_db.item()))
