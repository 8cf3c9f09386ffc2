import pytest
import torch

from testbed.aecnn.rivals.channels import erased, noise_to_signal, noisy, power


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("probability", [0.01, 0.3])
def test_symbols_are_lost_one_by_one_as_often_as_asked(probability: float) -> None:
    values = torch.rand(40, 10, 50, 50) + 0.5
    received = erased(values, torch.tensor(probability), drawn())
    lost = received == 0
    n = values.numel()
    assert abs(float(lost.float().mean()) - probability) < 5 * (probability * (1 - probability) / n) ** 0.5
    assert torch.equal(received[~lost], values[~lost])
    # of neighbours, both are lost as often as chance has it
    both = float((lost[..., 1:] & lost[..., :-1]).float().mean())
    assert abs(both - probability**2) < 5 * probability / (0.98 * n) ** 0.5


def test_each_photograph_has_its_own_probability() -> None:
    lost = erased(torch.ones(3, 4, 50, 50), torch.tensor([0.0, 0.5, 1.0])[:, None, None, None], drawn()) == 0
    shares = lost.float().mean((1, 2, 3))
    assert shares[0] == 0 and 0.45 < shares[1] < 0.55 and shares[2] == 1


def test_noise_is_white_gaussian_of_the_deviation_asked() -> None:
    values = torch.randn(20, 10, 50, 50)
    noise = noisy(values, torch.tensor(0.25), drawn()) - values
    n = noise.numel()
    assert abs(float(noise.mean())) < 5 * 0.25 / n**0.5
    assert abs(float(noise.std()) / 0.25 - 1) < 5 / (2 * n) ** 0.5
    assert abs(float((noise.abs() < 0.25).float().mean()) - 0.6827) < 0.005
    assert abs(float((noise[..., 1:] * noise[..., :-1]).mean())) < 5 * 0.25**2 / n**0.5


def test_the_same_generator_draws_the_same() -> None:
    values = torch.rand(2, 3, 8, 8)
    half = torch.tensor(0.5)
    assert torch.equal(noisy(values, half, drawn(3)), noisy(values, half, drawn(3)))
    assert not torch.equal(noisy(values, half, drawn(3)), noisy(values, half, drawn(4)))
    assert torch.equal(erased(values, half, drawn(3)), erased(values, half, drawn(3)))
    assert not torch.equal(erased(values, half, drawn(3)), erased(values, half, drawn(4)))


def test_decibels_and_power() -> None:
    assert noise_to_signal(10) == pytest.approx(0.1)
    assert noise_to_signal(0) == 1
    assert noise_to_signal(-3) == pytest.approx(1.995, abs=0.001)
    values = torch.stack([torch.full((2, 3, 3), 2.0), torch.full((2, 3, 3), -3.0)])
    assert power(values).flatten().tolist() == [4, 9] and power(values).shape == (2, 1, 1, 1)
