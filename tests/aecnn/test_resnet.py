import re

import pytest
import torch

from testbed.aecnn.resnet import ResNet50, block_names, fold, stage_channels, stage_px
from testbed.jobs.decision import SPLITS


def torchvision_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's published `resnet50` weights, written out from its architecture."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    norm("bn1", 64)
    inputs = 64
    for layer, (blocks, planes) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], start=1):
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            kernels = [(planes, inputs, 1), (planes, planes, 3), (4 * planes, planes, 1)]
            for part, (outputs, fan_in, side) in enumerate(kernels, start=1):
                shapes[f"{name}.conv{part}.weight"] = (outputs, fan_in, side, side)
                norm(f"{name}.bn{part}", outputs)
            if block == 0:
                shapes[f"{name}.downsample.0.weight"] = (4 * planes, inputs, 1, 1)
                norm(f"{name}.downsample.1", 4 * planes)
            inputs = 4 * planes
    shapes["fc.weight"], shapes["fc.bias"] = (1000, 2048), (1000,)
    return shapes


def test_published_torchvision_weights_load_at_full_width() -> None:
    shapes = torchvision_shapes()
    assert len(shapes) == 320  # as many entries as the published file has
    with torch.device("meta"):
        network = ResNet50()
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == shapes
    weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
    assert str(network.load_state_dict(weights, assign=True)) == "<All keys matched successfully>"
    assert sum(value.numel() for value in network.parameters()) == 25_557_032


def test_half_width_has_half_the_channels_but_for_the_stem() -> None:
    with torch.device("meta"):
        network = ResNet50(2, 0.5)
    assert [stage_channels(stage, 0.5) for stage in (*SPLITS, "layer4")] == [64, 128, 256, 512, 1024]
    assert network.fc.in_features == 1024
    published_with_its_two_classes = 5_900_000
    convolutions = (value.numel() for name, value in network.named_parameters() if re.search("conv|sample.0|fc", name))
    assert sum(convolutions) == pytest.approx(published_with_its_two_classes, rel=0.01)


@pytest.mark.parametrize("original", [False, True])
@pytest.mark.parametrize("split", SPLITS)
def test_a_split_computes_what_the_whole_network_does(split: str, original: bool) -> None:
    torch.manual_seed(0)
    network = ResNet50(10, 0.25, original=original).eval()
    pixels = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8)
    with torch.no_grad():
        features = network.head(pixels, split)
        assert tuple(features.shape) == (2, stage_channels(split, 0.25), stage_px(split, 128), stage_px(split, 128))
        assert torch.equal(network.tail(features, split), network(pixels))


def test_folding_keeps_the_function() -> None:
    torch.manual_seed(0)
    network = ResNet50(10, 0.25).train()
    pixels = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        for _ in range(3):
            network(pixels)  # statistics that are not the initial ones
        network.eval()
        before = network(pixels)
        fold(network)
        assert not [name for name, module in network.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
        torch.testing.assert_close(network(pixels), before, rtol=1e-4, atol=1e-4)


def test_blocks_are_named_in_their_order() -> None:
    assert len(block_names()) == 16
    assert block_names(after="layer2", upto="layer3") == tuple(f"layer3.{block}" for block in range(6))
    assert block_names(upto="stem") == ()
