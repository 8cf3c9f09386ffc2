"""ResNet-50 of any width, with torchvision's state-dict names, split after any of its stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
BLOCKS = (3, 4, 6, 3)
EXPANSION = 4
STEM_CHANNELS = 64
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions beside a shortcut; the stride is the 3x3's, or the first 1x1's (`stride_first`)."""

    def __init__(self, inputs: int, planes: int, stride: int, *, project: bool, stride_first: bool) -> None:
        super().__init__()
        outputs = planes * EXPANSION
        first, second = (stride, 1) if stride_first else (1, stride)
        self.conv1 = nn.Conv2d(inputs, planes, 1, stride=first, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=second, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if project:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """`[N, inputs, H, W]` to `[N, 4 planes, H / stride, W / stride]`."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + shortcut)  # type: ignore[no-any-return]


class ResNet50(nn.Module):
    """ResNet-50 whose stages have `width` times the published channels; the stem keeps its 64.

    `original` places strides and pads the pooling as the first (Caffe) release did, in which the published half-width
    weights were trained; without it the network is torchvision's.
    """

    def __init__(self, classes: int = 1000, width: float = 1.0, *, original: bool = False) -> None:
        super().__init__()
        self.original = original
        self.conv1 = nn.Conv2d(3, STEM_CHANNELS, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS)
        inputs = STEM_CHANNELS
        for stage, blocks in enumerate(BLOCKS):
            planes = round(64 * width) * 2**stage
            layer = nn.Sequential()
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layer.append(Bottleneck(inputs, planes, stride, project=block == 0, stride_first=original))
                inputs = planes * EXPANSION
            self.add_module(f"layer{stage + 1}", layer)
        self.fc = nn.Linear(inputs, classes)

    def stem(self, pixels: Tensor) -> Tensor:
        """uint8 `[N, 3, H, W]`, RGB, to `[N, 64, H / 4, W / 4]`."""
        x = functional.relu(self.bn1(self.conv1(normalise(pixels))))
        if self.original:
            return functional.max_pool2d(x, 3, stride=2, ceil_mode=True)
        return functional.max_pool2d(x, 3, stride=2, padding=1)

    def classify(self, x: Tensor) -> Tensor:
        """layer4's `[N, C, H, W]` to logits `[N, classes]`."""
        return self.fc(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]

    def block(self, name: str) -> Bottleneck:
        """A block by its name, such as `layer3.4`."""
        found = self.get_submodule(name)
        assert isinstance(found, Bottleneck)
        return found

    def head(self, pixels: Tensor, split: str) -> Tensor:
        """uint8 `[N, 3, H, W]` to the output of the stage `split`."""
        x = self.stem(pixels)
        for name in block_names(after="stem", upto=split):
            x = self.block(name)(x)
        return x

    def tail(self, x: Tensor, split: str) -> Tensor:
        """The output of the stage `split` to logits `[N, classes]`."""
        for name in block_names(after=split):
            x = self.block(name)(x)
        return self.classify(x)

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 `[N, 3, H, W]`, RGB, to logits `[N, classes]`."""
        return self.tail(self.stem(pixels), "stem")


def block_names(after: str = "stem", upto: str = "layer4") -> tuple[str, ...]:
    """Names of the blocks that follow stage `after`, to the end of stage `upto`."""
    stages: Sequence[str] = STAGES[STAGES.index(after) + 1 : STAGES.index(upto) + 1]
    return tuple(f"{stage}.{block}" for stage in stages for block in range(BLOCKS[STAGES.index(stage) - 1]))


def stage_channels(split: str, width: float) -> int:
    """Channels of a stage's output."""
    stage = STAGES.index(split)
    return STEM_CHANNELS if stage == 0 else round(64 * width) * EXPANSION << (stage - 1)


def stage_px(split: str, input_px: int) -> int:
    """Height and width of a stage's output."""
    return input_px // 4 >> max(0, STAGES.index(split) - 1)


def fold(module: nn.Module) -> None:
    """Fold every batch norm in `module` into the convolution before it, in place: the same function, sooner."""
    previous: tuple[nn.Module, str, nn.Conv2d] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and previous is not None:
            parent, conv_name, conv = previous
            setattr(parent, conv_name, fuse_conv_bn_eval(conv, child))
            setattr(module, name, nn.Identity())
        elif not isinstance(child, nn.Conv2d):
            fold(child)
        previous = (module, name, child) if isinstance(child, nn.Conv2d) else None


def normalise(pixels: Tensor) -> Tensor:
    """uint8 `[N, 3, H, W]`, RGB, to the mean and standard deviation of ImageNet's photographs."""
    mean = torch.tensor(MEAN, device=pixels.device).view(1, 3, 1, 1)
    std = torch.tensor(STD, device=pixels.device).view(1, 3, 1, 1)
    return (pixels.float() / 255 - mean) / std
