from pathlib import Path

import pytest
import safetensors.torch
import torch

from testbed.aecnn.resnet import ResNet50, stage_channels
from testbed.aecnn.training.published import WeightsError, load_published
from tests.aecnn.test_resnet import torchvision_shapes


def test_torchvisions_file_becomes_a_network_of_full_width(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = {
        name: torch.rand(shape) * 0.05 + 0.01 if shape else torch.tensor(7)
        for name, shape in torchvision_shapes().items()
    }
    torch.save(state, tmp_path / "resnet50.pth")
    network = load_published(tmp_path / "resnet50.pth", 101, 1.0).eval()
    fresh = {"fc.weight": torch.zeros(101, 2048), "fc.bias": torch.zeros(101)}
    for name, value in network.state_dict().items():
        assert torch.equal(value, {**state, **fresh}[name]), name
    pixels = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    with torch.no_grad():
        features = network.head(pixels, "layer3")
        assert tuple(features.shape) == (1, stage_channels("layer3", 1.0), 14, 14)
        assert tuple(network.tail(features, "layer3").shape) == (1, 101)


def test_safetensors_of_another_width_are_read_by_their_shapes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    published = ResNet50(1000, 0.125).eval()
    safetensors.torch.save_file(published.state_dict(), tmp_path / "narrow.safetensors")
    network = load_published(tmp_path / "narrow.safetensors", 3, 0.125).eval()
    pixels = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(network.head(pixels, "layer4"), published.head(pixels, "layer4"))
    with pytest.raises(WeightsError, match=r"width 0\.125; the training file says 'width: 0\.5'"):
        load_published(tmp_path / "narrow.safetensors", 3, 0.5)


@pytest.mark.parametrize("name", ["text.pth", "text.safetensors", "text.whl", "text.onnx", "empty.pth"])
def test_what_is_no_such_file_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("text")
    torch.save({}, tmp_path / "empty.pth")
    with pytest.raises(WeightsError, match=name):
        load_published(tmp_path / name, 3, 0.5)
    with pytest.raises(OSError, match="absent"):
        load_published(tmp_path / "absent.pth", 3, 1.0)
