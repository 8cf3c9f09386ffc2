"""Early exits: a small classifier after a stage, by which a device can answer without the rest of the network."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

STAGES = ("layer2", "layer3")
"""The stages after which an exit makes sense: before them features are too coarse, after them little is left."""


class EarlyExit(nn.Module):
    """One residual block at half the stage's resolution, then the mean over places, then the classifier.

    The 3x3 convolution works in groups, so that the exit takes a few per cent of what it saves.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        planes = channels // 4
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, groups=8, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, classes)
        nn.init.zeros_(self.bn3.weight)  # it begins as a classifier of the mean features

    def forward(self, features: Tensor) -> Tensor:
        """`[N, C, H, W]` to logits `[N, classes]`."""
        return self.classify(self.pooled(features))

    @staticmethod
    def pooled(features: Tensor) -> Tensor:
        """`[N, C, H, W]` to `[N, C, H / 2, W / 2]`, all that the exit sees of them."""
        return functional.avg_pool2d(features, 2)

    def classify(self, pooled: Tensor) -> Tensor:
        """`[N, C, H / 2, W / 2]` to logits `[N, classes]`."""
        y = functional.relu(self.bn1(self.conv1(pooled)))
        y = functional.relu(self.bn2(self.conv2(y)))
        y = functional.relu(self.bn3(self.conv3(y)) + pooled)
        return self.fc(y.mean(dim=(2, 3)))  # type: ignore[no-any-return]
