"""An early bottleneck in the manner of Entropic Student (Matsubara, Yang, Levorato and Mandt, 2022).

Its rate term and its distillation are training's, which every method has; so is the quantiser.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from testbed.aecnn.codec import Shape
from testbed.aecnn.rivals.learned import LearnedCodec
from testbed.jobs.decision import OperatingPoint

NARROWING = 4
"""Of the encoder: by so much fewer channels than the split has, for it is the device that computes them."""


class StudentCodec(LearnedCodec):
    """Two convolutions of stride 2 around a divisive normalisation, and their mirror image on the edge.

    A quarter of the split's height and width is sent, which is what makes a bottleneck so early worth its bytes.
    """

    def __init__(self, point: OperatingPoint, shape: Shape) -> None:
        super().__init__(point, shape)
        k, (channels, px) = point.kept_channels, shape
        narrow = channels // NARROWING
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, narrow, 3, stride=2, padding=1),
            DivisiveNormalisation(narrow),
            nn.Conv2d(narrow, k, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(k),  # the values' level stays, so that the quantiser's ranges need not run after it
        )
        self.decoder = nn.Sequential(
            _doubling(k, channels, _halved(px)),
            DivisiveNormalisation(channels, inverse=True),
            _doubling(channels, channels, px),
            nn.BatchNorm2d(channels),
        )

    @property
    def side(self) -> int:
        """Height and width of what is sent: a quarter of the split's, rounded up."""
        return _halved(_halved(self.shape.px))

    def sent(self, features: Tensor) -> Tensor:
        """The bottleneck's values."""
        return self.encoder(features).float()  # type: ignore[no-any-return]


class DivisiveNormalisation(nn.Module):
    """`x_i / (b_i + sum_j g_ij |x_j|)` at each position, or times the same (inverse), all b and g at least 0.

    Generalised divisive normalisation (Ballé, Laparra and Simoncelli, 2016) without its exponents (Johnston, Eban,
    Gordon and Ballé, 2019). b and g are squares of what is trained.
    """

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.base = nn.Parameter(torch.ones(channels))
        others = torch.full((channels, channels), 0.01)  # at 0 a square would have no gradient
        self.weights = nn.Parameter((others + 0.3 * torch.eye(channels))[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W]` to the same shape."""
        size = functional.conv2d(x.abs(), self.weights.square(), self.base.square() + 1e-6)
        return x * size if self.inverse else x / size


def _halved(px: int) -> int:
    """What a stride of 2 leaves of a side."""
    return (px + 1) // 2


def _doubling(inputs: int, outputs: int, px: int) -> nn.ConvTranspose2d:
    """From the side that a stride of 2 leaves of `px`, back to `px`."""
    return nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1 - px % 2)
