import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from testbed.aecnn.exits import STAGES, EarlyExit
from testbed.aecnn.resnet import ResNet50, fold, stage_channels, stage_px


def flops(call: object, x: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call(x)  # type: ignore[operator]
    return int(counter.get_total_flops())


@pytest.mark.parametrize(("width", "px"), [(0.5, 128), (1.0, 224)])
@pytest.mark.parametrize("stage", STAGES)
def test_an_exit_takes_a_twentieth_of_what_it_saves_at_most(stage: str, width: float, px: int) -> None:
    with torch.device("meta"):
        network, early = ResNet50(101, width).eval(), EarlyExit(stage_channels(stage, width), 101).eval()
        features = torch.empty(1, stage_channels(stage, width), stage_px(stage, px), stage_px(stage, px))
    assert tuple(early(features).shape) == (1, 101)
    assert 0 < flops(early, features) <= 0.05 * flops(lambda x: network.tail(x, stage), features)


def test_an_exit_can_be_folded() -> None:
    torch.manual_seed(0)
    early = EarlyExit(64, 5)
    features = torch.rand(4, 64, 8, 8)
    with torch.no_grad():
        early.bn3.weight.fill_(1)
        early.train()(features)
        expected = early.eval()(features)
        fold(early)
        assert not [module for module in early.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        torch.testing.assert_close(early(features), expected, rtol=1e-4, atol=1e-4)
