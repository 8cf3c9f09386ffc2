import pytest
import torch

from testbed.aecnn.attention import ChannelAttention, importance, most_important
from testbed.aecnn.quantiser import Quantiser
from testbed.aecnn.recovery import FeatureRecovery


@pytest.mark.parametrize("bits", range(2, 9))
def test_values_within_the_range_come_back_to_half_a_step(bits: int) -> None:
    torch.manual_seed(bits)
    quantiser = Quantiser(3, bits)
    scale = torch.tensor([0.1, 1.0, 50.0]).view(1, 3, 1, 1)
    x = torch.randn(8, 3, 16, 16) * scale
    quantiser.observe(x)
    low, high = quantiser.low.view(1, 3, 1, 1), quantiser.high.view(1, 3, 1, 1)
    symbols = quantiser.symbols(x)
    assert torch.equal(symbols, symbols.round()) and symbols.min() == 0 and symbols.max() == 2**bits - 1
    error = (quantiser.values(symbols) - x.clamp(low, high)).abs()
    half_a_step = (high - low) / (2**bits - 1) / 2
    assert (error <= half_a_step * 1.001).all()
    assert ((x >= low) & (x <= high)).float().mean() > 0.95


def test_what_comes_back_quantises_to_the_same_symbols() -> None:
    quantiser = Quantiser(2, 8)
    x = torch.rand(4, 2, 8, 8) * 7 - 3
    quantiser.observe(x)
    symbols = quantiser.symbols(x)
    assert torch.equal(quantiser.symbols(quantiser.values(symbols)), symbols)


def test_gradient_passes_straight_through_within_the_range_alone() -> None:
    quantiser = Quantiser(1, 2)
    x = torch.tensor([-0.5, 0.1, 0.4, 0.9, 1.5]).view(1, 1, 1, 5).requires_grad_()
    quantiser(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad.flatten(), torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0]))


def test_a_channel_that_is_always_the_same_survives() -> None:
    quantiser = Quantiser(1, 4)
    x = torch.full((2, 1, 4, 4), 3.0)
    quantiser.observe(x)
    torch.testing.assert_close(quantiser(x), x)


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_outside_2_to_8_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="outside 2 to 8"):
        Quantiser(1, bits)


def test_attention_weighs_each_channel_of_each_photograph_between_0_and_1() -> None:
    torch.manual_seed(0)
    attention = ChannelAttention(32)
    weights = attention(torch.randn(5, 32, 4, 4) * 10)
    assert weights.shape == (5, 32, 1, 1)
    assert weights.min() >= 0 and weights.max() <= 1
    assert not torch.equal(weights[0], weights[1])


def test_one_mlp_serves_average_and_greatest_value() -> None:
    attention = ChannelAttention(32)
    assert sum(value.numel() for value in attention.parameters()) == 2 * 32 * 2


def test_the_most_important_channels_are_kept_in_ascending_order() -> None:
    weights = torch.tensor([[0.1, 0.9, 0.5, 0.5], [0.3, 0.7, 0.5, 0.5]])
    torch.testing.assert_close(importance(weights), torch.tensor([0.2, 0.8, 0.5, 0.5]))
    assert most_important(importance(weights), 2).tolist() == [1, 2]
    assert most_important(importance(weights), 3).tolist() == [1, 2, 3]


def test_recovery_passes_kept_channels_through() -> None:
    recovery = FeatureRecovery(2, 6).eval()
    recovery.kept.copy_(torch.tensor([1, 4]))
    x = torch.rand(3, 2, 8, 8)
    recovered = recovery(x)
    assert recovered.shape == (3, 6, 8, 8)
    assert torch.equal(recovered[:, [1, 4]], x)
    assert recovered.min() >= 0
