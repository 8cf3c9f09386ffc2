import torch
from torch import nn

from testbed.aecnn.resnet import ResNet50
from testbed.aecnn.training.statistics import restore_statistics


def test_statistics_become_those_of_the_photographs_and_the_function_stays() -> None:
    torch.manual_seed(0)
    network = ResNet50(10, 0.125, original=True).eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 2)
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.1)
        pixels = torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8)
        before = network(pixels)
        restore_statistics(network, [pixels])
        torch.testing.assert_close(network(pixels), before, rtol=1e-3, atol=1e-3)
        for norm in norms:
            norm.momentum = 1.0
        found = network.conv1.register_forward_hook(lambda module, inputs, output: seen.append(output))
        seen: list[torch.Tensor] = []
        network(pixels)
        found.remove()
        torch.testing.assert_close(network.bn1.running_mean, seen[0].mean((0, 2, 3)), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            network.bn1.running_var, seen[0].var((0, 2, 3), unbiased=False), rtol=1e-3, atol=1e-3
        )
        torch.testing.assert_close(network.train()(pixels), before, rtol=1e-2, atol=1e-2)
