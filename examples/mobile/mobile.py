"""A model of one's own: a small MobileNet (Howard et al., arXiv 1704.04861) with two splits, for testbed to run.

At a split travel some channels of the features, mixed by a 1 x 1 convolution, as whole numbers, packed by zlib.
`train.py` made the weights that lie beside this file.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from testbed.jobs.decision import JPEG, LOCAL, RAW, Kind, OperatingPoint, Option

WEIGHTS = Path(__file__).with_name("mobile.safetensors")
POINTS = (OperatingPoint("block3", kept_channels=8, bits=4), OperatingPoint("block6", kept_channels=8, bits=8))


class Network(nn.Module):
    """Seven depthwise separable blocks, and at each split of an operating point what narrows and widens again."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        shapes = [(16, 32, 2), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 128, 1), (128, 192, 1)]
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.ModuleDict({f"block{place}": _block(*shape) for place, shape in enumerate(shapes, 1)})
        self.classifier = nn.Linear(192, classes)
        channels = {f"block{place}": outputs for place, (_, outputs, _) in enumerate(shapes, 1)}
        self.narrow = nn.ModuleDict({p.split: nn.Conv2d(channels[p.split], p.kept_channels, 1) for p in POINTS})
        self.widen = nn.ModuleDict({p.split: nn.Conv2d(p.kept_channels, channels[p.split], 1) for p in POINTS})

    def front(self, pixels: torch.Tensor, split: str) -> torch.Tensor:
        """uint8 `[N, 128, 128, 3]` to features `[N, C, H, W]` after a block."""
        features = self.stem(pixels.permute(0, 3, 1, 2) / 127.5 - 1)
        for name in list(self.blocks)[: _place(split)]:
            features = self.blocks[name](features)
        return features

    def back(self, features: torch.Tensor, split: str) -> torch.Tensor:
        """Features after a block to logits `[N, classes]`."""
        for name in list(self.blocks)[_place(split) :]:
            features = self.blocks[name](features)
        return self.classifier(features.mean((2, 3)))


class Mobile:
    """What a run asks for; `testbed.aecnn.own.protocol` says of each method what it does."""

    options = (LOCAL, RAW, JPEG, *(Option(Kind.SPLIT, "mobile", point) for point in POINTS))

    def __init__(self) -> None:
        with safe_open(WEIGHTS, "pt") as file:
            self.classes = tuple(json.loads(file.metadata()["classes"]))
        self.network = Network(len(self.classes)).eval().requires_grad_(False)
        self.network.load_state_dict(load_file(WEIGHTS))

    def head(self, pixels: np.ndarray, option: Option) -> int | torch.Tensor:
        """The whole network's class for local, features for split."""
        photograph = torch.tensor(pixels)[None]
        if option.kind is Kind.SPLIT:
            return self.network.front(photograph, option.point.split)
        return int(self.network.back(self.network.front(photograph, "block7"), "block7").argmax())

    def encode(self, features: torch.Tensor, option: Option, image: int) -> bytes:
        """Fewer channels, as whole numbers."""
        narrowed = self.network.narrow[option.point.split](features).sigmoid()
        symbols = (narrowed * (2**option.point.bits - 1)).round().to(torch.uint8)
        return zlib.compress(symbols.numpy().tobytes(), 9)

    def decode(self, payload: bytes, option: Option, image: int) -> torch.Tensor:
        """As many channels as before."""
        symbols = np.frombuffer(zlib.decompress(payload), np.uint8).reshape(option.point.kept_channels, -1)
        side = round(symbols.shape[1] ** 0.5)
        values = torch.tensor(symbols).view(1, -1, side, side) / (2**option.point.bits - 1)
        return self.network.widen[option.point.split](values)

    def tail(self, features: torch.Tensor, option: Option) -> int:
        """The class."""
        return int(self.network.back(features, option.point.split).argmax())


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _place(split: str) -> int:
    return int(split.removeprefix("block"))
